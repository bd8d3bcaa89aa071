"""What placement needs to know of a pool, from the index or from within a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orchestration.service.domain.places import Offer, PoolView
from orchestration.service.providers.base import Resource
from orchestration.service.providers.offers import rents
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.pool_memo import PoolMemo
from orchestration.service.usecases.views import reservations
from orchestration.store.index import Index
from orchestration.store.records import Node, NodeState, Pool, Replica
from orchestration.store.transaction import Transaction


class PoolViews:
    """Makes the views that placement works on."""

    def __init__(self, index: Index, providers: ProviderRegistry) -> None:
        self._index = index
        self._providers = providers
        self._memo = PoolMemo()

    def pool(self, pool_id: str) -> Pool | None:
        """The pool's record, or None when it is gone."""
        return self._index.get(Pool, pool_id)

    def node(self, node_id: str) -> Node | None:
        """The node's record, or None when it is gone."""
        return self._index.get(Node, node_id)

    async def read(self, tx: Transaction, pool: Pool) -> PoolView:
        """The pool as the transaction sees it: what is reserved on it is reserved once."""
        if pool.provider not in self._providers.names:
            return self._view(pool, [], await tx.select(Replica, pool_id=pool.id))
        if rents(self._providers.get(pool.provider).capabilities):
            # All pools of a provider take from the same offers.
            sharing = {other.id for other in await tx.select(Pool, provider=pool.provider)}
            return self._rented(pool, await tx.select(Replica, pool_id=sharing))
        return self._view(pool, await tx.select(Node, pool_id=pool.id), await tx.select(Replica, pool_id=pool.id))

    def look(self, pool_id: str) -> PoolView | None:
        """The pool as the index shows it; None when it is gone."""
        pool = self._index.get(Pool, pool_id)
        if pool is None:
            return None
        if pool.provider not in self._providers.names:
            return self._view(pool, [], self._index.find(Replica, pool_id=pool.id))
        if rents(self._providers.get(pool.provider).capabilities):
            sharing = {other.id for other in self._index.find(Pool, provider=pool.provider)}
            return self._rented(pool, self._index.find(Replica, pool_id=sharing))
        return self._view(pool, self._index.find(Node, pool_id=pool.id), self._index.find(Replica, pool_id=pool.id))

    def _view(self, pool: Pool, nodes: Sequence[Node], replicas: Sequence[Replica]) -> PoolView:
        """A pool whose replicas run on nodes: this machine, or those that agents registered."""
        known = pool.provider in self._providers.names
        able = self._providers.get(pool.provider).capabilities if known else None
        shares = able is not None and able.places_on_nodes
        unavailable = self._providers.unavailable_reason(pool.provider)
        kept = self._memo.find((pool, unavailable), nodes, replicas)
        return kept or self._memo.keep(
            (pool, unavailable),
            nodes,
            replicas,
            PoolView(
                pool=pool,
                nodes=[node for node in nodes if node.state is not NodeState.TERMINATED and (node.managed or shares)],
                reserved=reservations(replicas),
                unavailable=unavailable,
                engines=able.engines if able is not None else (),
                shares_nodes=shares,
            ),
        )

    def _rented(self, pool: Pool, replicas: Sequence[Replica]) -> PoolView:
        """A pool whose replicas run on what the provider offers; `replicas` are those of all pools of the provider."""
        able = self._providers.get(pool.provider).capabilities
        unavailable = self._providers.unavailable_reason(pool.provider)
        listing = self._providers.offers.of(pool.provider)
        unknown = "" if unavailable else self._providers.offers.unknown_reason(pool.provider)
        key = (pool, unavailable, unknown, listing.asked_at, listing.resources)
        kept = self._memo.find(key, (), replicas)
        if kept is not None:
            return kept
        placed = [replica for replica in replicas if replica.instance_name]
        held = Counter(_taken(replica) for replica in placed if replica.pool_id == pool.id)
        # What had not been made when the provider was asked is not in its answer.
        unseen = Counter(_taken(replica) for replica in placed if not 0.0 < replica.billed_from < listing.asked_at)
        one_node = "" if able.multi_node else f"provider {pool.provider} runs a replica on one machine"
        offers = [
            _offer(resource, held[key], unseen[key], one_node)
            for resource in listing.resources
            for key in [(resource.provider_resource_id, resource.pricing_model)]
        ]
        meant = any(pool.provider_pool_id in {offer.resource_id, offer.slug} for offer in offers)
        view = PoolView(
            pool=pool,
            nodes=(),
            reserved=reservations(replica for replica in replicas if replica.pool_id == pool.id),
            unavailable=unavailable,
            engines=able.engines,
            offers=offers,
            offers_unknown=unknown,
            # A market is one of the offers; a cluster's context and namespace is none, and the adapter's affair.
            offers_restricted=bool(pool.provider_pool_id) and (able.kind == "marketplace" or meant),
        )
        return self._memo.keep(key, (), replicas, view)


def _taken(replica: Replica) -> tuple[str, str]:
    return (replica.resource_id, replica.pricing_model)


def _offer(resource: Resource, held: int, unseen: int, one_node: str) -> Offer:
    return Offer(
        resource_id=resource.provider_resource_id,
        slug=resource.metadata.get("slug", ""),
        gpu_type=resource.gpu_type,
        gpu_count=resource.gpu_count,
        vcpu=float(resource.vcpu),
        region=resource.region,
        pricing_model=resource.pricing_model,
        price_per_hour=resource.price_per_hour,
        available=resource.available_count - unseen,
        held=held,
        nodes=resource.nodes,
        way=resource.way,
        one_node_because=resource.one_node_because or one_node,
        more_machines=resource.more_machines,
    )
