"""Hearing of the end of supervisors at once, without asking."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress


class SupervisorWatch:
    """Calls back when a watched process ends, and reaps it when it is a child of this process."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._watched: dict[int, int] = {}
        """From pid to pidfd."""

    def add(self, name: str, pid: int) -> None:
        """Watch an instance's supervisor; a pid that is gone already counts as an end. Call from the event loop."""
        if pid in self._watched:
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._on_end(name)
            return
        self._watched[pid] = fd
        asyncio.get_running_loop().add_reader(fd, self._ended, name, pid)

    def close(self) -> None:
        """Stop watching; the processes go on."""
        for pid in list(self._watched):
            self._forget(pid)

    def _ended(self, name: str, pid: int) -> None:
        self._forget(pid)
        self._on_end(name)

    def _forget(self, pid: int) -> None:
        fd = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        with suppress(ChildProcessError):  # one that an earlier gateway started is reaped by init
            os.waitpid(pid, os.WNOHANG)
