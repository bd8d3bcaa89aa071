"""The writing side of one deployment's log: recovery, appending, segments begun and dropped. Blocking."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestration.service.logs.errors import LogStoreError
from orchestration.service.logs.segments import (
    Header,
    create_segment,
    from_json,
    lines_from,
    list_segments,
    parse_header,
    read_header,
    segment_path,
    sync_folder,
    to_json,
)
from orchestration.service.providers.base import LogRecord

_MAX_SOURCES = 1024
"""Cursors that are kept: a replica's attempts are sources of their own, and those long ended are never asked for."""
_AGE_STEPS = 8
"""A segment ends after this part of the age limit: its lines go together, so they outlive the limit by two such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a log is kept."""

    segment_bytes: int
    max_bytes: int
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Extent:
    """What there is to read. Replaced as a whole, so a reader in another thread sees one consistent state."""

    segments: tuple[int, ...] = ()
    """First sequence numbers, ascending."""
    end: int = 0
    """The last line that was written whole, 0 when there was none yet."""


class LogWriter:
    """One deployment's segments. Methods are called one at a time; `extent` may be read from any thread."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.extent = Extent()
        self.writing = False
        """Whether this process has appended; until then another one may, and `refresh` looks for that."""
        self._limits = limits
        self._clock = clock
        self._size = 0
        """Bytes of the last segment that hold whole lines; what lies beyond is cut off by the next append."""
        self._opened = 0.0
        self._latest = 0.0
        self._sources: dict[str, str] = {}
        self._seen: tuple[int, int] | None = None

    @property
    def last_segment(self) -> Path:
        """The file that is appended to."""
        return segment_path(self.folder, self.extent.segments[-1])

    def refresh(self) -> None:
        """Recover what is on disk unless that is known. Raises `LogStoreError`."""
        if self.writing:
            return
        with _translated(self.folder):
            segments = list_segments(self.folder)
            if not segments:
                self.extent, self._size, self._sources, self._seen = Extent(), 0, {}, None
                return
            seen = (segments[-1], segment_path(self.folder, segments[-1]).stat().st_size)
            if seen != self._seen:
                self._recover(segments)
                self._seen = seen

    def source_cursor(self, source: str) -> str:
        """The cursor of the last line kept from the source, empty when there is none. Raises `LogStoreError`."""
        self.refresh()
        return self._sources.get(source, "")

    def append(self, replica_id: str, records: Sequence[LogRecord], source: str) -> None:
        """Write all lines or none. Raises `LogStoreError`."""
        self.refresh()
        seq = self.extent.end
        encoded = _encode(records, seq + 1, replica_id, source)
        self.writing = True
        with _translated(self.folder):
            try:
                if self._segment_is_due(len(encoded)):
                    self._begin_segment(len(encoded))
                self._write(encoded)
            except FileNotFoundError:
                self._forget()
                raise
        self._size += len(encoded)
        self._remember(source, records[-1].cursor)
        self._latest = max(self._latest, *(record.time for record in records))
        self.extent = Extent(self.extent.segments, seq + len(records))

    def sync(self) -> None:
        """Make what was appended outlast a loss of power. Raises `LogStoreError`."""
        segments = self.extent.segments  # looked at once: `remove` may empty it in another thread
        if segments:
            with _translated(self.folder), suppress(FileNotFoundError):  # deleted meanwhile
                _sync_file(segment_path(self.folder, segments[-1]))

    def remove(self) -> None:
        """Remove every line. Raises `LogStoreError`."""
        self._forget()
        with _translated(self.folder):
            if self.folder.exists():
                shutil.rmtree(self.folder)
        self.refresh()

    def _recover(self, segments: tuple[int, ...]) -> None:
        """Read the last segment: its header and lines tell the end of the log and the cursor of each source."""
        path, end = segment_path(self.folder, segments[-1]), segments[-1] - 1
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            lines = lines_from(fd, 0)
            self._size, first = next(lines, (0, b""))
            header = parse_header(first, path)
            self._opened, self._latest, self._sources = header.opened, header.latest, dict(header.sources)
            for offset, line in lines:
                try:
                    record = from_json(line, path)
                except LogStoreError:
                    break  # power was lost before these bytes were on disk
                if record.get("seq") != end + 1:
                    break
                end, self._size = end + 1, offset
                self._latest = max(self._latest, record["time"])
                self._remember(record["source"], record["cursor"])
        finally:
            os.close(fd)
        self.extent = Extent(segments, end)

    def _segment_is_due(self, more: int) -> bool:
        if not self.extent.segments:
            return True
        full = self._size + more > self._limits.segment_bytes
        old = self._clock() - self._opened > self._limits.max_age_s / _AGE_STEPS
        return (full or old) and self.extent.end >= self.extent.segments[-1]

    def _begin_segment(self, more: int) -> None:
        if self.extent.segments:
            self._finish_segment()
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.folder.parent)
        now, first = self._clock(), self.extent.end + 1
        size = create_segment(self.folder, first, Header(now, self._latest, self._sources))
        self.extent = Extent((*self.extent.segments, first), self.extent.end)
        self._size, self._opened = size, now
        self._drop_oldest(room=max(size + more, self._limits.segment_bytes))

    def _finish_segment(self) -> None:
        fd = os.open(self.last_segment, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._cut(fd)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _drop_oldest(self, *, room: int) -> None:
        """Drop whole segments, oldest first, that are too old or leave too little room for the one just begun."""
        *closed, last = self.extent.segments
        sizes = [segment_path(self.folder, first).stat().st_size for first in closed]
        total, kept = sum(sizes) + room, 0
        for after, size in zip(self.extent.segments[1:], sizes, strict=True):
            if total <= self._limits.max_bytes and not self._complete_before_limit(after):
                break
            total, kept = total - size, kept + 1
        # Named first: a reader that finds a file gone goes on with the next, but none may wait for one.
        self.extent = Extent((*closed[kept:], last), self.extent.end)
        for first in closed[:kept]:
            segment_path(self.folder, first).unlink(missing_ok=True)

    def _complete_before_limit(self, next_segment: int) -> bool:
        opened = read_header(segment_path(self.folder, next_segment)).opened
        return self._clock() - opened > self._limits.max_age_s

    def _write(self, encoded: bytes) -> None:
        fd = os.open(self.last_segment, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._cut(fd)
            view, offset = memoryview(encoded), self._size
            try:
                while view:
                    written = os.pwrite(fd, view, offset)
                    view, offset = view[written:], offset + written
            except OSError:
                os.ftruncate(fd, self._size)
                raise
        finally:
            os.close(fd)

    def _cut(self, fd: int) -> None:
        """Cut off what a crash or a failed write left behind the last whole line."""
        size = os.fstat(fd).st_size
        if size > self._size:
            os.ftruncate(fd, self._size)
        elif size < self._size:
            self._forget()
            raise LogStoreError(f"the log in {self.folder} was shortened by someone else; it is read anew")

    def _forget(self) -> None:
        """Have the next call read what is on disk now: the files are not what this process left."""
        self.writing, self._seen = False, None

    def _remember(self, source: str, cursor: str) -> None:
        self._sources.pop(source, None)
        self._sources[source] = cursor
        if len(self._sources) > _MAX_SOURCES:
            del self._sources[next(iter(self._sources))]


def _encode(records: Sequence[LogRecord], first: int, replica_id: str, source: str) -> bytes:
    return b"".join(
        to_json(
            {
                "seq": seq,
                "time": record.time,
                "replica": replica_id,
                "stream": record.stream,
                "source": source,
                "cursor": record.cursor,
                "message": record.message,
            }
        )
        for seq, record in enumerate(records, first)
    )


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


@contextmanager
def _translated(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise LogStoreError(f"the log in {folder} cannot be used: {error.strerror or error}") from error
