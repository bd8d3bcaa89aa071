"""Copies what instances print from their providers into the log store, each line once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import structlog

from orchestration.service.logs.buffer import LineBuffer
from orchestration.service.logs.errors import LogStoreError, SourceMovedError
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import Provider

_FIRST_RETRY_S = 0.2
_MAX_RETRY_S = 30.0
_MAX_STORE_RETRY_S = 2.0
"""A disk that has room again is nearer than a provider that is out of reach, and the lines wait where they are."""
_OTHER_COPIES_S = 0.2
"""Pause after another process was found to copy the same lines: it is ahead, and may go on."""
_MAX_FAILURES = 16
"""Counted no further: the delay reached its limit long before."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    provider: Provider
    instance_name: str
    deployment_id: str
    replica_id: str


class LogCollector:
    """At most one copying task per instance, so that no two read on from the same cursor."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def start(self, provider: Provider, instance_name: str, deployment_id: str, replica_id: str) -> None:
        """Follow the instance until it ends, from the last kept line on; no effect while that is being done."""
        if instance_name not in self._tasks and not self._closed:
            self._begin(_Source(provider, instance_name, deployment_id, replica_id), follow=True)

    async def drain(
        self,
        provider: Provider,
        instance_name: str,
        deployment_id: str,
        replica_id: str,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        """Copy what an instance that ended has left; lines that cannot be had in time are logged as left behind."""
        while instance_name in self._tasks:
            await self.stop(instance_name)
        if self._closed:
            return
        task = self._begin(_Source(provider, instance_name, deployment_id, replica_id), follow=False)
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            log.warning("log_drain_incomplete", instance=instance_name, deployment_id=deployment_id, after_s=timeout_s)
            await self.stop(instance_name)

    async def stop(self, instance_name: str) -> None:
        """Stop copying; what was read but not kept yet is read again by the next `start` or `drain`."""
        task = self._tasks.get(instance_name)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def last_lines(self, deployment_id: str, replica_id: str, n: int, *, since: float | None = None) -> list[str]:
        """The last ``n`` messages of a replica since then (Unix seconds), oldest first. Raises `LogStoreError`."""
        lines = await self._store.tail(deployment_id, n, replica_id=replica_id, since=since)
        return [line.message for line in lines]

    async def close(self) -> None:
        """Stop copying from every instance."""
        self._closed = True
        while self._tasks:
            await asyncio.gather(*(self.stop(name) for name in list(self._tasks)))

    def _begin(self, source: _Source, *, follow: bool) -> asyncio.Task[None]:
        task = asyncio.create_task(self._copy_surely(source, follow=follow))
        self._tasks[source.instance_name] = task

        def forget(_: asyncio.Task[None]) -> None:
            del self._tasks[source.instance_name]

        task.add_done_callback(forget)
        return task

    async def _copy_surely(self, source: _Source, *, follow: bool) -> None:
        failures = 0
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await self._copy(source, follow=follow)
                return
            except SourceMovedError as error:
                log.info("log_copied_elsewhere", instance=source.instance_name, reached=error.reached)
                await asyncio.sleep(_OTHER_COPIES_S)
            except Exception as error:  # whatever an installed provider raises must not end the copying
                if clock() - began > _MAX_RETRY_S:
                    failures = 0  # it went well for a while
                longest = _MAX_STORE_RETRY_S if isinstance(error, LogStoreError) else _MAX_RETRY_S
                delay = min(_FIRST_RETRY_S * 2**failures, longest)
                failures = min(failures + 1, _MAX_FAILURES)
                log.warning(
                    "log_copy_failed",
                    instance=source.instance_name,
                    deployment_id=source.deployment_id,
                    error=str(error) or type(error).__name__,
                    retry_in_s=delay,
                )
                await asyncio.sleep(delay)

    async def _copy(self, source: _Source, *, follow: bool) -> None:
        """Copy from the last kept line to the end of the source. Raises what the provider and the store do."""
        after = await self._store.source_cursor(source.deployment_id, source.instance_name)
        lines = source.provider.logs(source.instance_name, after=after, follow=follow)
        buffer = LineBuffer()
        filling = asyncio.create_task(buffer.fill(lines))
        try:
            while batch := await buffer.take():
                name = source.instance_name
                await self._store.append(source.deployment_id, source.replica_id, batch, name, after=after)
                after = batch[-1].cursor
            await filling
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()
