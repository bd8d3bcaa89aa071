"""The writing side of one deployment's log: appending, segments begun and dropped. Blocking.

Any number of processes may write. Each holds the folder's lock while it does, and first looks at what the others left.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestration.service.logs.errors import LogBusyError, LogStoreError, SourceMovedError
from orchestration.service.logs.locking import folder_lock
from orchestration.service.logs.segments import (
    Header,
    create_segment,
    encode_lines,
    read_header,
    segment_path,
    sync_folder,
)
from orchestration.service.logs.tip import Extent, Tip
from orchestration.service.providers.base import LogRecord

_AGE_STEPS = 8
"""A segment takes lines for this part of the age limit: they go together, so they outlive the limit by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a log is kept."""

    segment_bytes: int
    max_bytes: int
    max_age_s: float

    @property
    def segment_age_s(self) -> float:
        """How long a segment takes lines."""
        return self.max_age_s / _AGE_STEPS

    def outlived(self, opened: float, now: float) -> bool:
        """Whether every line of a segment that was begun at this time is too old."""
        return now - opened > self.max_age_s + self.segment_age_s


class LogWriter:
    """One deployment's segments. Any thread may call; `extent` may be read meanwhile."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._limits = limits
        self._clock = clock
        self._tip = Tip(folder)
        self._mutex = threading.Lock()

    @property
    def extent(self) -> Extent:
        """What there is to read, as far as this process knows; `refresh` looks for more."""
        return self._tip.extent

    def refresh(self) -> bool:
        """Look for what other processes have done; whether anything was new.

        Another's append that is under way does not count. Raises `LogStoreError`, of which `LogBusyError` only when
        nothing was known before.
        """
        if not self._mutex.acquire(blocking=not self._tip.known):
            return False  # whoever holds it looks at the disk itself
        try:
            with _translated(self.folder):
                return self._tip.changed() and self._look()
        finally:
            self._mutex.release()

    def source_cursor(self, source: str) -> str:
        """The cursor of the last line kept from the source, empty when there is none. Raises `LogStoreError`."""
        self.refresh()
        return self._tip.sources.get(source, "")

    def append(self, replica_id: str, records: Sequence[LogRecord], source: str, after: str | None = None) -> None:
        """Write all lines or none; with ``after``, only if the source is kept up to that cursor.

        Raises `LogBusyError`, `SourceMovedError` and `LogStoreError`.
        """
        tip = self._tip
        with self._alone():
            reached = tip.sources.get(source, "")
            if after is not None and after != reached:
                raise SourceMovedError(source, after, reached)
            encoded = encode_lines(records, tip.extent.end + 1, replica_id, source)
            if self._segment_is_due(len(encoded)):
                self._begin_segment(len(encoded))
            self._write(encoded)
            tip.remember(source, records[-1].cursor)
            tip.latest = max(tip.latest, *(record.time for record in records))
            tip.wrote(tip.size + len(encoded), tip.extent.segments, tip.extent.end + len(records))

    def sync(self) -> None:
        """Make what was appended outlast a loss of power. Raises `LogStoreError`."""
        segments = self.extent.segments  # looked at once: `remove` may empty it in another thread
        if segments:
            with _translated(self.folder), suppress(FileNotFoundError):  # deleted meanwhile
                _sync_file(segment_path(self.folder, segments[-1]))

    def retain(self) -> None:
        """Drop what is too much or too old, also when nothing is printed any more. Raises `LogStoreError`."""
        if not self.folder.exists():
            return
        with self._alone():
            if not self.extent.segments:
                return
            if self._has_lines() and self._limits.outlived(self._tip.opened, self._clock()):
                self._begin_segment(0)
            else:
                self._drop_oldest(room=self._tip.size)

    def remove(self) -> None:
        """Remove every line. Raises `LogBusyError` and `LogStoreError`."""
        with self._mutex, _translated(self.folder), suppress(FileNotFoundError):
            with folder_lock(self.folder):
                shutil.rmtree(self.folder)
            self._tip.forget()

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Hold the lock of the folder, which is made when there is none, knowing what is on disk."""
        with self._mutex, _translated(self.folder):
            if not self.extent.segments:
                self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with folder_lock(self.folder):
                    if self._tip.changed():
                        self._tip.look()
                    yield
            except FileNotFoundError:
                self._tip.forget()
                raise

    def _look(self) -> bool:
        try:
            with folder_lock(self.folder, shared=True):
                self._tip.look()
        except LogBusyError:
            if not self._tip.known:
                raise
            return False
        except FileNotFoundError:
            self._tip.forget()
            self._tip.look()
        return True

    def _has_lines(self) -> bool:
        """Whether there are any in the last segment."""
        return self.extent.end >= self.extent.segments[-1]

    def _segment_is_due(self, more: int) -> bool:
        if not self.extent.segments:
            return True
        full = self._has_lines() and self._tip.size + more > self._limits.segment_bytes
        # One that is empty is begun anew when it is old: its age says how old its lines can be.
        return full or self._clock() - self._tip.opened > self._limits.segment_age_s

    def _begin_segment(self, more: int) -> None:
        if self.extent.segments:
            self._finish_segment()
        else:
            sync_folder(self.folder.parent)
        now, first = self._clock(), self.extent.end + 1
        size = create_segment(self.folder, first, Header(now, self._tip.latest, self._tip.sources))
        self._tip.began(first, size, now)
        self._drop_oldest(room=max(size + more, self._limits.segment_bytes))

    def _finish_segment(self) -> None:
        fd = os.open(self._last_segment, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, self._tip.size)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _drop_oldest(self, *, room: int) -> None:
        """Drop whole segments, oldest first, that are too old or leave too little room for the last one."""
        *closed, last = self.extent.segments
        sizes = [segment_path(self.folder, first).stat().st_size for first in closed]
        total, kept = sum(sizes) + room, 0
        for first, after, size in zip(closed, self.extent.segments[1:], sizes, strict=True):
            if total <= self._limits.max_bytes and not self._too_old(first, after):
                break
            total, kept = total - size, kept + 1
        # Named first: a reader that finds a file gone goes on with the next, but none may wait for one.
        self._tip.extent = Extent((*closed[kept:], last), self.extent.end)
        for first in closed[:kept]:
            segment_path(self.folder, first).unlink(missing_ok=True)

    def _too_old(self, segment: int, following: int) -> bool:
        """Whether the segment was complete before the age limit, or took its last line before that."""
        now = self._clock()
        complete = read_header(segment_path(self.folder, following)).opened
        return now - complete > self._limits.max_age_s or self._limits.outlived(
            read_header(segment_path(self.folder, segment)).opened, now
        )

    @property
    def _last_segment(self) -> Path:
        return segment_path(self.folder, self.extent.segments[-1])

    def _write(self, encoded: bytes) -> None:
        size = self._tip.size
        fd = os.open(self._last_segment, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size > size:
                os.ftruncate(fd, size)  # what a crash or a failed write left behind the last whole line
            view, offset = memoryview(encoded), size
            try:
                while view:
                    written = os.pwrite(fd, view, offset)
                    view, offset = view[written:], offset + written
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)


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
