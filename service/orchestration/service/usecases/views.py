"""Records as callers see them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import is_

from google.protobuf.duration_pb2 import Duration

from orchestration.gateway.wire import bytes_tag, write_varint
from orchestration.service.domain.conditions import Aspect, aspects
from orchestration.service.domain.rollback import explain_rollback
from orchestration.service.domain.status import DeploymentStatus, deployment_status, explain, serving
from orchestration.service.ids import etag
from orchestration.service.usecases.usage import running_cost
from orchestration.service.usecases.values import struct, timestamp
from orchestration.store.index import Index
from orchestration.store.records import (
    Deployment,
    Event,
    Model,
    Node,
    NodeState,
    Pool,
    PoolState,
    Replica,
    Reservation,
)
from orchestration.v1 import compute_pools_pb2 as pools_pb
from orchestration.v1 import model_deployments_pb2 as deployments_pb
from orchestration.v1 import model_registry_pb2 as models_pb

_ABSENT = frozenset({NodeState.TERMINATED, NodeState.LOST})
"""States of nodes that have nothing to give."""
_MOST = 2**31 - 1
"""What an int32 of the API holds."""


def reservations(replicas: Iterable[Replica]) -> dict[str, Reservation]:
    """What the replicas hold, by node id."""
    count: Counter[str] = Counter()
    gpus: Counter[str] = Counter()
    prices: defaultdict[str, float] = defaultdict(float)
    for replica in replicas:
        if replica.instance_name:
            count[replica.node_id] += 1
            gpus[replica.node_id] += replica.gpu_count
            prices[replica.node_id] += replica.price_per_hour
    return {node_id: Reservation(number, gpus[node_id], prices[node_id]) for node_id, number in count.items()}


def pool_view(pool: Pool, nodes: Iterable[Node], replicas: Iterable[Replica]) -> pools_pb.Pool:
    """A pool with the totals of its nodes and replicas."""
    nodes = [node for node in nodes if node.state not in _ABSENT]
    held = reservations(replicas).values()
    return pools_pb.Pool(
        pool_id=pool.id,
        pool_name=pool.name,
        owner_type=pool.owner_type,
        owner_id=pool.owner_id,
        provider=pool.provider,
        allowed_gpu_types=pool.allowed_gpu_types,
        max_cost_per_hour=pool.max_cost_per_hour,
        is_dedicated=pool.is_dedicated,
        provider_pool_id=pool.provider_pool_id,
        scheduling_policy_json=pool.scheduling_policy_json,
        provider_credential_name=pool.provider_credential_name,
        gpu_count=pool.gpu_count,
        region_constraint=pool.region_constraint,
        max_nodes=pool.max_nodes,
        state=pool.state,
        is_active=pool.enabled and pool.state is PoolState.ACTIVE,
        node_count=len(nodes),
        gpu_total=min(sum(node.gpu_total for node in nodes), _MOST),
        gpu_allocated=min(sum(item.gpus for item in held), _MOST),
        cost_per_hour=sum(item.price_per_hour for item in held),
        created_at=timestamp(pool.created_at),
        updated_at=timestamp(pool.updated_at),
        etag=etag(pool.id, pool.version),
    )


def node_view(node: Node, index: Index) -> pools_pb.Node:
    """A node with what placement gave away of it."""
    held = reservations(index.find(Replica, node_id=node.id)).get(node.id, Reservation())
    return pools_pb.Node(
        node_id=node.id,
        pool_id=node.pool_id,
        provider=node.provider,
        provider_instance_id=node.provider_instance_id,
        state=node.state,
        gpu_type=node.gpu_type,
        gpu_total=node.gpu_total,
        gpu_allocated=max(node.gpu_reported, held.gpus),
        vcpu_total=node.vcpu_total,
        vcpu_allocated=node.vcpu_allocated,
        ram_gb_total=node.ram_gb_total,
        ram_gb_allocated=node.ram_gb_allocated,
        health_score=node.health_score,
        expose_url=node.expose_url,
        price_per_hour=node.price_per_hour,
        hostname=node.hostname,
        last_heartbeat_at=timestamp(node.last_heartbeat_at),
        created_at=timestamp(node.created_at),
        incarnation=node.incarnation,
        region=node.region,
    )


def model_view(model: Model) -> models_pb.Model:
    """A registered version."""
    return models_pb.Model(
        model_id=model.id,
        model_name=model.name,
        model_version=model.model_version,
        backend=model.backend,
        artifact_uri=model.artifact_uri,
        config_json=struct(model.config),
        artifact_digest=model.artifact_digest,
        labels=model.labels,
        created_at=timestamp(model.created_at),
        etag=etag(model.id, 1),
    )


class DeploymentViews:
    """The views that were last asked for, each good as long as it is asked for the very same records.

    Records never change, so the records themselves are the key, by identity: a revision may be given out again after a
    transaction that failed.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._views: dict[str, _Kept] = {}

    def get(self, deployment: Deployment, replicas: Sequence[Replica]) -> deployments_pb.Deployment:
        """The view, made when it is not there."""
        return self._get(deployment, replicas).view

    def wire(self, deployment: Deployment, replicas: Sequence[Replica]) -> bytes:
        """The same, serialized."""
        kept = self._get(deployment, replicas)
        if not kept.wire:
            kept.wire = kept.view.SerializeToString()
        return kept.wire

    def _get(self, deployment: Deployment, replicas: Sequence[Replica]) -> _Kept:
        found = self._views.pop(deployment.id, None)
        if found is None or found.deployment is not deployment or not _same(found.replicas, replicas):
            found = _Kept(deployment, tuple(replicas), _make_deployment_view(deployment, replicas))
            if len(self._views) >= self._size:
                del self._views[next(iter(self._views))]
        self._views[deployment.id] = found  # last: the first one is the one that was not asked for the longest
        return found


@dataclass(slots=True)
class _Kept:
    deployment: Deployment
    replicas: Sequence[Replica]
    view: deployments_pb.Deployment
    wire: bytes = b""


def _same(one: Sequence[Replica], other: Sequence[Replica]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


_views = DeploymentViews(size=1024)  # about 6 kB each
_DEPLOYMENTS_TAG = bytes_tag(deployments_pb.ListDeploymentsResponse.DEPLOYMENTS_FIELD_NUMBER)
"""What an element of the list begins with on the wire."""


def deployment_view(
    deployment: Deployment, replicas: Sequence[Replica], *, clock: Callable[[], float]
) -> deployments_pb.Deployment:
    """A deployment with its replicas, summed up; what runs costs until the time that ``clock`` tells, the gateway's.

    The message is shared with whoever asks for the same deployment: it is not to be changed.
    """
    view = _views.get(deployment, replicas)
    running = running_cost(replicas, clock())
    if not running:
        return view
    grown = deployments_pb.Deployment()
    grown.CopyFrom(view)
    grown.cost_so_far += running
    return grown


def deployment_list(listed: Iterable[tuple[Deployment, Sequence[Replica]]], *, now: float) -> bytes:
    """Deployments with their replicas, summed up, as ListDeploymentsResponse has them on the wire.

    What runs costs until ``now``. One that has not changed is a copy of its bytes: to copy messages into the list one
    by one takes ten times as long.
    """
    parts: list[bytes] = []
    for deployment, replicas in listed:
        view = _views.wire(deployment, replicas)
        running = running_cost(replicas, now)
        if running:
            # The later value of a field counts.
            view += deployments_pb.Deployment(cost_so_far=deployment.accrued_cost + running).SerializeToString()
        parts += (_DEPLOYMENTS_TAG, write_varint(len(view)), view)
    return b"".join(parts)


def _make_deployment_view(deployment: Deployment, replicas: Sequence[Replica]) -> deployments_pb.Deployment:
    ordered = sorted(replicas, key=lambda replica: (replica.ordinal, replica.id))
    status = deployment_status(deployment, ordered)
    ready = serving(ordered)
    return deployments_pb.Deployment(
        deployment_id=deployment.id,
        model_name=deployment.model_name,
        model_version=deployment.model_version,
        replicas=deployment.replicas,
        gpu_per_replica=deployment.gpu_per_replica,
        pool_id=deployment.pool_id,
        fallback_pool_ids=deployment.fallback_pool_ids,
        workload_type=deployment.workload_type,
        engine=deployment.engine,
        configuration=struct(deployment.configuration),
        owner_id=deployment.owner_id,
        org_id=deployment.org_id,
        inference_model=deployment.inference_model,
        env=deployment.env,
        labels=deployment.labels,
        update_strategy=deployments_pb.UpdateStrategy(
            max_surge=deployment.max_surge, max_unavailable=deployment.max_unavailable
        ),
        restart_policy=_restart_policy(deployment),
        status=status,
        generation=deployment.generation,
        ready_replicas=len(ready),
        endpoint=ready[0].endpoint if ready else "",
        replica_statuses=[replica_view(replica) for replica in ordered],
        conditions=[_condition(aspect) for aspect in aspects(deployment, ordered)],
        error_message=_error_message(deployment, status, ordered),
        cost_per_hour=sum(replica.price_per_hour for replica in ordered if replica.instance_name),
        cost_so_far=deployment.accrued_cost,
        created_at=timestamp(deployment.created_at),
        updated_at=timestamp(deployment.updated_at),
        etag=etag(deployment.id, deployment.version),
    )


def _error_message(deployment: Deployment, status: DeploymentStatus, replicas: Sequence[Replica]) -> str:
    """What is wrong now, and which update was rolled back."""
    now = "" if status is DeploymentStatus.RUNNING else explain(replicas)
    return "; ".join(text for text in (now, explain_rollback(deployment)) if text)


def _restart_policy(deployment: Deployment) -> deployments_pb.RestartPolicy:
    window = Duration()
    window.FromMilliseconds(round(deployment.restart_window_s * 1000))
    return deployments_pb.RestartPolicy(
        condition=deployment.restart_condition,
        max_attempts=deployment.restart_max_attempts,
        window=window,
    )


def _condition(aspect: Aspect) -> deployments_pb.Condition:
    return deployments_pb.Condition(
        type=aspect.type,
        status=deployments_pb.Condition.TRUE if aspect.holds else deployments_pb.Condition.FALSE,
        reason=aspect.reason,
        message=aspect.message,
        last_transition_at=timestamp(aspect.since),
    )


def replica_view(replica: Replica) -> deployments_pb.ReplicaStatus:
    """One replica."""
    return deployments_pb.ReplicaStatus(
        replica_id=replica.id,
        ordinal=replica.ordinal,
        state=replica.state,
        node_id=replica.node_id,
        provider_instance_id=replica.provider_instance_id,
        endpoint=replica.endpoint,
        restarts=replica.restarts,
        reason=replica.reason,
        message=replica.message,
        started_at=timestamp(replica.started_at),
        ready_at=timestamp(replica.ready_at),
        generation=replica.generation,
        pool_id=replica.pool_id,
        attempt=replica.attempt,
        price_per_hour=replica.price_per_hour if replica.instance_name else 0.0,
        pricing_model=replica.pricing_model,
    )


def event_view(event: Event) -> deployments_pb.DeploymentEvent:
    """Something that happened."""
    return deployments_pb.DeploymentEvent(
        event_id=event.id,
        time=timestamp(event.time),
        type=event.type,
        actor=event.actor,
        reason=event.reason,
        message=event.message,
        replica_id=event.replica_id,
        attempt=event.attempt,
    )
