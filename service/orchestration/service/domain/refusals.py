"""Why a pool, or a place in it, cannot take a replica: for good, or as things are now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.service.domain import gpu
from orchestration.service.domain.places import SPOT_MODELS, Demand, Place, PoolView, reach_of, takes_replicas
from orchestration.service.domain.policy import policy_of
from orchestration.store.records import Pool, PoolState

CPU_REPLICAS_PER_VCPU = 4
"""Replicas without a GPU that one CPU of a node takes unless the pool's policy says otherwise: engines share CPUs well
while they wait for requests, and a machine without any bound would be started to death."""
_CANNOT = "a replica cannot have several nodes"
_NEAREST = 6
"""Sizes that are told where the one that was asked for cannot be had."""
EPSILON = 1e-9
"""Prices are sums of floats: a cap is not broken by their rounding."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pool, or a place, cannot take a replica."""

    reason: str
    """UPPER_SNAKE."""
    message: str


def pool_never(deployment: Demand, view: PoolView) -> Refusal | None:
    """Why no place of the pool, whatever there is in it, can hold a replica of the deployment."""
    pool, want = view.pool, deployment.gpu_per_replica
    if pool.is_dedicated and pool.owner_id not in {deployment.owner_id, deployment.org_id}:
        return Refusal("POOL_DEDICATED", f"pool {pool.name!r} is dedicated to {pool.owner_type} {pool.owner_id!r}")
    if view.engines and deployment.engine not in view.engines:
        known = ", ".join(view.engines)
        return Refusal(
            "ENGINE_NOT_SUPPORTED", f"provider {pool.provider} cannot run engine {deployment.engine!r}; it runs {known}"
        )
    if pool.gpu_count and want > pool.gpu_count and not any(_is_several(place, want) for place in view.places):
        text = (
            f"gpu_per_replica {want} is more than the {pool.gpu_count} GPUs of a node (gpu_count) of pool {pool.name!r}"
        )
        why = next((place.one_node_because for place in view.places if place.one_node_because), "")
        return Refusal("GPU_COUNT_EXCEEDED", f"{text}; {_CANNOT}: {why}" if why else text)
    return None


def pool_now(view: PoolView) -> Refusal | None:
    """Why the pool as a whole takes nothing now."""
    pool = view.pool
    if pool.state is not PoolState.ACTIVE or not pool.enabled:
        return Refusal("POOL_NOT_ACTIVE", f"pool {pool.name!r} takes no new replicas")
    if view.unavailable:
        return Refusal("PROVIDER_UNAVAILABLE", view.unavailable)
    if view.offers_unknown:
        return Refusal("OFFERS_UNKNOWN", view.offers_unknown)
    if pool.max_nodes and not view.shares_nodes and view.total.replicas >= pool.max_nodes:
        return Refusal("POOL_FULL", f"pool {pool.name!r} holds {view.total.replicas} replicas, its max_nodes")
    return None


def place_never(deployment: Demand, view: PoolView, place: Place) -> Refusal | None:
    """Why the place can never hold a replica of the deployment, however empty it is."""
    return next(_never(deployment, view, place), None)


def _never(deployment: Demand, view: PoolView, place: Place) -> Iterator[Refusal]:
    pool, want = view.pool, deployment.gpu_per_replica
    where = f"{place.what} of pool {pool.name!r}" if place.node_id else place.what
    if not place.node_id:
        yield from _offer_never(view, place)
    if pool.region_constraint and not _region_allowed(place.region, pool):
        text = f"pool {pool.name!r} is constrained to {', '.join(pool.region_constraint)}, and {place.what} is in "
        yield Refusal("REGION_NOT_ALLOWED", text + (place.region or "no region that is known"))
    if want > place.gpu_total:
        hint = (
            "; set gpu_per_replica to 0 to run on CPUs" if place.gpu_total == 0 else _one_node(deployment, view, place)
        )
        text = f"gpu_per_replica {want} is more than the {place.gpu_total} GPUs of {where}{hint}"
        yield Refusal("GPU_COUNT_EXCEEDED", text)
    if place.nodes > 1:
        able = reach_of(deployment)
        text = f"gpu_per_replica {want} is more than the GPUs of one node of provider {pool.provider}, and "
        if place.way not in able.ways:
            yield Refusal("GPU_COUNT_EXCEEDED", text + able.why_not)
        elif not able.splits_over(place.gpus_each):
            yield Refusal("GPU_COUNT_EXCEEDED", text + able.why_not_over(place.nodes, place.gpus_each))
    if want and not gpu.allowed(place.gpu_type, pool.allowed_gpu_types):
        text = f"{where} has {place.gpu_type or 'GPUs of no known type'}, and the pool allows "
        yield Refusal("GPU_TYPE_NOT_ALLOWED", text + ", ".join(pool.allowed_gpu_types))
    if pool.max_cost_per_hour and place.price_per_hour > pool.max_cost_per_hour + EPSILON:
        text = f"one replica on {where} costs {place.price_per_hour:g}/h, over max_cost_per_hour "
        yield Refusal("PRICE_CAP_EXCEEDED", f"{text}{pool.max_cost_per_hour:g}")


def _is_several(place: Place, want: int) -> bool:
    return place.nodes > 1 and place.gpu_total == want


def _one_node(deployment: Demand, view: PoolView, place: Place) -> str:
    """Why a replica that is larger than the place does not get several of its kind; empty where none ever does."""
    if place.one_node_because:
        return f"; {_CANNOT}: {place.one_node_because}"
    if place.node_id:
        return ""
    able, want = reach_of(deployment), deployment.gpu_per_replica
    alike = [other for other in view.places if (other.gpu_type, other.region) == (place.gpu_type, place.region)]
    several = [other for other in alike if other.nodes > 1]
    ways = {other.way for other in several} or set(able.ways)
    if not ways.intersection(able.ways):
        return f"; {_CANNOT}: {able.why_not}"
    sizes = sorted({other.gpu_total for other in several})
    near = sorted(sorted(sizes, key=lambda size: abs(size - want))[:_NEAREST])
    hints = [f"it must split evenly: there are {', '.join(map(str, near))}"] if near else []
    most = max(other.gpus_each for other in alike)
    nodes = next(n for n in range(2, want + 1) if want % n == 0 and want // n <= most and able.splits_over(want // n))
    if not any(_is_several(other, want) and other.nodes == nodes for other in several):
        hints.append(f"{want} GPUs take {nodes} such nodes with {want // nodes} each, and fewer are there")
        hints += [place.more_machines] if place.more_machines else []
    return f"; over several nodes {'; '.join(hints)}"


def _offer_never(view: PoolView, place: Place) -> Iterator[Refusal]:
    pool = view.pool
    policy = policy_of(pool)
    if view.offers_restricted and pool.provider_pool_id not in {place.resource_id, place.slug}:
        text = f"{place.what} is not in {pool.provider_pool_id!r}, the provider_pool_id of pool {pool.name!r}"
        yield Refusal("OTHER_PROVIDER_POOL", text)
    if place.pricing_model in SPOT_MODELS and policy.spot == "never":
        text = f"{place.what} may be taken back at any time, and the policy of pool {pool.name!r} says spot never"
        yield Refusal("SPOT_NOT_ALLOWED", text)
    if place.pricing_model not in SPOT_MODELS and policy.spot == "prefer" and not policy.fallback_to_on_demand:
        text = f"{place.what} is no spot capacity, and the policy of pool {pool.name!r} says fallback_to_on_demand "
        yield Refusal("ON_DEMAND_NOT_ALLOWED", text + "false")
    if pool.gpu_count and place.gpu_total != pool.gpu_count * place.nodes:
        text = f"{place.what} has {place.gpus_each} GPUs, and pool {pool.name!r} takes machines with "
        yield Refusal("GPU_COUNT_NOT_ALLOWED", f"{text}{pool.gpu_count} (gpu_count)")


def _region_allowed(region: str, pool: Pool) -> bool:
    return region.strip().lower() in {allowed.strip().lower() for allowed in pool.region_constraint}


def place_now(deployment: Demand, view: PoolView, place: Place) -> Refusal | None:
    """Why the place takes no replica of the deployment as things are now."""
    pool, want = view.pool, deployment.gpu_per_replica
    if place.node_state is not None and not takes_replicas(place.node_state):
        return Refusal("NODE_NOT_READY", f"{place.what} is {place.node_state}")
    if place.node_state is None and place.available <= 0:
        return Refusal("NO_CAPACITY", f"{place.what} has nothing left")
    if want > place.gpu_free:
        text = f"{place.what} has {max(0, place.gpu_free)} of {place.gpu_total} GPUs free, {want} are needed"
        return Refusal("NO_FREE_GPUS", text)
    if place.node_id:
        limit = replica_limit(deployment, pool, place)
        if limit and place.replicas >= limit:
            text = f"{place.what} holds {place.replicas} replicas, as many as it takes"
            return Refusal("NODE_FULL", text)
        if view.shares_nodes and pool.max_nodes and not place.replicas and view.nodes_in_use >= pool.max_nodes:
            text = f"pool {pool.name!r} uses {view.nodes_in_use} nodes, its max_nodes, and {place.what} is none of them"
            return Refusal("POOL_FULL", text)
    cost = view.total.price_per_hour + place.price_per_hour
    if pool.max_cost_per_hour and cost > pool.max_cost_per_hour + EPSILON:
        text = f"one more replica would cost {cost:g}/h in all, over max_cost_per_hour {pool.max_cost_per_hour:g}"
        return Refusal("PRICE_CAP_REACHED", f"pool {pool.name!r}: {text}")
    return None


def replica_limit(deployment: Demand, pool: Pool, place: Place) -> int:
    """Replicas that the node takes whatever GPUs it has; 0: as many as its GPUs take."""
    limit = policy_of(pool).max_replicas_per_node
    if deployment.gpu_per_replica:
        return limit
    return limit or max(1, int(place.vcpu_total * CPU_REPLICAS_PER_VCPU))
