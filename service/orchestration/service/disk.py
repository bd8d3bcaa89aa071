"""Whether folders can be written: asked of the disk again and again, off the event loop, never waited for."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PROBE_BYTES = 64 * 1024
"""What a probe writes: a disk with less room than this holds no line of a log much longer."""
INTERVAL_S = 5.0
"""Pause between two probes; a second while they fail."""
_FAILING_INTERVAL_S = 1.0
_SLOW_S = 10.0
"""A probe that takes longer is a failure."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DiskWatch:
    """Writes and syncs a small file in each folder, and knows which of them could not be written."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(dict.fromkeys(folders))
        self._failure = ""
        self._failing_since = 0.0
        self._probing_since: float | None = None

    @property
    def failure(self) -> str:
        """Which folder cannot be written, why, and for how long; empty when all can."""
        now = time.monotonic()
        if self._probing_since is not None and now - self._probing_since > _SLOW_S:
            took = now - self._probing_since
            return f"DISK_SLOW: a small file could not be written to {self._names()} within {took:.0f} s"
        return f"{self._failure}, for {now - self._failing_since:.0f} s" if self._failure else ""

    def _names(self) -> str:
        return " and ".join(str(folder) for folder in self._folders)

    async def look(self) -> None:
        """Probe the folders once."""
        self._probing_since = time.monotonic()
        try:
            failure = await asyncio.to_thread(self._probe)
        finally:
            self._probing_since = None
        if failure and not self._failure:
            self._failing_since = time.monotonic()
        self._failure = failure

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_FAILING_INTERVAL_S if self._failure else INTERVAL_S)

    def _probe(self) -> str:
        for folder in self._folders:
            try:
                _write(folder)
            except OSError as error:
                reason = "DISK_FULL" if error.errno in _FULL else "DISK_NOT_WRITABLE"
                return f"{reason}: {folder} cannot be written: {error.strerror or error}"
        return ""


def _write(folder: Path) -> None:
    """Write and sync a file that has no name, so that a crash leaves nothing behind. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        rest = memoryview(bytes(PROBE_BYTES))
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
