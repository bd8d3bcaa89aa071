"""Nosana's deployments, jobs and markets as they are read from its answers, which are read with care.

Numbers come as numbers or as text, times as ISO 8601, as seconds or as milliseconds; what is missing is empty.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

NOBODY = "1" * 32
"""The address of a job's host while it has none (the Solana system program)."""
NO_RESULT = "QmNLei78zWmzUdbeRB3CiUfAizWUrbeeZh5K1rhAQKCh51"
"""The CID of 32 zero bytes: what the chain holds of a job without a result."""
_JOB_STATES = ("QUEUED", "RUNNING", "COMPLETED", "STOPPED")
ENDED = frozenset({"COMPLETED", "STOPPED"})
_MILLISECONDS_FROM = 1e11
"""A time in seconds is below this until the year 5138; one in milliseconds has been above it since 1973."""
_CLOCKS_DIFFER_S = 86400.0
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SEVERAL = re.compile(r"(?<![0-9a-z])(\d{1,2})\s?-?x(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NosanaDeployment:
    """A deployment."""

    id: str
    name: str
    status: str
    strategy: str
    market: str
    signer: str
    """Whose key signs for its jobs: the vault's, else the owner's."""
    timeout_minutes: int
    endpoints: tuple[str, ...]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NosanaJob:
    """A job of a deployment."""

    address: str
    state: str
    """QUEUED, RUNNING, COMPLETED or STOPPED."""
    node: str
    """Address of the host; empty while there is none, and from servers that do not tell it."""
    started_at: float
    created_at: float

    @property
    def ended(self) -> bool:
        """Whether nothing runs for it any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A kind of machine at a price."""

    address: str
    slug: str
    name: str
    kind: str
    """PREMIUM, COMMUNITY or OTHER."""
    gpu_types: tuple[str, ...]
    gpu_count: int
    vram_gb: float
    price_per_hour: float
    """USD, the network's fee included; 0.0: it is not told."""
    fee_percent: float
    hosts: int | None
    """Hosts that the market lists; None: it does not tell."""


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; anything else is left out."""
    if not isinstance(value, list):
        return []
    return [mapping(item) for item in cast("list[object]", value) if isinstance(item, dict)]


def text(value: Any) -> str:
    """The value if it is a text, `clean`; else an empty one."""
    return clean(value) if isinstance(value, str) else ""


def clean(value: str) -> str:
    """The text as it can be sent and stored: JSON may hold halves of characters, and NUL."""
    return value.encode("utf-8", "replace").decode().replace("\0", "")


def identifier(value: Any) -> str:
    """The value if it is an id or an address, which become parts of paths; else an empty one."""
    found = text(value)
    return found if _IDENTIFIER.fullmatch(found) else ""


def number(value: Any, default: float = 0.0) -> float:
    """A finite number, written as one or as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return default
    return found if math.isfinite(found) else default


def moment(value: Any) -> float:
    """Unix seconds of a time in any of the ways in which it is written; 0.0 when it is none.

    Hosts write times, too: one that is further ahead than clocks differ is not believed, and is that of reading.
    """
    found, now = _moment(value), time.time()
    return found if found <= now + _CLOCKS_DIFFER_S else now


def _moment(value: Any) -> float:
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?", value):
        try:
            found = datetime.fromisoformat(value)
            return max(0.0, (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            return 0.0
    seconds = number(value)
    return seconds / 1000 if seconds >= _MILLISECONDS_FROM else max(0.0, seconds)


def to_deployment(told: Mapping[str, Any]) -> NosanaDeployment:
    """A deployment of an answer."""
    return NosanaDeployment(
        id=identifier(told.get("id")),
        name=text(told.get("name")),
        status=text(told.get("status")),
        strategy=text(told.get("strategy")),
        market=text(told.get("market")),
        signer=text(told.get("vault")) or text(told.get("owner")),
        timeout_minutes=int(number(told.get("timeout"))),
        endpoints=tuple(url for item in items(told.get("endpoints")) if (url := _url(text(item.get("url"))))),
        created_at=moment(told.get("created_at")),
    )


def _url(address: str) -> str:
    if not address:
        return ""
    return (address if "://" in address else f"https://{address}").rstrip("/")


def to_job(told: Mapping[str, Any]) -> NosanaJob:
    """A job of an answer; its state may be a number."""
    state = told.get("state")
    name = text(state).upper()
    if name.isdecimal() or (isinstance(state, int) and not isinstance(state, bool)):
        index = int(number(state))
        name = _JOB_STATES[index] if 0 <= index < len(_JOB_STATES) else ""
    node = identifier(told.get("node"))
    return NosanaJob(
        address=identifier(told.get("job")),
        state=name or "QUEUED",
        node="" if node == NOBODY else node,
        started_at=moment(told.get("time_start", told.get("timeStart"))),
        created_at=moment(told.get("created_at")),
    )


def to_market(told: Mapping[str, Any]) -> Market:
    """A market of an answer.

    How many GPUs a machine of it has is told nowhere but in its name (``2x RTX 4090``); without a number it is one.
    """
    name, slug = text(told.get("name")), text(told.get("slug"))
    fee = max(0.0, number(told.get("network_fee_percentage")))
    types, hosts = told.get("gpu_types"), told.get("nodes")
    several = _SEVERAL.search(name) or _SEVERAL.search(slug)
    return Market(
        address=identifier(told.get("address")),
        slug=slug,
        name=name,
        kind=text(told.get("type")),
        gpu_types=_texts(types),
        gpu_count=max(1, int(several[1])) if several else 1,
        vram_gb=max(0.0, number(told.get("lowest_vram"))),
        price_per_hour=max(0.0, number(told.get("usd_reward_per_hour"))) * (1 + fee / 100),
        fee_percent=fee,
        hosts=len(cast("list[object]", hosts)) if isinstance(hosts, list) else None,
    )


def _texts(value: Any) -> tuple[str, ...]:
    return (
        tuple(item for item in cast("list[object]", value) if isinstance(item, str)) if isinstance(value, list) else ()
    )
