"""Write transactions of controllers: only while this gateway holds the lease on the work."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog

from orchestration.service.controllers.shards import ShardLeases, shard_name
from orchestration.store.errors import LeaseLostError
from orchestration.store.records import Lease
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction

log = structlog.get_logger(__name__)


class Guard:
    """Opens transactions that a lost lease refuses."""

    def __init__(self, store: Store, shards: ShardLeases) -> None:
        self._store = store
        self._shards = shards

    def holds(self, deployment_id: str) -> bool:
        """Whether this gateway is the one to work on the deployment."""
        return self._shards.lease_for(deployment_id) is not None

    def check(self, deployment_id: str) -> None:
        """Raise `LeaseLostError` when the deployment is not this gateway's to work on.

        For what cannot be done in a transaction: a call that creates something must not be made by a gateway that slept
        since it wrote down that it would.
        """
        self._require(shard_name(deployment_id))

    def write(self, deployment_id: str, actor: str) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on a deployment's rows. Raises `LeaseLostError` when the lease is not this gateway's."""
        return self.write_under(shard_name(deployment_id), actor)

    @asynccontextmanager
    async def write_under(self, name: str, actor: str) -> AsyncGenerator[Transaction]:
        """A transaction under the lease of this name. Raises `LeaseLostError` when it is not this gateway's."""
        lease = self._require(name)
        async with self._store.write(actor=actor) as tx:
            try:
                await tx.check_lease(lease)
            except LeaseLostError:
                self._refused(name)
                raise
            yield tx

    def _require(self, name: str) -> Lease:
        lease = self._shards.lease(name)
        if lease is None:
            self._refused(name)
            raise LeaseLostError(name)
        return lease

    def _refused(self, name: str) -> None:
        self._shards.metrics.refused.inc()
        log.warning("refused: the lease on this work is not held", lease=name)
