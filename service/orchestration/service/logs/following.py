"""One deployment's log in this process, and the look at what other processes append to those that are followed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog

from orchestration.service.logs.errors import LogStoreError
from orchestration.service.logs.reading import LogReader
from orchestration.service.logs.writing import Limits, LogWriter

POLL_S = 0.05
"""Pause between two looks: a line that another process wrote is followed within twice this time."""
_RETRY_S = 1.0
"""Pause after a look that failed in a way that was not foreseen."""

log = structlog.get_logger(__name__)


class DeploymentLog:
    """One deployment's log in this process."""

    def __init__(self, folder: Path, deployment_id: str, limits: Limits, clock: Callable[[], float]) -> None:
        self.writer = LogWriter(folder, limits, clock)
        self.reader = LogReader(folder, deployment_id)
        self.lock = asyncio.Lock()
        """Held by whatever changes the files, so that threads need not wait for each other."""
        self.gone = False
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set by the next change; take it before reading, so that none is missed."""
        return self._changed

    def wake(self) -> None:
        """Wake every follower."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class OthersWatch:
    """Wakes followers when another process has appended: one look at all logs that are followed, many times a second.

    A look costs two system calls a log, and only while it is followed.
    """

    def __init__(self, run: Callable[[Callable[[], list[DeploymentLog]]], Awaitable[list[DeploymentLog]]]) -> None:
        self._run = run
        self._followers: Counter[DeploymentLog] = Counter()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def following(self, entry: DeploymentLog) -> Generator[None]:
        """Look at this log for the time of the block."""
        self._followers[entry] += 1
        if self._task is None:
            self._task = asyncio.create_task(self._look_on())
        try:
            yield
        finally:
            self._followers[entry] -= 1
            if not self._followers[entry]:
                del self._followers[entry]

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_on(self) -> None:
        try:
            while self._followers:
                await asyncio.sleep(POLL_S)
                try:
                    changed = await self._run(partial(_changed, list(self._followers)))
                except LogStoreError:
                    break  # the store is closed
                except Exception as error:  # whatever it was, followers wait for the next look
                    log.error("log_watch_failed", retry_in_s=_RETRY_S, exc_info=error)
                    await asyncio.sleep(_RETRY_S)
                    continue
                for entry in changed:
                    entry.wake()
        finally:
            self._task = None


def _changed(entries: Sequence[DeploymentLog]) -> list[DeploymentLog]:
    """Those to which another process has appended since the last look. Blocking."""
    changed: list[DeploymentLog] = []
    for entry in entries:
        try:
            if entry.writer.refresh():
                changed.append(entry)
        except LogStoreError as error:  # its followers are told when they read
            log.warning("log_unreadable", folder=str(entry.writer.folder), error=str(error))
            changed.append(entry)
    return changed
