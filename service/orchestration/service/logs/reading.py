"""The reading side of one deployment's log: forward from any line, and the last lines. Blocking."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from orchestration.service.logs.errors import LogStoreError
from orchestration.service.logs.lines import LogLine
from orchestration.service.logs.segments import from_json, lines_from, offset_before, read_header, segment_path, seq_of
from orchestration.service.logs.tip import Extent

MAX_BATCH_BYTES = 2 * 1024 * 1024
"""No batch is larger, unless one line alone is: so it fits into the 4 MiB that gRPC clients take of one message."""
DROPPED = "[dropped {count} lines: they were no longer kept when they were to be read]"
"""Stands in the place of lines between a reader's cursor and the oldest line that is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which lines are wanted."""

    replica_id: str | None = None
    since: float | None = None
    """Unix seconds; lines seen earlier are left out."""

    @property
    def everything(self) -> bool:
        """Whether no line is left out."""
        return self.replica_id is None and self.since is None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the files a read ended, so that the next one need not look for it."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines in order, and how far was looked."""

    lines: list[LogLine]
    reached: int
    """The last sequence number looked at, selected or not."""
    place: Place | None


class LogReader:
    """Reads one deployment's segments. It keeps no state: every method may run in several threads at once."""

    def __init__(self, folder: Path, deployment_id: str) -> None:
        self._folder = folder
        self._deployment_id = deployment_id

    def forward(
        self, extent: Extent, selection: Selection, *, after: int, limit: int, place: Place | None = None
    ) -> Batch:
        """Up to ``limit`` lines after a sequence number, from the oldest kept on. Raises `LogStoreError`.

        A line that says how many were dropped stands before those that follow on them; with ``since`` there is none.
        """
        lines: list[LogLine] = []
        size = 0
        for first, _ in self._segments_from(extent, selection, after):
            start = place if place and place.segment == first else None
            path = segment_path(self._folder, first)
            for offset, seq, raw in self._raw_lines(first, after, extent.end, start):
                missing = seq - 1 - after if after and selection.since is None else 0
                if len(lines) >= limit or (lines and (missing or size + len(raw) > MAX_BATCH_BYTES)):
                    return Batch(lines, after, place)
                if missing:
                    lines.append(self._note(raw, path, seq - 1, missing))
                after, place = seq, Place(first, offset)
                if line := self._selected(raw, path, selection):
                    lines.append(line)
                    size += len(raw)
        return Batch(lines, after, place)

    def last(self, extent: Extent, selection: Selection, n: int) -> list[LogLine]:
        """The last ``n`` selected lines, or as many of them as fit into a batch, in order. Raises `LogStoreError`."""
        lines: deque[LogLine] = deque()
        room = MAX_BATCH_BYTES
        after = self._after_all_but(extent, n) if selection.everything else 0
        for first, _ in reversed(list(self._segments_from(extent, selection, after))):
            found: deque[tuple[LogLine, int]] = deque(maxlen=n - len(lines))
            for _, line, size in self._lines_of(first, after, extent.end, selection):
                found.append((line, size))
            while found and len(lines) < n:
                line, size = found.pop()
                room -= size
                if room < 0 and lines:
                    return list(lines)
                lines.appendleft(line)
            if len(lines) >= n:
                break
        return list(lines)

    def before_last(self, extent: Extent, selection: Selection, n: int) -> int:
        """The sequence number after which the last ``n`` selected lines come. Raises `LogStoreError`."""
        if n == 0:
            return extent.end
        if selection.everything:
            return self._after_all_but(extent, n)
        wanted, start = n, extent.end
        for first, _ in reversed(list(self._segments_from(extent, selection, 0))):
            found = deque((seq for seq, _, _ in self._lines_of(first, 0, extent.end, selection)), maxlen=wanted)
            if found:
                wanted, start = wanted - len(found), found[0] - 1
            if not wanted:
                break
        return start

    def _after_all_but(self, extent: Extent, n: int) -> int:
        """The number after which the last ``n`` lines come, of those that are kept."""
        return max(extent.end - n, extent.segments[0] - 1) if extent.segments else 0

    def _lines_of(self, first: int, after: int, end: int, selection: Selection) -> Iterator[tuple[int, LogLine, int]]:
        """The selected lines of one segment, each with its number and its bytes on disk."""
        path = segment_path(self._folder, first)
        for _, seq, raw in self._raw_lines(first, after, end):
            if line := self._selected(raw, path, selection):
                yield seq, line, len(raw)

    def _note(self, raw: bytes, path: Path, seq: int, missing: int) -> LogLine:
        """What is said in the place of lines that are gone; its cursor is that of the last of them."""
        return LogLine(
            seq=seq,
            time=from_json(raw, path)["time"],
            replica_id="",
            stream="stderr",
            message=DROPPED.format(count=missing),
            deployment_id=self._deployment_id,
        )

    def _segments_from(self, extent: Extent, selection: Selection, after: int) -> Iterator[tuple[int, int | None]]:
        """Segments that may hold selected lines, each with the one that follows."""
        for first, then in zip_longest(extent.segments, extent.segments[1:]):
            if then is not None and (then <= after + 1 or self._all_earlier(then, selection.since)):
                continue
            yield first, then

    def _all_earlier(self, segment: int, since: float | None) -> bool:
        """Whether every line before the segment was seen before ``since``."""
        if since is None:
            return False
        try:
            return read_header(segment_path(self._folder, segment)).latest < since
        except FileNotFoundError:
            return True  # dropped meanwhile, and with it all before

    def _raw_lines(
        self, first: int, after: int, end: int, start: Place | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """Lines of a segment after a sequence number: the offset of the end, the number and the record of each."""
        if after >= end:
            return  # what may stand there is still being written, or failed to be
        path = segment_path(self._folder, first)
        with _opened(path) as fd:
            if fd is None:
                return
            offset = start.offset if start else offset_before(fd, after)
            is_header = offset == 0
            for line_end, raw in lines_from(fd, offset):
                if is_header:
                    is_header = False
                    continue
                seq = seq_of(raw, path)
                if seq > after:
                    yield line_end, seq, raw
                if seq >= end:
                    return

    def _selected(self, raw: bytes, path: Path, selection: Selection) -> LogLine | None:
        record = from_json(raw, path)
        if selection.replica_id is not None and record["replica"] != selection.replica_id:
            return None
        if selection.since is not None and record["time"] < selection.since:
            return None
        return LogLine(
            seq=record["seq"],
            time=record["time"],
            replica_id=record["replica"],
            stream=record["stream"],
            message=record["message"],
            deployment_id=self._deployment_id,
        )


@contextmanager
def _opened(path: Path) -> Generator[int | None]:
    """The file's descriptor, None when the segment was dropped meanwhile. Raises `LogStoreError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise LogStoreError(f"log segment {path} cannot be read: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)
