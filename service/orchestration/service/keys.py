"""Keys that callers show, and the roles that they have by them.

A gateway keeps the SHA-256 of each key alone, so that its configuration lets nobody in. Keys are random and long (see
`new_key`): a slow hash would protect nothing more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

KEY_PREFIX: Final = "ogw_"
"""Begins every key, so that one that leaked is found by those who look for such things."""
_KEY_BYTES: Final = 32
_STORED: Final = re.compile(r"(\w+) ([0-9a-f]{64})")


class Role(StrEnum):
    """What a caller may do."""

    VIEWER = "viewer"
    """Read."""
    OPERATOR = "operator"
    """Read, and change deployments and models."""
    ADMIN = "admin"
    """Everything."""
    AGENT = "agent"
    """Register nodes and send heartbeats, and nothing else."""


_RANK: Final = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key a call came with."""

    name: str
    role: Role


@cache
def may(caller: Role, needed: Role) -> bool:
    """Whether a caller of one role may call what asks for another."""
    if Role.AGENT in (caller, needed):
        return caller is needed or caller is Role.ADMIN
    return _RANK.index(caller) >= _RANK.index(needed)


class Keys:
    """The keys that are let in."""

    def __init__(self, stored: Mapping[str, str]) -> None:
        self._shown: dict[str, Caller] = {}
        """Keys that were shown and are right: as many as there are entries, at most."""
        self._callers: Final = [(digest, Caller(name, role)) for name, (role, digest) in _parsed(stored).items()]

    def __bool__(self) -> bool:
        """Whether there are any; without them nobody is asked for one."""
        return bool(self._callers)

    def find(self, key: str) -> Caller | None:
        """Whose key it is. Takes as long for any wrong one, however much of it is right."""
        found = self._shown.get(key)
        if found is not None:
            return found
        digest = hashlib.sha256(key.encode()).digest()
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = self._shown[key] = caller
        return found


def _parsed(stored: Mapping[str, str]) -> dict[str, tuple[Role, bytes]]:
    """Roles and digests by name. Raises ValueError, naming the entry, for one that is wrong, or the same key twice."""
    found: dict[str, tuple[Role, bytes]] = {}
    names: dict[bytes, str] = {}
    folded = Counter(name.casefold() for name in stored)
    for name, text in stored.items():
        if folded[name.casefold()] > 1:
            raise ValueError(f"{name}: there are two entries of this name, in large and small letters; keep one")
        entry = _STORED.fullmatch(text.strip())
        if entry is None or entry.group(1) not in list(Role):
            raise ValueError(
                f"{name}: expected a role ({', '.join(Role)}), a space, and the SHA-256 of the key as 64 hexadecimal "
                "digits; `orchestration key` makes both"
            )
        digest = bytes.fromhex(entry.group(2))
        if digest in names:
            raise ValueError(f"{name}: is the key of {names[digest]}, too; give each caller one of their own")
        names[digest] = name
        found[name] = Role(entry.group(1)), digest
    return found


def check_keys(stored: dict[str, str]) -> dict[str, str]:
    """The same, when all is right with it. Raises ValueError."""
    _parsed(stored)
    return stored


def new_key(role: Role) -> tuple[str, str]:
    """A new key, and what the gateway's configuration is to hold of it."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, f"{role} {hashlib.sha256(key.encode()).hexdigest()}"
