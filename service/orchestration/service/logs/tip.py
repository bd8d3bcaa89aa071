"""The end of a log as it is on disk: how far it reaches, and what of each source is kept. Blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration.service.logs.errors import LogStoreError
from orchestration.service.logs.segments import from_json, lines_from, list_segments, parse_header, segment_path

_MAX_SOURCES = 1024
"""Cursors that are kept: a replica's attempts are sources of their own, and those long ended are never asked for."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What there is to read. Replaced as a whole, so a reader in another thread sees one consistent state."""

    segments: tuple[int, ...] = ()
    """First sequence numbers, ascending."""
    end: int = 0
    """The last line that was written whole, 0 when there was none yet."""


class Tip:
    """What was found at the last look, and appended since; another process may have gone on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.known = False
        self.forget()

    def forget(self) -> None:
        """Take it that there is nothing, until the next look."""
        self.known = False
        self.extent = Extent()
        self.size = 0
        """Bytes of the last segment that hold whole lines; what lies beyond is cut off by the next append."""
        self.opened = 0.0
        self.latest = 0.0
        self.sources: dict[str, str] = {}
        self._inode = 0
        self._seen_size = 0
        """Of the last segment at the last look, torn lines included: while it is the same, there is nothing new."""

    def changed(self) -> bool:
        """Whether what is on disk is not what is known. Raises `OSError`."""
        segments = list_segments(self._folder)
        if not (self.known and segments == self.extent.segments):
            return True
        if not segments:
            return False
        try:
            status = segment_path(self._folder, segments[-1]).stat()
        except FileNotFoundError:
            return True
        return (status.st_ino, status.st_size) != (self._inode, self._seen_size)

    def look(self) -> None:
        """Read what is on disk as far as it is not known. Raises `OSError` and `LogStoreError`."""
        segments = list_segments(self._folder)
        if not segments:
            self.forget()
        else:
            self._look_at(segments)
        self.known = True

    def wrote(self, size: int, segments: tuple[int, ...], end: int) -> None:
        """Take note of what this process has just made of the last segment: its bytes and the last line in it."""
        self._seen_size = self.size = size
        self.extent = Extent(segments, end)

    def began(self, first: int, size: int, opened: float) -> None:
        """Take note of a segment that this process has just begun, perhaps in the place of an empty one."""
        self._inode = segment_path(self._folder, first).stat().st_ino
        self.opened = opened
        before = (number for number in self.extent.segments if number < first)
        self.wrote(size, (*before, first), first - 1)

    def remember(self, source: str, cursor: str) -> None:
        """Take note of how far the source is kept."""
        self.sources.pop(source, None)
        self.sources[source] = cursor
        if len(self.sources) > _MAX_SOURCES:
            del self.sources[next(iter(self.sources))]

    def _look_at(self, segments: tuple[int, ...]) -> None:
        path = segment_path(self._folder, segments[-1])
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            grown = status.st_ino == self._inode and segments[-1:] == self.extent.segments[-1:]
            if self.known and grown and status.st_size >= self.size:
                lines, end = lines_from(fd, self.size), self.extent.end
            else:
                # Its header and lines tell the end of the log and the cursor of each source.
                lines, end = lines_from(fd, 0), segments[-1] - 1
                self._read_header(lines, path)
            end = self._read(lines, end, path)
            self._inode, self._seen_size = status.st_ino, max(status.st_size, self.size)
        finally:
            os.close(fd)
        self.extent = Extent(segments, end)

    def _read_header(self, lines: Iterator[tuple[int, bytes]], path: Path) -> None:
        self.known = False  # until it is read to the end
        self.size, first = next(lines, (0, b""))
        header = parse_header(first, path)
        self.opened, self.latest, self.sources = header.opened, header.latest, dict(header.sources)

    def _read(self, lines: Iterator[tuple[int, bytes]], end: int, path: Path) -> int:
        for offset, line in lines:
            try:
                record = from_json(line, path)
            except LogStoreError:
                break  # power was lost before these bytes were on disk
            if record.get("seq") != end + 1:
                break
            try:
                time, source, cursor = record["time"], record["source"], record["cursor"]
            except KeyError as error:
                raise LogStoreError(f"log segment {path} is damaged: line {end + 1} has no {error}") from error
            end, self.size = end + 1, offset
            self.latest = max(self.latest, time)
            self.remember(source, cursor)
        return end
