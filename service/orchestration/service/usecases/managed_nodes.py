"""Nodes that the gateway keeps itself, from what a provider on this machine says it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from orchestration.service.ids import new_id
from orchestration.service.providers.base import ProviderError, Resource
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.store.index import Index
from orchestration.store.records import Node, NodeState, Pool, PoolState
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction

log = structlog.get_logger(__name__)

ACTOR = "node-controller"


class ManagedNodes:
    """Gives every pool of a local provider this machine as a node, and keeps that node true."""

    def __init__(self, store: Store, providers: ProviderRegistry, clock: Callable[[], float]) -> None:
        self._store = store
        self._index: Index = store.index
        self._providers = providers
        self._clock = clock
        self._resources: dict[str, list[Resource]] = {}

    async def refresh(self) -> None:
        """Ask the local providers what there is, and bring the nodes of their pools up to it."""
        for provider in self._providers.all():
            if provider.capabilities.kind == "local":
                try:
                    self._resources[provider.name] = list(await provider.list_resources())
                except ProviderError as error:
                    log.warning("resources cannot be read; what was there before counts", error=error.message)
        for name in self._resources:
            for pool in self._index.find(Pool, provider=name):
                await self._sync(pool)

    async def _sync(self, pool: Pool) -> None:
        nodes = {node.provider_instance_id: node for node in self._index.find(Node, pool_id=pool.id) if node.managed}
        wanted = {_instance_id(pool, resource): resource for resource in self._resources[pool.provider]}
        now = self._clock()
        stale = any(key not in nodes or _described(nodes[key], item) != nodes[key] for key, item in wanted.items())
        gone = any(nodes[key].state is not NodeState.TERMINATED for key in set(nodes) - set(wanted))
        if (stale or gone) and pool.state is PoolState.ACTIVE:
            async with self._store.write(actor=ACTOR) as tx:
                await self.join(tx, pool)
        for key in set(nodes) & set(wanted):
            self._store.beat(nodes[key].id, last_heartbeat_at=now)

    async def join(self, tx: Transaction, pool: Pool) -> None:
        """Bring the pool's nodes up to what there is; nothing for pools of other providers."""
        if await tx.get(Pool, pool.id) is None:
            return
        current = {node.provider_instance_id: node for node in await tx.select(Node, pool_id=pool.id) if node.managed}
        for resource in self._resources.get(pool.provider, ()):
            key = _instance_id(pool, resource)
            node = current.pop(key, None)
            if node is None:
                blank = Node(id=new_id(), pool_id=pool.id, provider=pool.provider, provider_instance_id=key)
                node = await tx.insert(replace(_described(blank, resource), last_heartbeat_at=self._clock()))
                text = f"{resource.provider_resource_id} joined pool {pool.name!r}"
                tx.event(kind="node", subject_id=node.id, reason="NODE_REGISTERED", message=text)
            else:
                await tx.update(_described(node, resource))
        for gone in current.values():
            if gone.state is not NodeState.TERMINATED:
                await tx.update(replace(gone, state=NodeState.TERMINATED))
                text = "is no longer there"
                tx.event(kind="node", subject_id=gone.id, type="WARNING", reason="NODE_TERMINATED", message=text)


def _instance_id(pool: Pool, resource: Resource) -> str:
    """One node for each pool and kind of GPU: the machine itself may stand in several pools."""
    return "/".join(part for part in (resource.provider_resource_id, resource.gpu_type, pool.id) if part)


def _described(node: Node, resource: Resource) -> Node:
    drained = node.state is NodeState.DRAINING
    return replace(
        node,
        managed=True,
        state=NodeState.DRAINING if drained else NodeState.READY,
        reported_state=NodeState.DRAINING if drained else NodeState.READY,
        gpu_type=resource.gpu_type,
        gpu_total=resource.gpu_count,
        vcpu_total=float(resource.vcpu),
        ram_gb_total=resource.ram_gb,
        price_per_hour=resource.price_per_hour,
        hostname=resource.provider_resource_id,
        region=resource.region,
    )
