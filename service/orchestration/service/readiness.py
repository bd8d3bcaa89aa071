"""Whether the gateway can do its work: asked of the store, again and again, and told to health clients."""

from __future__ import annotations

import asyncio

import structlog

from orchestration.service.rpc.server import GrpcServer
from orchestration.store.errors import StoreError
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0


class Readiness:
    """Knows why the gateway is not ready; nothing when it is."""

    def __init__(self, store: Store, server: GrpcServer) -> None:
        self._store = store
        self._server = server
        self._reason = "starting"

    @property
    def reason(self) -> str:
        """Why the gateway is not ready; empty when it is."""
        return self._reason

    async def check(self) -> str:
        """Ask the store now, and tell health clients when the answer changed; gives the reason, empty when ready."""
        try:
            await self._store.ping()
            reason = ""
        except StoreError as error:
            reason = str(error)
        if bool(reason) != bool(self._reason):
            await self._server.set_serving(not reason)
            if reason:
                log.error("not ready", reason=reason)
            else:
                log.info("ready")
        self._reason = reason
        return reason

    async def run(self) -> None:
        """Check every second, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(INTERVAL_S)
