"""The files of a SQLite database: whether those at the path are still the ones that are open.

A file that is moved away or deleted can be written as before by whoever has it open; what is written then is lost with
the process. So the names are compared with what was opened, before and after every commit.
"""

from __future__ import annotations

import os
from pathlib import Path

from orchestration.store.errors import StoreUnavailableError

_Identity = tuple[int, int]
"""Device and inode."""
GONE = "DATABASE_GONE"


class SqliteFiles:
    """The database's file and its write-ahead log, as this process's connections have them open."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.log_path = self.path.with_name(self.path.name + "-wal")
        self._shared_path = self.path.with_name(self.path.name + "-shm")
        self._main: _Identity | None = None
        self._log: _Identity | None = None
        self._shared: _Identity | None = None
        self._open = 0
        self._abandoned: int | None = None
        """A descriptor of the shared memory while its log is abandoned: so its inode is not given away."""

    @property
    def uri(self) -> str:
        """What to connect to: an existing file only, so that none is made where the database is missing."""
        return f"{self.path.as_uri()}?mode=rw"

    def connected(self) -> None:
        """Note a new connection that has read the database, and so has its log open."""
        self._open += 1
        if self._main is None:
            self._main = _identity(self.path)
        if self._open == 1:  # the last connection before it took the old log away
            self._log = _identity(self.log_path)
            self._shared = _identity(self._shared_path)

    def closed(self) -> None:
        """Note the end of a connection."""
        self._open -= 1

    @property
    def is_open(self) -> bool:
        """Whether this process has a connection."""
        return self._open > 0

    @property
    def log_is_lost(self) -> bool:
        """Whether only the log was removed or replaced: its contents can be saved through an open connection."""
        return self._open > 0 and self._is_in_place() and _identity(self.log_path) != self._log

    def abandon_log(self) -> None:
        """Let nobody connect before every process has closed the log: two logs at once would ruin the database.

        The last one to close a database removes its shared memory.
        """
        if self._abandoned is None:
            # Closing any other kind of descriptor would drop SQLite's locks.
            self._abandoned = os.open(self._shared_path, getattr(os, "O_PATH", os.O_RDONLY))

    def _is_in_place(self) -> bool:
        return self._main is None or _identity(self.path) == self._main

    def check(self) -> None:
        """Raise StoreUnavailableError (DATABASE_GONE) when what is at the path is not what is open."""
        if not self._is_in_place():
            raise StoreUnavailableError(GONE, _what(self.path, "put it back, or restart the gateway"))
        if self._open and _identity(self.log_path) != self._log:
            raise StoreUnavailableError(GONE, _what(self.log_path, "it is made anew when all have closed it"))
        if self._abandoned is not None and not self._open:
            if self.is_held_elsewhere:
                told = f"{self.log_path} was lost, and another process still has it open: it has to close it first"
                raise StoreUnavailableError(GONE, told)
            self.close()

    @property
    def is_held_elsewhere(self) -> bool:
        """Whether the shared memory of a log that was abandoned is still in use."""
        return self._shared is not None and _identity(self._shared_path) == self._shared

    def close(self) -> None:
        """Give up what is held."""
        if self._abandoned is not None:
            os.close(self._abandoned)
            self._abandoned = None


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _what(path: Path, remedy: str) -> str:
    what = "was replaced by another file" if path.exists() else "is not there any more"
    return f"{path} {what}, and this process still has the old one open: {remedy}"
