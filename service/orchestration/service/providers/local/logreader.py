"""Reading an instance's log: pages and tails from the same segments, at the same cursors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from orchestration.service.providers.base import LogRecord, ProviderError
from orchestration.service.providers.local.records import InstanceFolder
from orchestration.service.providers.local.shim.logfile import LOG_FOLDER, segment_numbers, segment_path

_CHUNK_BYTES = 256 * 1024
_POLL_S = 0.05


def parse_cursor(cursor: str) -> tuple[int, int]:
    """Segment and byte offset of a cursor; empty is the very beginning. Raises `ProviderError`."""
    if not cursor:
        return 0, 0
    segment, colon, offset = cursor.partition(":")
    if not (colon and segment.isdecimal() and offset.isdecimal()):
        raise invalid_cursor(cursor)
    return int(segment), int(offset)


def invalid_cursor(cursor: str) -> ProviderError:
    """The error for a cursor that was not made here, or not for this log."""
    return ProviderError(
        "INVALID_CURSOR",
        f"log cursor {cursor!r} is not a place in this log; use one that came with a line",
        retryable=False,
    )


class LogReader:
    """One pass over a log, from a cursor on. It keeps its segment open, so that a removed one is read to its end."""

    def __init__(self, folder: InstanceFolder, after: str) -> None:
        self._folder = str(folder.path / LOG_FOLDER)
        self._segment, self._offset = parse_cursor(after)
        self._fd = -1

    def read(self) -> list[LogRecord]:
        """The next complete lines; none when everything that was printed so far has been read."""
        while True:
            if self._fd < 0 and not self._open(self._segment):
                return []
            # Looked at before the read: a later segment's existence says that this one grows no more.
            later = next((n for n in segment_numbers(self._folder) if n > self._segment), None)
            records = list(self._complete_lines())
            if records or later is None:
                return records
            self.close()
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
                raise invalid_cursor(f"{self._segment}:{self._offset}")
            return True
        return False

    def _complete_lines(self) -> Iterator[LogRecord]:
        size = _CHUNK_BYTES
        data = os.pread(self._fd, size, self._offset)
        while len(data) == size and b"\n" not in data:
            size *= 2
            data = os.pread(self._fd, size, self._offset)
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return  # still being written
            self._offset += len(line)
            record: dict[str, Any] = json.loads(line)
            yield LogRecord(
                time=record["t"],
                stream=record["s"],
                message=record["m"],
                cursor=f"{self._segment}:{self._offset}",
            )


async def read_log(
    folder: InstanceFolder, *, after: str, follow: bool, ended: Callable[[], bool]
) -> AsyncIterator[LogRecord]:
    """Lines after the cursor; with ``follow`` until ``ended`` says so and all was read. Raises `ProviderError`."""
    reader = LogReader(folder, after)
    try:
        while True:
            # Asked before the read: what was printed before the end is then read for certain.
            done = not follow or ended()
            while records := reader.read():
                for record in records:
                    yield record
            if done:
                return
            await asyncio.sleep(_POLL_S)
    finally:
        reader.close()
