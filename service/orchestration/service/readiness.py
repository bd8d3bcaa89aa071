"""Whether the gateway can do its work: asked of the store and the disk again and again, and told to health clients.

Nothing here waits for what may never answer: a write, a read and the disk are tried beside each other, and the answer
is what is known of them.
"""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import CollectorRegistry, Gauge

from orchestration.service.disk import DiskWatch
from orchestration.service.rpc.server import GrpcServer
from orchestration.store.errors import StoreError
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0


class Readiness:
    """Knows why the gateway is not ready; nothing when it is."""

    def __init__(self, store: Store, disk: DiskWatch, server: GrpcServer, metrics: CollectorRegistry) -> None:
        self._store = store
        self._disk = disk
        self._server = server
        self._read_failure = "starting"
        self._told = "starting"
        self._writing: asyncio.Task[None] | None = None
        self._ready = Gauge("orchestration_ready", "1 while the gateway can do its work, else 0.", registry=metrics)
        self._failing = Gauge(
            "orchestration_database_write_failing_seconds",
            "How long the database has taken no writes; 0 while it does.",
            registry=metrics,
        )
        self._failing.set_function(self._write_failing_s)

    def _write_failing_s(self) -> float:
        failure = self._store.write_failure
        return 0.0 if failure is None else failure.for_s

    @property
    def reason(self) -> str:
        """Why the gateway is not ready, as it is known at this moment; empty when it is."""
        return "; ".join(part for part in (self._write_failure(), self._disk.failure, self._read_failure) if part)

    def _write_failure(self) -> str:
        failure = self._store.write_failure
        return "" if failure is None else f"{failure.reason}: {failure.message}, for {failure.for_s:.0f} s"

    async def check(self) -> str:
        """Ask the store now, and tell health clients when the answer changed; gives the reason, empty when ready."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._try_to_write(), name="readiness write")
        try:
            await self._store.ping()
            self._read_failure = ""
        except StoreError as error:
            self._read_failure = str(error)
        reason = self.reason
        if bool(reason) != bool(self._told):
            await self._server.set_serving(not reason)
            if reason:
                log.error("not ready", reason=reason)
            else:
                log.info("ready")
        self._ready.set(0 if reason else 1)
        self._told = reason
        return reason

    async def _try_to_write(self) -> None:
        """Let the store find out whether it can write; it remembers what it found."""
        try:
            await self._store.check_writable()
        except StoreError as error:
            log.debug("no write now", error=str(error))

    async def run(self) -> None:
        """Check every second, until cancelled."""
        try:
            while True:
                try:
                    await self.check()
                except Exception as error:  # whatever it is, the next check is due all the same
                    log.error("readiness cannot be checked", exc_info=error)
                await asyncio.sleep(INTERVAL_S)
        finally:
            if self._writing is not None:
                self._writing.cancel()
