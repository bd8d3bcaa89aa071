"""Places in the log of a deployment's jobs, which is told again from its beginning by whoever is asked.

A host replays what it has on each connection, and the result of a job holds all of it once more. So a place is a count
of lines, with enough of the last one to find it again where the beginning is gone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.nosana.flows import Entry

_DIGEST = 12
_OUT_OF_ORDER_MS = 1000
"""Lines of an engine's two streams may be told so much out of order."""
_Like = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """After which line of which job."""

    job: str
    engine: int = 0
    """Lines of the engine so far."""
    host: int = 0
    """Lines of the host so far."""
    digest: str = ""
    """Of the engine's last line."""
    time_ms: int = 0
    same: int = 0
    """How many lines like the last one had its time, itself included."""

    def __str__(self) -> str:
        return f"{self.job}:{self.engine}:{self.host}:{self.digest}:{self.time_ms}:{self.same}"


def parse_cursor(text: str) -> Cursor | None:
    """The place that a cursor names; None for the very beginning. Raises `ProviderError` INVALID_CURSOR."""
    if not text:
        return None
    parts = text.split(":")
    numbers = [parts[index] for index in (1, 2, 4, 5)] if len(parts) == 6 else []
    if not numbers or not parts[0].isalnum() or not all(item.isdecimal() for item in numbers):
        message = f"log cursor {text!r} is not a place in this log; use one that came with a line"
        raise ProviderError("INVALID_CURSOR", message, retryable=False)
    engine, host, time_ms, same = map(int, numbers)
    return Cursor(job=parts[0], engine=engine, host=host, digest=parts[3], time_ms=time_ms, same=same)


class Aligner:
    """Takes a job's lines from its beginning, or from where a host still has them; gives those after a cursor."""

    def __init__(self, after: Cursor, *, live: bool) -> None:
        """``live``: from a host, whose times are always the same, and which may have lost the beginning."""
        self._after = after
        self._live = live
        self._at = after
        self._aligned = after.engine == 0
        self._engine = self._host = 0
        self._now_ms = -1
        self._now = Counter[str]()
        """Of the lines of this very millisecond, how many read alike."""
        self._held: list[tuple[Entry, _Like]] = []
        """Lines of the engine that were taken before the cursor's place was found."""

    def take(self, entry: Entry) -> Iterator[tuple[Entry, Cursor]]:
        """The line with its cursor, unless it is not after the place."""
        if entry.kind == "host":
            self._host += 1
            if self._host > self._at.host:
                self._at = replace(self._at, host=self._host)
                yield entry, self._at
            return
        like = self._like(entry)
        self._engine += 1
        if self._aligned:
            self._at = self._next(like)
            yield entry, self._at
            return
        self._held.append((entry, like))
        if like == (self._after.digest, self._after.time_ms, self._after.same):
            self._aligned = True
        elif self._engine == self._after.engine or (self._live and like[1] > self._after.time_ms + _OUT_OF_ORDER_MS):
            self._aligned = True
            yield from self._behind_place()

    def _like(self, entry: Entry) -> _Like:
        """What the line is known by: its text, its time, and which it is of those with the same text and time."""
        digest, time_ms = hashlib.sha256(entry.message.encode()).hexdigest()[:_DIGEST], int(entry.time * 1000)
        if time_ms != self._now_ms:
            self._now_ms = time_ms
            self._now.clear()
        self._now[digest] += 1
        return digest, time_ms, self._now[digest]

    def _next(self, like: _Like) -> Cursor:
        digest, time_ms, same = like
        return replace(self._at, engine=self._at.engine + 1, digest=digest, time_ms=time_ms, same=same)

    def finish(self) -> Iterator[tuple[Entry, Cursor]]:
        """There are no more lines: what of them comes after the place, if it was found by its text alone."""
        if not self._aligned:
            self._aligned = True
            yield from self._behind_place()

    def _behind_place(self) -> Iterator[tuple[Entry, Cursor]]:
        """What was held after the last line that reads as the cursor's; where none does, what is later than it."""
        alike = [index for index, (_, like) in enumerate(self._held) if like[0] == self._after.digest]
        begin = alike[-1] + 1 if alike else 0
        for entry, like in self._held[begin:]:
            if alike or like[1] > self._after.time_ms:
                self._at = self._next(like)
                yield entry, self._at
        self._held.clear()
