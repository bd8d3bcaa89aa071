"""The log store: append-only segments of every deployment, with one cursor for page, tail and follow.

The files are ``<root>/<deployment_id>/<first sequence number>.jsonl``. Any number of processes may read and write
them: an append holds the folder's lock, and is refused when another process has copied the same lines meanwhile. Lines
are with the operating system when `LogStore.append` returns, so that a crash of the process loses none; within a second
of that they outlast a loss of power too.

A cursor stays good for as long as the deployment exists. One that is older than the oldest line that is kept goes on
with that line, and a line before it says how many were dropped.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from orchestration.service.logs.errors import InvalidCursorError, LogBusyError, LogStoreError, SourceMovedError
from orchestration.service.logs.following import DeploymentLog, OthersWatch
from orchestration.service.logs.lines import LogLine, Page, decode_cursor
from orchestration.service.logs.reading import Batch, Place, Selection
from orchestration.service.logs.retention import folders, survey
from orchestration.service.logs.writing import Limits, LogWriter
from orchestration.service.providers.base import LogRecord

__all__ = ["InvalidCursorError", "LogLine", "LogStore", "LogStoreError", "Page", "SourceMovedError", "decode_cursor"]

_T = TypeVar("_T")
_DEPLOYMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SYNC_INTERVAL_S = 0.5
_FOLLOW_LINES = 512
_THREADS = 4
_LOCK_WAIT_S = 2.0
"""How long another process may hold the lock of a log, which it does for milliseconds, unless it was stopped."""
_LOCK_RETRY_S = 0.005
_SWEEP_FOLDERS = 256
"""Looked at together, in one of the threads."""
_CLOSED = "the log store is closed"

log = structlog.get_logger(__name__)


class LogStore:
    """Keeps what replicas print. All methods belong to one event loop; blocking work runs in a few threads."""

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int = 4 * 1024 * 1024,
        max_bytes_per_deployment: int = 64 * 1024 * 1024,
        max_age_s: float = 7 * 86400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Whole oldest segments go when they are too many bytes, or older than ``max_age_s``.

        That is looked at when a new one begins, and by `sweep`.
        """
        for name, value in (("segment_bytes", segment_bytes), ("max_age_s", max_age_s)):
            if value <= 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if max_bytes_per_deployment < segment_bytes:
            raise ValueError(
                f"max_bytes_per_deployment must be at least segment_bytes ({segment_bytes}), "
                f"not {max_bytes_per_deployment}"
            )
        self._root = root
        self._limits = Limits(segment_bytes=segment_bytes, max_bytes=max_bytes_per_deployment, max_age_s=max_age_s)
        self._clock = clock
        self._logs: dict[str, DeploymentLog] = {}
        self._unsynced: set[DeploymentLog] = set()
        self._syncing: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="logs")
        self._others = OthersWatch(self._run)
        self._closed = False

    async def append(
        self,
        deployment_id: str,
        replica_id: str,
        records: Sequence[LogRecord],
        source: str,
        *,
        after: str | None = None,
    ) -> None:
        """Add the lines, all or none, and remember the last one's cursor as that of the source (an instance's name).

        With ``after`` they are added only if the source is kept up to that cursor, which is what they were read after:
        so of several that copy from it each line is kept once. A caller that is cancelled does not know whether they
        were added; `source_cursor` does. Raises `SourceMovedError` and `LogStoreError`.
        """
        entry = self._log(deployment_id)
        if not records:
            return
        write = asyncio.create_task(self._append(entry, replica_id, records, source, after))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        await asyncio.shield(write)

    async def source_cursor(self, deployment_id: str, source: str) -> str:
        """Where to read on in the source; empty is from the start. Raises `LogStoreError`."""
        entry = self._log(deployment_id)
        async with entry.lock:
            return await self._patiently(partial(entry.writer.source_cursor, source))

    async def read(
        self, deployment_id: str, *, after: int, limit: int, since: float | None, replica_id: str | None
    ) -> Page:
        """Up to ``limit`` lines (about 2 MB at most) with a higher sequence number, from the oldest kept on.

        ``since`` (Unix seconds) and ``replica_id`` leave lines out. Raises `LogStoreError`.
        """
        entry = self._log(deployment_id)
        await self._patiently(entry.writer.refresh)
        selection = Selection(replica_id=replica_id, since=since)
        batch = await self._batch(entry, selection, after=after, limit=limit)
        return Page(batch.lines, batch.lines[-1].cursor if batch.lines else "")

    async def tail(self, deployment_id: str, n: int, *, replica_id: str | None, since: float | None) -> list[LogLine]:
        """The last ``n`` lines, oldest first, of those that are not left out; fewer when they are over 2 MB together.

        Raises `LogStoreError`.
        """
        entry = self._log(deployment_id)
        await self._patiently(entry.writer.refresh)
        selection = Selection(replica_id=replica_id, since=since)
        return await self._run(partial(entry.reader.last, entry.writer.extent, selection, n)) if n > 0 else []

    async def before_last(self, deployment_id: str, n: int, *, replica_id: str | None, since: float | None) -> int:
        """The sequence number after which the last ``n`` lines come, of those that are not left out.

        Raises `LogStoreError`.
        """
        entry = self._log(deployment_id)
        await self._patiently(entry.writer.refresh)
        selection = Selection(replica_id=replica_id, since=since)
        return await self._run(partial(entry.reader.before_last, entry.writer.extent, selection, n))

    async def follow(self, deployment_id: str, *, after: int, replica_id: str | None) -> AsyncGenerator[LogLine]:
        """Lines after a sequence number as they come, until the log is released or the store closed.

        Held back by a slow reader, it keeps no more than a batch in memory, and goes on with the oldest line that is
        still kept. Raises `LogStoreError`.
        """
        entry = self._log(deployment_id)
        selection = Selection(replica_id=replica_id)
        place: Place | None = None
        try:
            await self._patiently(entry.writer.refresh)
            with self._others.following(entry):
                while not (entry.gone or self._closed):
                    changed = entry.changed
                    batch = await self._batch(entry, selection, after=after, limit=_FOLLOW_LINES, place=place)
                    after, place = batch.reached, batch.place
                    for line in batch.lines:
                        yield line
                    if not batch.lines:
                        await changed.wait()
        except LogStoreError:
            if not self._closed:
                raise

    def release(self, deployment_id: str) -> None:
        """End those that follow the log, and forget it; `sweep` removes the files."""
        entry = self._logs.pop(deployment_id, None)
        if entry is not None:
            entry.gone = True
            entry.wake()

    async def sweep(self, is_known: Callable[[str], bool], *, grace_s: float) -> None:
        """Remove logs whose deployment was not known for the grace, and what others hold beyond age and size.

        One that fails is logged, and does not keep the others from being swept. Raises `LogStoreError` and `OSError`.
        """
        names = [name for name in await self._run(partial(folders, self._root)) if _DEPLOYMENT_ID.fullmatch(name)]
        for start in range(0, len(names), _SWEEP_FOLDERS):
            some = names[start : start + _SWEEP_FOLDERS]
            known = {name for name in some if is_known(name)}
            found = await self._run(partial(survey, self._root, some, known, self._limits, self._clock(), grace_s))
            for name in found.due:
                await self._change(name, LogWriter.retain)
            for name in found.over:
                await self._change(name, LogWriter.remove)
                self.release(name)

    async def close(self) -> None:
        """Finish what is being written, make it last, and end those that follow. Called again, it does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._others.close()
        await asyncio.gather(*self._writes, return_exceptions=True)
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
        await self._sync()
        for entry in self._logs.values():
            entry.wake()
        await asyncio.to_thread(self._threads.shutdown)

    def _log(self, deployment_id: str) -> DeploymentLog:
        if self._closed:
            raise LogStoreError(_CLOSED)
        if not _DEPLOYMENT_ID.fullmatch(deployment_id):
            raise ValueError(
                f"deployment_id {deployment_id[:140]!r} cannot name a log: it must be 1 to 128 letters, digits, "
                "'.', '_' or '-', and begin with a letter or digit"
            )
        entry = self._logs.get(deployment_id)
        if entry is None:
            entry = DeploymentLog(self._root / deployment_id, deployment_id, self._limits, self._clock)
            self._logs[deployment_id] = entry
        return entry

    async def _append(
        self, entry: DeploymentLog, replica_id: str, records: Sequence[LogRecord], source: str, after: str | None
    ) -> None:
        async with entry.lock:
            await self._patiently(partial(entry.writer.append, replica_id, records, source, after))
        self._unsynced.add(entry)
        entry.wake()
        if self._syncing is None and not self._closed:
            self._syncing = asyncio.create_task(self._sync_soon())

    async def _batch(
        self, entry: DeploymentLog, selection: Selection, *, after: int, limit: int, place: Place | None = None
    ) -> Batch:
        return await self._run(
            partial(entry.reader.forward, entry.writer.extent, selection, after=after, limit=limit, place=place)
        )

    async def _change(self, deployment_id: str, change: Callable[[LogWriter], None]) -> None:
        entry = self._log(deployment_id)
        try:
            async with entry.lock:
                await self._patiently(partial(change, entry.writer))
        except LogStoreError as error:
            log.warning("log_sweep_failed", deployment_id=deployment_id, error=str(error))

    async def _sync_soon(self) -> None:
        try:
            while self._unsynced:
                await asyncio.sleep(_SYNC_INTERVAL_S)
                await self._sync()
        finally:
            self._syncing = None

    async def _sync(self) -> None:
        for entry in list(self._unsynced):
            self._unsynced.discard(entry)  # before: what is appended meanwhile counts for the next round
            try:
                await self._run(entry.writer.sync)
            except LogStoreError as error:
                log.error("log_sync_failed", folder=str(entry.writer.folder), error=str(error))
            except Exception as error:  # not foreseen: the other logs are to last all the same
                log.error("log_sync_failed", folder=str(entry.writer.folder), exc_info=error)

    async def _patiently(self, function: Callable[[], _T]) -> _T:
        """Try again while another process holds the lock. Raises `LogBusyError` when that lasts."""
        give_up_at = asyncio.get_running_loop().time() + _LOCK_WAIT_S
        while True:
            try:
                return await self._run(function)
            except LogBusyError:
                if asyncio.get_running_loop().time() > give_up_at:
                    raise
            await asyncio.sleep(_LOCK_RETRY_S)

    async def _run(self, function: Callable[[], _T]) -> _T:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, function)
        except RuntimeError as error:  # what the executor raises once it is shut down
            raise LogStoreError(_CLOSED) from error
        return await running
