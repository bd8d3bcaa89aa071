"""Heartbeats: cheap when nothing but numbers changed, durable before the answer when something did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.ids import new_id
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.nodes import (
    ACTOR,
    joinable_pool,
    parse_state,
    refuse_stale,
    terminated,
    unknown_node,
)
from orchestration.store.errors import StoreUnavailableError
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store
from orchestration.v1 import compute_pools_pb2 as pb

_NUMBERS = {
    "gpu_allocated": "gpu_reported",
    "vcpu_allocated": "vcpu_allocated",
    "ram_gb_allocated": "ram_gb_allocated",
    "health_score": "health_score",
}
"""Fields that are kept in memory and written in batches, and the record's fields they set."""
_DURABLE = (
    "expose_url",
    "gpu_type",
    "gpu_total",
    "vcpu_total",
    "ram_gb_total",
    "hostname",
    "price_per_hour",
    "region",
)
"""Fields that are written before the answer when they change."""


class HeartbeatUseCase:
    """What a heartbeat does."""

    def __init__(
        self, store: Store, providers: ProviderRegistry, clock: Callable[[], float], interval_s: float
    ) -> None:
        self._store = store
        self._providers = providers
        self._clock = clock
        self._interval_s = interval_s

    async def heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Take in one heartbeat.

        Raises `InvalidArgumentError`, `NotFoundError` (NODE_NOT_REGISTERED), `ConflictError` (STALE_INCARNATION),
        `PreconditionError` (NODE_TERMINATED).
        """
        state = parse_state(request.state) if request.HasField("state") else None
        node = self._known(request)
        _check_gpus(request, node.gpu_total if node else 0)
        if node is None:
            node = await self._register(request, state)
        else:
            node = await self._refresh(node, request, state)
        return pb.HeartbeatResponse(status="ok", node_id=node.id, interval_seconds=self._interval_s)

    def _known(self, request: pb.HeartbeatRequest) -> Node | None:
        key = {"provider": request.provider, "provider_instance_id": request.provider_instance_id}
        return next(iter(self._store.index.find(Node, **key)), None)

    async def _register(self, request: pb.HeartbeatRequest, state: NodeState | None) -> Node:
        self._providers.get(request.provider)
        if not request.pool_id:
            raise unknown_node(request.provider, request.provider_instance_id)
        now = self._clock()
        async with self._store.write(actor=ACTOR) as tx:
            found = await tx.select(Node, provider=request.provider, provider_instance_id=request.provider_instance_id)
            if not found:
                await joinable_pool(tx, request.pool_id, request.provider)
                blank = Node(
                    id=new_id(),
                    created_at=now,
                    pool_id=request.pool_id,
                    provider=request.provider,
                    provider_instance_id=request.provider_instance_id,
                )
                node = await tx.insert(_described(blank, request, state or NodeState.READY, now))
                tx.event(kind="node", subject_id=node.id, reason="NODE_REGISTERED", message=f"joined {node.pool_id}")
                return node
        return await self._refresh(found[0], request, state)

    async def _refresh(self, node: Node, request: pb.HeartbeatRequest, state: NodeState | None) -> Node:
        incarnation = request.incarnation if request.HasField("incarnation") else None
        sequence = request.sequence if request.HasField("sequence") else None
        refuse_stale(node, incarnation, sequence)
        reborn = incarnation is not None and incarnation > node.incarnation
        if node.state is NodeState.TERMINATED and not reborn:
            raise terminated(node)
        if request.pool_id and request.pool_id != node.pool_id:
            text = f"{request.pool_id!r} is not the pool of this node, which is {node.pool_id!r}; leave it out"
            raise InvalidArgumentError(Violation("pool_id", text))
        wanted = self._wanted_state(node, state, reborn=reborn)
        now = self._clock()
        if reborn or wanted is not node.state or self._differs(node, request, state):
            try:
                return await self._write(node, request, wanted, state, now)
            except StoreUnavailableError:
                if not reborn:  # heard it was, and its silence must not count when the database is back
                    self._store.beat(node.id, last_heartbeat_at=now)
                raise
        self._store.beat(node.id, **_liveness(node, request, now))
        return node

    def _wanted_state(self, node: Node, state: NodeState | None, *, reborn: bool) -> NodeState:
        """What is reported; a node that was held late or lost, and is heard of again, is what it last reported."""
        if state is not None:
            return state
        if reborn:
            return NodeState.READY
        silent = node.state is NodeState.LOST or (
            node.state is NodeState.UNHEALTHY and node.reported_state != NodeState.UNHEALTHY
        )
        return NodeState(node.reported_state or NodeState.READY) if silent else node.state

    def _differs(self, node: Node, request: pb.HeartbeatRequest, state: NodeState | None) -> bool:
        if state is not None and state != node.reported_state:
            return True
        return any(request.HasField(name) and getattr(request, name) != getattr(node, name) for name in _DURABLE)

    async def _write(
        self, node: Node, request: pb.HeartbeatRequest, wanted: NodeState, state: NodeState | None, now: float
    ) -> Node:
        async with self._store.write(actor=ACTOR) as tx:
            current = await tx.get(Node, node.id)
            if current is None:
                raise unknown_node(request.provider, request.provider_instance_id)
            incarnation = request.incarnation if request.HasField("incarnation") else None
            refuse_stale(current, incarnation, request.sequence if request.HasField("sequence") else None)
            if current.state is NodeState.TERMINATED and request.incarnation <= current.incarnation:
                raise terminated(current)  # since it was looked at
            changed = await tx.update(_described(current, request, wanted, now, reported=state))
            if changed.state is not current.state:
                text = f"{current.state} -> {changed.state}"
                tx.event(kind="node", subject_id=node.id, reason=f"NODE_{changed.state}", message=text)
        return changed


def _described(
    node: Node, request: pb.HeartbeatRequest, state: NodeState, now: float, reported: NodeState | None = None
) -> Node:
    """The node as the heartbeat tells it; what is unset stays."""
    changes: dict[str, object] = {name: getattr(request, name) for name in _DURABLE if request.HasField(name)}
    if request.HasField("incarnation"):
        if request.incarnation > node.incarnation:
            changes["sequence"] = 0
        changes["incarnation"] = request.incarnation
    told = reported or (state if not node.reported_state else NodeState(node.reported_state))
    changes |= {"state": state, "reported_state": told} | _liveness(node, request, now)
    return replace(node, **changes)  # type: ignore[arg-type]


def _check_gpus(request: pb.HeartbeatRequest, total: int) -> None:
    total = request.gpu_total if request.HasField("gpu_total") else total
    if total and request.gpu_allocated > total:
        text = f"{request.gpu_allocated} is more than the {total} GPUs that the node has (gpu_total)"
        raise InvalidArgumentError(Violation("gpu_allocated", text))


def _liveness(node: Node, request: pb.HeartbeatRequest, now: float) -> dict[str, object]:
    changes: dict[str, object] = {
        field: getattr(request, name) for name, field in _NUMBERS.items() if request.HasField(name)
    }
    if request.HasField("sequence"):
        changes["sequence"] = request.sequence
    if request.telemetry:
        changes["telemetry"] = dict(request.telemetry)
    changes["last_heartbeat_at"] = now
    return changes
