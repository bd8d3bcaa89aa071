"""The reaper: instances that carry our tag and that no row knows are deleted, and pools whose deletion is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import REAPER, ShardLeases
from orchestration.service.providers.base import Provider, ProviderError
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.pools import remove_pool
from orchestration.store.errors import StoreError
from orchestration.store.records import Deployment, DesiredState, Pool, PoolState, Replica
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

ACTOR = "reaper"


class Reaper:
    """Compares what providers run for us with the rows."""

    def __init__(
        self,
        store: Store,
        shards: ShardLeases,
        providers: ProviderRegistry,
        clock: Callable[[], float],
        *,
        interval_s: float,
        grace_s: float,
    ) -> None:
        self._store = store
        self._shards = shards
        self._guard = Guard(store, shards)
        self._providers = providers
        self._clock = clock
        self._interval_s = interval_s
        self._grace_s = grace_s
        self._unknown_since: dict[tuple[str, str], float] = {}
        self._emptied = asyncio.Event()

    async def run(self) -> None:
        """A pass every interval, until cancelled."""
        while True:
            try:
                await self.sweep()
            except Exception as error:
                log.warning("sweep failed", exc_info=error)
            await asyncio.sleep(self._interval_s)

    async def sweep(self) -> None:
        """One pass over all providers and pools."""
        if self._shards.lease(REAPER) is None:
            return
        for provider in self._providers.all():
            if not self._providers.unavailable_reason(provider.name):
                try:
                    await self._sweep_provider(provider)
                except Exception as error:  # one that is out of reach does not keep the others from being swept
                    log.warning("sweep failed", provider=provider.name, exc_info=error)
        await self.remove_empty_pools()

    async def _sweep_provider(self, provider: Provider) -> None:
        now = self._clock()
        unknown = {
            (provider.name, instance.name)
            for instance in await provider.list_owned()
            if not self._store.index.find(Replica, instance_name=instance.name)
        }
        for key in [key for key in self._unknown_since if key[0] == provider.name and key not in unknown]:
            del self._unknown_since[key]
        for key in unknown:
            since = self._unknown_since.setdefault(key, now)
            if now - since >= self._grace_s:
                await self._delete(provider, key[1])

    async def _delete(self, provider: Provider, instance: str) -> None:
        if not await self._is_unknown(instance):
            return
        log.warning("deleting an instance that no replica knows", provider=provider.name, instance=instance)
        try:
            await provider.delete(instance)
        except ProviderError as error:  # one that cannot be ended now does not keep the others from it
            log.warning("deletion failed, the next sweep tries again", instance=instance, error=error.message)

    async def _is_unknown(self, instance: str) -> bool:
        """Whether no row names the instance, asked of the database: the index may be old where that is out of reach.

        Raises `LeaseLostError` when the lease is not this gateway's any more.
        """
        async with self._guard.write_under(REAPER, ACTOR) as tx:
            return not await tx.select(Replica, instance_name=instance)

    def look_at_pools(self) -> None:
        """Have `run_pools` look: something was given back, and a pool that is being deleted may be empty now."""
        self._emptied.set()

    async def run_pools(self) -> None:
        """Remove emptied pools each time that `look_at_pools` was called, until cancelled."""
        while True:
            await self._emptied.wait()
            self._emptied.clear()
            try:
                await self.remove_empty_pools()
            except StoreError as error:
                log.warning("pools cannot be removed; the next sweep tries again", error=str(error))

    async def remove_empty_pools(self) -> None:
        """Remove pools that are being deleted and hold nothing any more."""
        for pool in self._store.index.find(Pool, state=PoolState.DELETING):
            async with self._store.write(actor=ACTOR) as tx:
                current = await tx.get(Pool, pool.id)
                live = await tx.select(Deployment, pool_id=pool.id, desired=DesiredState.RUNNING)
                if current is not None and not live and not await tx.select(Replica, pool_id=pool.id):
                    await remove_pool(tx, current)
