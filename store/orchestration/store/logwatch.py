"""Whether SQLite's write-ahead log may have grown, told by its file alone: a look costs two microseconds.

To ask the database itself is a step of another thread, a hundred times as much, and twenty times a second adds up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

SETTLE_S = 0.25
"""For so long after a change was seen, the database is asked at every look: what was written is seen by others only
once it was synced, and a second change within one tick of the file system's clock looks like the first."""
ASK_S = 1.0
"""The database is asked at least this often, whatever the file looks like: a slow disk may take longer to sync."""


class LogWatch:
    """Looks at the file again and again."""

    def __init__(self, log: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._seen: tuple[int, int, int] | None = None
        self._settled_at = 0.0
        self._ask_at = 0.0

    def may_have_changed(self) -> bool:
        """Whether to ask the database. A log that is not there, or cannot be looked at, says nothing: True."""
        now = self._monotonic()
        seen = _look(self._log)
        if seen is None or seen != self._seen:
            self._seen, self._settled_at = seen, now + SETTLE_S
        if now >= self._settled_at and now < self._ask_at:
            return False
        self._ask_at = now + ASK_S
        return True


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked twenty times a second
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
