"""Places in the log of a deployment's jobs, which is told again from its beginning by whoever is asked.

A host replays what it has on each connection, and the result of a job holds all of it once more. So a place is a count
of lines, with enough of the last one to find it again where the beginning is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.nosana.flows import Entry

_DIGEST = 12


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

    def __init__(self, after: Cursor) -> None:
        self._after = after
        self._at = after
        self._aligned = after.engine == 0
        self._counted = replace(after, engine=0, host=0, digest="", time_ms=0, same=0)
        self._held: list[Entry] = []
        """Lines of the engine that were taken before the cursor's place was found."""

    def take(self, entry: Entry) -> Iterator[tuple[Entry, Cursor]]:
        """The line with its cursor, unless it is not after the place."""
        self._counted = _after(self._counted, entry)
        if entry.kind == "host":
            if self._counted.host > self._at.host:
                self._at = replace(self._at, host=self._counted.host)
                yield entry, self._at
            return
        if self._aligned:
            self._at = _after(self._at, entry)
            yield entry, self._at
            return
        self._held.append(entry)
        like = (self._counted.digest, self._counted.time_ms, self._counted.same)
        if like == (self._after.digest, self._after.time_ms, self._after.same):
            self._aligned = True
        elif self._counted.engine == self._after.engine:
            self._aligned = True
            yield from self._behind_last()

    def finish(self) -> Iterator[tuple[Entry, Cursor]]:
        """There are no more lines: what of them comes after the place, if it was found by its text alone."""
        if not self._aligned:
            self._aligned = True
            yield from self._behind_last()

    def _behind_last(self) -> Iterator[tuple[Entry, Cursor]]:
        """What was held after the last line that reads as the cursor's; nothing when there is none."""
        found = [index for index, entry in enumerate(self._held) if _digest(entry) == self._after.digest]
        for entry in self._held[found[-1] + 1 :] if found else ():
            self._at = _after(self._at, entry)
            yield entry, self._at
        self._held.clear()


def _digest(entry: Entry) -> str:
    return hashlib.sha256(entry.message.encode()).hexdigest()[:_DIGEST]


def _after(cursor: Cursor, entry: Entry) -> Cursor:
    if entry.kind == "host":
        return replace(cursor, host=cursor.host + 1)
    digest, time_ms = _digest(entry), int(entry.time * 1000)
    again = (digest, time_ms) == (cursor.digest, cursor.time_ms)
    return replace(
        cursor, engine=cursor.engine + 1, digest=digest, time_ms=time_ms, same=cursor.same + 1 if again else 1
    )
