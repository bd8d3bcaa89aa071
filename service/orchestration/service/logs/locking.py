"""The lock of one log's folder: one process writes at a time, and those that look do not meet a half-written batch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from orchestration.service.logs.errors import LogBusyError


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False) -> Generator[None]:
    """Hold the lock for the time of the block; several may hold a shared one together.

    It belongs to the open file, so that it also holds between threads, and ends with the process. Raises
    `LogBusyError` at once when it cannot be had, and `FileNotFoundError` when there is no folder.
    """
    fd = _lock(folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def _lock(folder: Path, kind: int) -> int:
    while True:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), folder.stat()):
                return fd
        except BlockingIOError as error:
            os.close(fd)
            raise LogBusyError(f"the log in {folder} is in use by another process") from error
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # removed, and made anew, between open and lock: this is the lock of a folder that is no more
