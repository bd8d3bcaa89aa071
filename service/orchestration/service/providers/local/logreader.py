"""Reading an instance's log: pages and tails from the same segments, at the same cursors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

from orchestration.service.providers.base import LogRecord, ProviderError
from orchestration.service.providers.local.records import InstanceFolder
from orchestration.service.providers.local.shim.logfile import LOG_FOLDER, segment_numbers, segment_path

_CHUNK_BYTES = 64 * 1024
"""Read and parsed at a time, which takes a few milliseconds."""
_POLL_S = 0.05
_ROTATED = "they were rotated away before they were read"

_T = TypeVar("_T")


class Submit(Protocol):
    """Has blocking work done in a thread."""

    def __call__(self, work: Callable[[], _T], /) -> Future[_T]:
        """What it will give. Raises `ProviderError` where there are no threads any more."""
        ...


def parse_cursor(cursor: str) -> tuple[int, int, int | None]:
    """Segment, byte offset and number of lines before a cursor; empty is the very beginning. Raises `ProviderError`.

    The number is None in a log that a supervisor of the first release writes, which does not count.
    """
    if not cursor:
        return 0, 0, 0
    parts = cursor.split(":")
    if len(parts) not in (2, 3) or not all(part.isdecimal() for part in parts):
        raise invalid_cursor(cursor)
    segment, offset, *line = map(int, parts)
    return segment, offset, line[0] if line else None


def invalid_cursor(cursor: str) -> ProviderError:
    """The error for a cursor that was not made here, or not for this log."""
    return ProviderError(
        "INVALID_CURSOR",
        f"log cursor {cursor!r} is not a place in this log; use one that came with a line",
        retryable=False,
    )


class LogReader:
    """One pass over a log, from a cursor on. It keeps its segment open, so that a removed one is read to its end.

    In the place of lines that were gone before they could be read, it gives a line that says how many they were.
    """

    def __init__(self, folder: InstanceFolder, after: str) -> None:
        self._folder = str(folder.resting_place() / LOG_FOLDER)
        self._segment, self._offset, self._line = parse_cursor(after)
        self._finished = 0
        """The last segment that was read to its end."""
        self._fd = -1

    def read(self) -> list[LogRecord]:
        """The next complete lines; none when everything that was printed so far has been read."""
        while True:
            if self._fd < 0 and not self._open(self._segment):
                return []
            # Looked at before the read: a later segment's existence says that this one grows no more.
            later = next((n for n in segment_numbers(self._folder) if n > self._segment), None)
            before = self._offset
            if records := self._complete_lines():
                return records
            if self._offset > before:
                continue  # that was the header
            if later is None:
                return []
            self.close()
            self._finished = self._segment
            self._segment, self._offset = later, 0

    def close(self) -> None:
        """Let go of the segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, wanted: int) -> bool:
        """Open the wanted segment, or the oldest kept one after it."""
        for number in segment_numbers(self._folder):
            if number < wanted:
                continue
            try:
                self._fd = os.open(segment_path(self._folder, number), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # rotated away since the listing
            if number != self._segment:
                self._segment, self._offset = number, 0
            if self._offset and os.pread(self._fd, 1, self._offset - 1) != b"\n":
                raise invalid_cursor(self._cursor())
            return True
        return False

    def _complete_lines(self) -> list[LogRecord]:
        size = _CHUNK_BYTES
        data = os.pread(self._fd, size, self._offset)
        while len(data) == size and b"\n" not in data:
            size *= 2
            data = os.pread(self._fd, size, self._offset)
        lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]  # what follows is still being written
        if not lines:
            return []
        values = _values(lines)
        records: list[LogRecord] = []
        if self._offset == 0:
            self._begin(lines, values, records)
        for line, value in zip(lines, values, strict=True):
            self._offset += len(line) + 1
            if self._line is not None:
                self._line += 1
            records.append(LogRecord(time=value["t"], stream=value["s"], message=value["m"], cursor=self._cursor()))
        return records

    def _begin(self, lines: list[bytes], values: list[dict[str, Any]], records: list[LogRecord]) -> None:
        """Take the header, if there is one, and say what is missing before the segment."""
        first: int | None = values[0].get("first")
        if first is not None:
            self._offset = len(lines[0]) + 1
            del lines[0], values[0]
        missing = 0 if self._segment == self._finished + 1 else None
        if first is not None and self._line is not None:
            missing = max(0, first - self._line)
        self._line = first
        if missing != 0:
            when = values[0]["t"] if values else os.fstat(self._fd).st_mtime
            count = "an unknown number of" if missing is None else missing
            message = f"[dropped {count} lines: {_ROTATED}]"
            records.append(LogRecord(time=when, stream="stderr", message=message, cursor=self._cursor()))

    def _cursor(self) -> str:
        place = f"{self._segment}:{self._offset}"
        return place if self._line is None else f"{place}:{self._line}"


def _values(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """The records in the lines; a damaged one becomes a record that says so."""
    try:
        return list(json.loads(b"[" + b",".join(lines) + b"]"))
    except ValueError:
        return [_value(line) for line in lines]


def _value(line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        value: Any = json.loads(line)
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
    return {"t": 0.0, "s": "stderr", "m": f"[a record of {len(line)} bytes is damaged]"}


class _Follower:
    """What one caller reads: made, read on and closed in threads, by one of them at a time."""

    def __init__(self, folder: InstanceFolder, after: str, is_last: Callable[[], bool]) -> None:
        self._folder = folder
        self._after = after
        self._is_last = is_last
        self._reader: LogReader | None = None

    def look(self) -> tuple[list[LogRecord], bool]:
        """The next lines, and whether there will be no more once there are none. Blocks; raises `ProviderError`."""
        # Asked before the read: what was printed before the end is then read for certain.
        last = self._is_last()
        if self._reader is None:
            self._reader = LogReader(self._folder, self._after)
        return self._reader.read(), last

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


async def read_log(
    folder: InstanceFolder, *, after: str, follow: bool, ended: Callable[[], bool], submit: Submit
) -> AsyncIterator[LogRecord]:
    """Lines after the cursor; with ``follow`` until ``ended`` says so and all was read. Raises `ProviderError`.

    What touches the disk, ``ended`` too, runs where ``submit`` has it run: a disk that hangs holds up its logs alone.
    """
    follower = _Follower(folder, after, ended if follow else lambda: True)
    looking: Future[tuple[list[LogRecord], bool]] | None = None
    try:
        while True:
            looking = submit(follower.look)
            records, last = await asyncio.wrap_future(looking)
            for record in records:
                yield record
            if not records:
                if last:
                    return
                await asyncio.sleep(_POLL_S)
    finally:
        # A caller that goes does not end a look that is under way: what it reads from is closed only after it.
        if looking is not None:
            looking.add_done_callback(lambda _: follower.close())
