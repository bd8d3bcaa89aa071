"""What placement needs to know of a pool, from the index or from within a transaction."""

from __future__ import annotations

from orchestration.service.domain.placement import PoolView
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.views import reservations
from orchestration.store.index import Index
from orchestration.store.records import Node, NodeState, Pool, Replica, Reservation
from orchestration.store.transaction import Transaction


class PoolViews:
    """Makes the views that placement works on."""

    def __init__(self, index: Index, providers: ProviderRegistry) -> None:
        self._index = index
        self._providers = providers

    def pool(self, pool_id: str) -> Pool | None:
        """The pool's record, or None when it is gone."""
        return self._index.get(Pool, pool_id)

    def look(self, pool: Pool) -> PoolView:
        """The pool as the index has it: good for explaining, not for reserving."""
        nodes = self._index.find(Node, pool_id=pool.id)
        return self._view(pool, nodes, reservations(self._index.find(Replica, pool_id=pool.id)))

    async def read(self, tx: Transaction, pool: Pool) -> PoolView:
        """The pool as the transaction sees it: what is reserved on it is reserved once."""
        nodes = await tx.select(Node, pool_id=pool.id)
        return self._view(pool, nodes, reservations(await tx.select(Replica, pool_id=pool.id)))

    def _view(self, pool: Pool, nodes: list[Node], reserved: dict[str, Reservation]) -> PoolView:
        gone = {NodeState.TERMINATED, NodeState.LOST, NodeState.FAILED}
        known = pool.provider in self._providers.names
        return PoolView(
            pool=pool,
            nodes=[node for node in nodes if node.managed and node.state not in gone],
            reserved=reserved,
            unavailable=self._providers.unavailable_reason(pool.provider),
            engines=self._providers.get(pool.provider).capabilities.engines if known else (),
        )
