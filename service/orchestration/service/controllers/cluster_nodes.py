"""The nodes of clusters: kept in the inventory as the clusters themselves tell of them.

They belong to pools whose provider chooses the node that a replica runs on. Nothing is placed by them, and nothing is
torn down when one is lost: what runs there is looked after by the provider's word on each instance, as without them.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import NODES, ShardLeases
from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.inventory import ClusterNodes, NodeScope
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.cluster_nodes import Told, changes, told_nodes
from orchestration.store.errors import StoreError
from orchestration.store.records import Node, Pool, PoolState
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

ACTOR = "node-controller"
_LEAST_PAUSE_S = 1.0
"""Between two rounds, however often one is asked for."""
_JITTER = 0.1
"""Part of the interval by which a pause is longer or shorter, so that gateways do not all ask at once."""
_BATCH = 500
"""Nodes that are written in one transaction: others wait for it."""
_SCOPES_AT_ONCE = 8


class ClusterNodeController:
    """Asks every provider that tells its nodes, again and again, and brings the pools' nodes up to what it says."""

    def __init__(
        self,
        store: Store,
        shards: ShardLeases,
        providers: ProviderRegistry,
        clock: Callable[[], float],
        *,
        interval_s: float,
    ) -> None:
        self._store = store
        self._shards = shards
        self._guard = Guard(store, shards)
        self._providers = providers
        self._clock = clock
        self._interval_s = interval_s
        self._wanted = {name: asyncio.Event() for name in providers.node_listers}
        self._silent: dict[str, dict[str, str]] = {}
        """By provider, why clusters told no nodes in the last round."""

    async def run(self) -> None:
        """A round for each provider every interval, and soon after pools changed, until cancelled."""
        await asyncio.gather(*(self._run(name) for name in self._wanted))

    def look_soon(self) -> None:
        """Have a round without waiting for the interval: a pool is new, or means other nodes."""
        for event in self._wanted.values():
            event.set()

    async def _run(self, provider: str) -> None:
        wanted = self._wanted[provider]
        least_s = min(_LEAST_PAUSE_S, self._interval_s)
        while True:
            wanted.clear()
            pause_s = least_s
            try:
                if await self.sync(provider):
                    pause_s = self._interval_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  no secret
            except Exception as error:  # without this loop the inventory would stand still, and say nothing
                log.warning("the nodes of clusters cannot be kept", provider=provider, exc_info=error)
            await asyncio.sleep(least_s)
            try:
                async with asyncio.timeout(max(0.0, pause_s - least_s)):
                    await wanted.wait()
            except TimeoutError:
                continue

    async def sync(self, provider: str) -> bool:
        """One round over the pools of a provider; False when it is another gateway's to do."""
        if self._shards.lease(NODES) is None:
            return False
        by_scope: dict[NodeScope, list[Pool]] = defaultdict(list)
        for pool in self._store.index.find(Pool, provider=provider):
            if pool.state is PoolState.ACTIVE:
                by_scope[_scope(pool)].append(pool)
        turns = asyncio.Semaphore(_SCOPES_AT_ONCE)

        async def one(scope: NodeScope, pools: Sequence[Pool]) -> dict[str, str]:
            async with turns:
                return await self._sync_scope(provider, scope, pools)

        failures = await asyncio.gather(*(one(scope, pools) for scope, pools in by_scope.items()))
        self._tell(provider, dict(item for found in failures for item in found.items()))
        return True

    async def _sync_scope(self, provider: str, scope: NodeScope, pools: Sequence[Pool]) -> dict[str, str]:
        """Ask for the nodes of such pools, and bring them up to it; by cluster, why it told none."""
        asked_at = self._clock()
        try:
            found = await self._providers.node_listers[provider].list_nodes(scope)
        except ProviderError as error:
            return {str(scope): error.message}
        except Exception as error:  # a defect of a provider, which must not keep the other pools' nodes from being kept
            log.warning("nodes cannot be read", provider=provider, exc_info=error)
            return {}
        now = self._clock()
        listing = [replace(one, asked_at=min(one.asked_at or asked_at, now)) for one in found]
        for pool in pools:
            try:
                await self._sync_pool(pool, listing, now)
            except StoreError as error:
                log.warning("nodes cannot be written; the next round does", pool_id=pool.id, error=str(error))
        return {one.cluster: one.error for one in listing if one.error}

    def _tell(self, provider: str, failures: dict[str, str]) -> None:
        """Log who tells no nodes, once for each reason."""
        before = self._silent.get(provider, {})
        for what, error in failures.items():
            if before.get(what) != error:
                log.warning("nodes are not told, and stay as they are", provider=provider, of=what, error=error)
        self._silent[provider] = failures

    async def _sync_pool(self, pool: Pool, listing: Sequence[ClusterNodes], now: float) -> None:
        told = told_nodes(pool, listing)
        await self._beat(self._store.index.find(Node, pool_id=pool.id), told)
        known = self._store.index.find(Node, pool_id=pool.id)
        for _ in range(0, len(changes(pool, known, listing, told, now)), _BATCH):
            async with self._guard.write_under(NODES, ACTOR) as tx:
                current = await tx.get(Pool, pool.id)
                if current is None or current.state is not PoolState.ACTIVE or _scope(current) != _scope(pool):
                    return
                rows = await tx.select(Node, pool_id=pool.id)
                for change in changes(current, rows, listing, told, now)[:_BATCH]:
                    await change.write(tx, current)

    async def _beat(self, known: Sequence[Node], told: Mapping[str, Told]) -> None:
        """Note that the nodes are alive, and how busy, as an agent's heartbeat does."""
        for at in range(0, len(known), _BATCH):
            await asyncio.sleep(0)  # of thousands of nodes, others' turns are not to wait for all
            for row in known[at : at + _BATCH]:
                item = told.get(row.provider_instance_id)
                if item is not None and (live := item.liveness):
                    self._store.beat(row.id, **live)


def _scope(pool: Pool) -> NodeScope:
    return NodeScope(provider_pool_id=pool.provider_pool_id, provider_credential_name=pool.provider_credential_name)
