"""Where a replica may run: every candidate of a pool, with why it was refused, as a pure function of the rows."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.service.domain.looking import looked_at
from orchestration.service.domain.places import SPOT_MODELS, Demand, Place, PoolView
from orchestration.service.domain.policy import SchedulingPolicy, Strategy, policy_of
from orchestration.service.domain.refusals import (
    EPSILON,
    Refusal,
    place_now,
    pool_never,
    pool_now,
    replica_limit,
)
from orchestration.store.records import Deployment

PlaceKey = tuple[str, str, str, str]
"""What tells one place from every other: pool, node, offer and its pricing model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A place that was considered for one replica; without node and offer the pool as a whole."""

    pool_id: str
    node_id: str = ""
    resource_id: str = ""
    """The offer; empty for a node."""
    gpu_type: str = ""
    pricing_model: str = ""
    """Of the offer; empty for a node."""
    price_per_hour: float = 0.0
    feasible: bool = False
    reason: str = ""
    """UPPER_SNAKE; empty when feasible."""
    message: str = ""

    @property
    def key(self) -> PlaceKey:
        """Which place it is."""
        return (self.pool_id, self.node_id, self.resource_id, self.pricing_model)


def pools_of(deployment: Deployment) -> tuple[str, ...]:
    """The ids of a deployment's pools, in the order in which they are tried."""
    return (deployment.pool_id, *deployment.fallback_pool_ids)


def never(deployment: Demand, view: PoolView) -> Refusal | None:
    """Why the pool can never hold one replica of the deployment, whatever is freed; None when it might.

    A pool whose nodes or offers are not known yet might.
    """
    refusal = pool_never(deployment, view)
    if refusal is not None or view.offers_unknown:
        return refusal
    # Several nodes together come first: why they are refused says more than that one is too small.
    largest_first = sorted(looked_at(deployment, view), key=lambda item: (item[0].nodes == 1, -item[0].gpu_total))
    refusals = [refusal for _, refusal in largest_first]
    return refusals[0] if refusals and all(refusals) else None


def capacity(deployment: Demand, view: PoolView) -> tuple[int | None, str]:
    """The most replicas of the deployment that the pool could hold when empty, and the limit that says so.

    None: no limit is known.
    """
    pool = view.pool
    fitting = [place for place, refusal in looked_at(deployment, view) if refusal is None]
    limits: list[tuple[int, str]] = []
    if pool.max_nodes and not view.shares_nodes:
        limits.append((pool.max_nodes, f"max_nodes {pool.max_nodes}"))
    if view.nodes:
        slots = sorted((_slots(deployment, view, place) for place in fitting), reverse=True)
        limits.append((sum(slots), "the size of its nodes"))
        if pool.max_nodes and view.shares_nodes:
            limits.append((sum(slots[: pool.max_nodes]), f"max_nodes {pool.max_nodes}"))
    cheapest = min((place.price_per_hour for place in fitting), default=0.0)
    if pool.max_cost_per_hour and cheapest > 0:
        held = int(pool.max_cost_per_hour / cheapest + EPSILON)
        limits.append((held, f"max_cost_per_hour {pool.max_cost_per_hour:g}"))
    return min(limits) if limits else (None, "")


def _slots(deployment: Demand, view: PoolView, place: Place) -> int:
    """Replicas of the deployment that an empty node takes."""
    limit = replica_limit(deployment, view.pool, place)
    if not deployment.gpu_per_replica:
        return limit
    by_gpu = place.gpu_total // deployment.gpu_per_replica
    return min(by_gpu, limit) if limit else by_gpu


def candidates(deployment: Demand, view: PoolView) -> list[Candidate]:
    """Every place in the pool with whether it can take one replica now: the best first, the hopeless last."""
    pool = view.pool
    refusal = pool_now(view) or pool_never(deployment, view)
    if refusal is None and not view.places:
        rented = view.offers is not None
        text = f"provider {pool.provider} offers nothing now" if rented else f"pool {pool.name!r} has no nodes yet"
        refusal = Refusal("NO_OFFERS" if rented else "NO_NODES", text)
    if refusal is not None:
        return [Candidate(pool_id=pool.id, reason=refusal.reason, message=refusal.message)]
    policy = policy_of(pool)
    found: list[tuple[tuple[float, ...], Candidate]] = []
    for place, for_good in looked_at(deployment, view):
        refused = for_good or place_now(deployment, view, place)
        rank = (refused is not None, for_good is not None, *_preference(policy, place))
        found.append((rank, _candidate(pool.id, place, refused)))
    return [candidate for _, candidate in sorted(found, key=lambda item: item[0])]


def _preference(policy: SchedulingPolicy, place: Place) -> tuple[float, ...]:
    """What makes a place better under the policy: smaller is better."""
    spot_last = policy.spot == "prefer" and place.pricing_model not in SPOT_MODELS
    match policy.strategy:
        case Strategy.CHEAPEST:
            return (spot_last, place.price_per_hour, place.gpu_free, -place.replicas)
        case Strategy.PACK:
            return (spot_last, place.gpu_free, -place.replicas, place.price_per_hour)
        case Strategy.SPREAD:
            return (spot_last, place.replicas, -place.gpu_free, place.price_per_hour)


def _candidate(pool_id: str, place: Place, refused: Refusal | None) -> Candidate:
    return Candidate(
        pool_id=pool_id,
        node_id=place.node_id,
        resource_id=place.resource_id,
        gpu_type=place.gpu_type,
        pricing_model=place.pricing_model,
        price_per_hour=place.price_per_hour,
        feasible=refused is None,
        reason=refused.reason if refused else "",
        message=refused.message if refused else "",
    )
