"""Write transactions of controllers: only while this gateway holds the lease on the deployment."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from orchestration.service.controllers.shards import ShardLeases, shard_name
from orchestration.store.errors import LeaseLostError
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction


class Guard:
    """Opens transactions that a lost lease refuses."""

    def __init__(self, store: Store, shards: ShardLeases) -> None:
        self._store = store
        self._shards = shards

    @asynccontextmanager
    async def write(self, deployment_id: str, actor: str) -> AsyncGenerator[Transaction]:
        """A transaction on a deployment's rows. Raises `LeaseLostError` when the lease is not this gateway's."""
        lease = self._shards.lease_for(deployment_id)
        if lease is None:
            raise LeaseLostError(shard_name(deployment_id))
        async with self._store.write(actor=actor) as tx:
            await tx.check_lease(lease)
            yield tx
