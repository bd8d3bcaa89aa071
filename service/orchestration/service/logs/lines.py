"""A kept line, and the one cursor of page, tail and follow."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from orchestration.service.logs.errors import InvalidCursorError

_DIGEST_BYTES = 7
_SEQ_BYTES = 8
_CURSOR_CHARS = (_DIGEST_BYTES + _SEQ_BYTES) * 4 // 3
"""Fifteen bytes fill base64 exactly: a cursor has no padding and one spelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that a replica printed, at its place in its deployment's log."""

    seq: int
    """From 1, without gaps; the order of page, tail and follow alike."""
    time: float
    """Unix seconds at which the provider saw the line."""
    replica_id: str
    stream: str
    """``stdout`` or ``stderr``."""
    message: str
    deployment_id: str

    @property
    def cursor(self) -> str:
        """Opaque; reading after it gives the next line. `decode_cursor` reads it."""
        return encode_cursor(self.seq, self.deployment_id)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in order, and where to read on."""

    lines: Sequence[LogLine]
    next_cursor: str
    """The cursor of the last line; empty when the page is."""


def encode_cursor(seq: int, deployment_id: str) -> str:
    """The cursor of a line."""
    return base64.urlsafe_b64encode(_digest(deployment_id) + seq.to_bytes(_SEQ_BYTES, "big")).decode("ascii")


def decode_cursor(cursor: str, deployment_id: str) -> int:
    """The sequence number in a cursor of this deployment's log. Raises `InvalidCursorError`."""
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    seq = int.from_bytes(raw[_DIGEST_BYTES:], "big")
    if len(cursor) != _CURSOR_CHARS or len(raw) != _DIGEST_BYTES + _SEQ_BYTES or seq < 1:
        raise InvalidCursorError(f"{cursor[:40]!r} is not a log cursor; use one that came with a log line")
    if raw[:_DIGEST_BYTES] != _digest(deployment_id):
        raise InvalidCursorError(
            f"{cursor!r} is not a cursor of the log of deployment {deployment_id!r}; use one that came with its lines"
        )
    return seq


@lru_cache(maxsize=1024)
def _digest(deployment_id: str) -> bytes:
    return hashlib.blake2s(deployment_id.encode(), digest_size=_DIGEST_BYTES, person=b"logs").digest()
