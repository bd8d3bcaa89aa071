"""What is old is forgotten, by one of the gateways: the one that reaps."""

from __future__ import annotations

import asyncio

import structlog

from orchestration.service.controllers.shards import REAPER, ShardLeases
from orchestration.store.errors import StoreError
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

_MINUTE_S = 60.0
_HOUR_S = 3600.0


class Retention:
    """Forgets old changes, events and answers, every hour."""

    def __init__(self, store: Store, shards: ShardLeases, *, events_s: float, events_per_subject: int) -> None:
        self._store = store
        self._shards = shards
        self._events_s = events_s
        self._events_per_subject = events_per_subject

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            pause = await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> float:
        """Forget what is old, where this gateway is the one to do it; gives the seconds after which to look again."""
        if self._shards.lease(REAPER) is None:
            return _MINUTE_S
        try:
            await self._store.trim(events_s=self._events_s, events_per_subject=self._events_per_subject)
        except StoreError as error:
            log.warning("old entries could not be removed", error=str(error))
        return _HOUR_S
