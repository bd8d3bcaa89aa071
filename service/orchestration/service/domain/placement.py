"""Where a replica may run: every candidate of a pool, with why it was refused, as a pure function of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.service.domain import gpu
from orchestration.service.domain.policy import Strategy, policy_of
from orchestration.store.records import Deployment, Node, NodeState, Pool, PoolState, Reservation

CPU_REPLICAS_PER_VCPU = 4
"""Replicas without a GPU that one CPU of a node takes unless the pool's policy says otherwise: engines share CPUs well
while they wait for requests, and a machine without any bound would be started to death."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that was considered for one replica."""

    pool_id: str
    node_id: str
    feasible: bool
    price_per_hour: float
    free_gpus: int = 0
    reason: str = ""
    """UPPER_SNAKE; empty when feasible."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PoolView:
    """All that placement needs to know of a pool."""

    pool: Pool
    nodes: Sequence[Node]
    reserved: Mapping[str, Reservation]
    """By node id; replicas without a node under the empty id."""
    unavailable: str = ""
    """Why the pool's provider cannot be used; empty when it can."""
    engines: tuple[str, ...] = ()
    """Engines that the provider can run."""

    @property
    def total(self) -> Reservation:
        """What replicas hold of the whole pool."""
        held = self.reserved.values()
        return Reservation(
            sum(item.replicas for item in held),
            sum(item.gpus for item in held),
            sum(item.price_per_hour for item in held),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pool, or a node, cannot take a replica."""

    reason: str
    message: str


def usable(node: Node) -> bool:
    """Whether the node takes new replicas."""
    return node.state in {NodeState.READY, NodeState.BUSY}


def never(deployment: Deployment, view: PoolView) -> Refusal | None:
    """Why the pool can never hold one replica of the deployment, whatever is freed; None when it might."""
    pool, want = view.pool, deployment.gpu_per_replica
    if pool.is_dedicated and pool.owner_id not in {deployment.owner_id, deployment.org_id}:
        return Refusal("POOL_DEDICATED", f"pool {pool.name!r} is dedicated to {pool.owner_type} {pool.owner_id!r}")
    if view.engines and deployment.engine not in view.engines:
        known = ", ".join(view.engines)
        return Refusal(
            "ENGINE_NOT_SUPPORTED", f"provider {pool.provider} cannot run engine {deployment.engine!r}; it runs {known}"
        )
    if pool.gpu_count and want > pool.gpu_count:
        text = (
            f"gpu_per_replica {want} is more than the {pool.gpu_count} GPUs of a node (gpu_count) of pool {pool.name!r}"
        )
        return Refusal("GPU_COUNT_EXCEEDED", text)
    if not view.nodes:
        return None
    if pool.region_constraint:
        wanted = ", ".join(pool.region_constraint)
        text = f"pool {pool.name!r} is constrained to {wanted}, and its nodes are in no region that is known"
        return Refusal("REGION_NOT_ALLOWED", text)
    refusals = [_node_never(deployment, pool, node) for node in view.nodes]
    return refusals[0] if all(refusals) else None


def _node_never(deployment: Deployment, pool: Pool, node: Node) -> Refusal | None:
    want = deployment.gpu_per_replica
    where = f"node {node.hostname or node.provider_instance_id!r} of pool {pool.name!r}"
    if want > node.gpu_total:
        hint = "; set gpu_per_replica to 0 to run on CPUs" if node.gpu_total == 0 else ""
        return Refusal(
            "GPU_COUNT_EXCEEDED", f"gpu_per_replica {want} is more than the {node.gpu_total} GPUs of {where}{hint}"
        )
    if want and not gpu.allowed(node.gpu_type, pool.allowed_gpu_types):
        kinds = ", ".join(pool.allowed_gpu_types)
        return Refusal("GPU_TYPE_NOT_ALLOWED", f"{where} has {node.gpu_type}, and the pool allows {kinds}")
    if pool.max_cost_per_hour and node.price_per_hour > pool.max_cost_per_hour:
        text = (
            f"one replica on {where} costs {node.price_per_hour:g}/h, over max_cost_per_hour {pool.max_cost_per_hour:g}"
        )
        return Refusal("PRICE_CAP_EXCEEDED", text)
    return None


def capacity(deployment: Deployment, view: PoolView) -> tuple[int | None, str]:
    """The most replicas of the deployment that the pool could hold when empty, and the limit that says so.

    None: no limit is known.
    """
    pool = view.pool
    limits: list[tuple[int, str]] = []
    if pool.max_nodes:
        limits.append((pool.max_nodes, f"max_nodes {pool.max_nodes}"))
    if view.nodes:
        limits.append((sum(_slots(deployment, pool, node) for node in view.nodes), "the size of its nodes"))
    prices = [node.price_per_hour for node in view.nodes if node.price_per_hour > 0]
    if pool.max_cost_per_hour and prices:
        held = int(pool.max_cost_per_hour / min(prices) + 1e-9)
        limits.append((held, f"max_cost_per_hour {pool.max_cost_per_hour:g}"))
    return min(limits) if limits else (None, "")


def _slots(deployment: Deployment, pool: Pool, node: Node) -> int:
    """Replicas of the deployment that an empty node takes."""
    if _node_never(deployment, pool, node):
        return 0
    limit = policy_of(pool).max_replicas_per_node
    if deployment.gpu_per_replica:
        by_gpu = node.gpu_total // deployment.gpu_per_replica
        return min(by_gpu, limit) if limit else by_gpu
    return limit or max(1, int(node.vcpu_total * CPU_REPLICAS_PER_VCPU))


def candidates(deployment: Deployment, view: PoolView) -> list[Candidate]:
    """Every place in the pool with whether it can take one replica now, the best first."""
    pool = view.pool
    refusal = _pool_refusal(deployment, view)
    if refusal is not None:
        return [_refused(pool.id, "", 0.0, refusal)]
    if not view.nodes:
        return [_refused(pool.id, "", 0.0, Refusal("NO_NODES", f"pool {pool.name!r} has no nodes yet"))]
    found = [_consider(deployment, view, node) for node in view.nodes]
    return sorted(found, key=lambda item: (not item.feasible, *_preference(policy_of(pool).strategy, view, item)))


def _preference(strategy: Strategy, view: PoolView, item: Candidate) -> tuple[float, ...]:
    """What makes a feasible candidate better under the strategy: smaller is better."""
    held = view.reserved.get(item.node_id, Reservation()).replicas
    match strategy:
        case Strategy.CHEAPEST:
            return (item.price_per_hour, item.free_gpus, -held)
        case Strategy.PACK:
            return (item.free_gpus, -held, item.price_per_hour)
        case Strategy.SPREAD:
            return (held, -item.free_gpus, item.price_per_hour)


def _pool_refusal(deployment: Deployment, view: PoolView) -> Refusal | None:
    pool = view.pool
    if pool.state is not PoolState.ACTIVE or not pool.enabled:
        return Refusal("POOL_NOT_ACTIVE", f"pool {pool.name!r} takes no new replicas")
    if view.unavailable:
        return Refusal("PROVIDER_UNAVAILABLE", view.unavailable)
    if pool.max_nodes and view.total.replicas >= pool.max_nodes:
        return Refusal("POOL_FULL", f"pool {pool.name!r} holds {view.total.replicas} replicas, its max_nodes")
    return never(deployment, view)


def _consider(deployment: Deployment, view: PoolView, node: Node) -> Candidate:
    pool = view.pool
    held = view.reserved.get(node.id, Reservation())
    free = node.gpu_total - held.gpus
    refusal = _node_never(deployment, pool, node) or _node_busy(deployment, pool, node, held)
    cost = view.total.price_per_hour + node.price_per_hour
    if refusal is None and pool.max_cost_per_hour and cost > pool.max_cost_per_hour + 1e-9:
        text = f"one more replica would cost {cost:g}/h in all, over max_cost_per_hour {pool.max_cost_per_hour:g}"
        refusal = Refusal("PRICE_CAP_REACHED", f"pool {pool.name!r}: {text}")
    if refusal is not None:
        return _refused(pool.id, node.id, node.price_per_hour, refusal)
    return Candidate(pool.id, node.id, True, node.price_per_hour, free)


def _node_busy(deployment: Deployment, pool: Pool, node: Node, held: Reservation) -> Refusal | None:
    name = node.hostname or node.provider_instance_id
    if not usable(node):
        return Refusal("NODE_NOT_READY", f"node {name!r} is {node.state}")
    free = node.gpu_total - held.gpus
    if deployment.gpu_per_replica > free:
        text = f"node {name!r} has {free} of {node.gpu_total} GPUs free, {deployment.gpu_per_replica} are needed"
        return Refusal("NO_FREE_GPUS", text)
    limit = policy_of(pool).max_replicas_per_node
    if not deployment.gpu_per_replica:
        limit = limit or max(1, int(node.vcpu_total * CPU_REPLICAS_PER_VCPU))
    if limit and held.replicas >= limit:
        return Refusal("NODE_FULL", f"node {name!r} holds {held.replicas} replicas, as many as it takes")
    return None


def _refused(pool_id: str, node_id: str, price: float, refusal: Refusal) -> Candidate:
    return Candidate(pool_id, node_id, False, price, 0, refusal.reason, refusal.message)
