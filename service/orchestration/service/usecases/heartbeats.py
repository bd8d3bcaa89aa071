"""Heartbeats: cheap when nothing but numbers changed, durable before the answer when something did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from orchestration.service.errors import InvalidArgumentError, Violation
from orchestration.service.ids import new_id
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.nodes import (
    ACTOR,
    joinable_pool,
    kept_by_gateway,
    parse_state,
    refuse_stale,
    terminated,
    unknown_node,
)
from orchestration.store.errors import StoreUnavailableError
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store
from orchestration.v1 import compute_pools_pb2 as pb

_Told: TypeAlias = dict[str, Any]
"""The fields of a heartbeat that are set."""
_LIVE = {
    "gpu_allocated": "gpu_reported",
    "vcpu_allocated": "vcpu_allocated",
    "ram_gb_allocated": "ram_gb_allocated",
    "health_score": "health_score",
    "sequence": "sequence",
}
"""Fields that are kept in memory and written in batches, and the record's fields they set."""
_DURABLE = frozenset(
    ("expose_url", "gpu_type", "gpu_total", "vcpu_total", "ram_gb_total", "hostname", "price_per_hour", "region")
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
        `PreconditionError` (NODE_TERMINATED, NODE_KEPT_BY_GATEWAY).
        """
        told = _told(request)
        state = parse_state(request.state) if "state" in told else None
        node = self._known(request)
        if request.provider in self._providers.node_listers and (node is None or node.managed):
            raise kept_by_gateway(request.provider, request.provider_instance_id)
        _check_gpus(told, node.gpu_total if node else 0)
        if node is None:
            node = await self._register(request, told, state)
        else:
            node = await self._refresh(node, request, told, state)
        return pb.HeartbeatResponse(status="ok", node_id=node.id, interval_seconds=self._interval_s)

    def _known(self, request: pb.HeartbeatRequest) -> Node | None:
        found = self._store.index.find(
            Node, provider=request.provider, provider_instance_id=request.provider_instance_id
        )
        return found[0] if found else None

    async def _register(self, request: pb.HeartbeatRequest, told: _Told, state: NodeState | None) -> Node:
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
                node = await tx.insert(_described(blank, told, state or NodeState.READY, now))
                tx.event(kind="node", subject_id=node.id, reason="NODE_REGISTERED", message=f"joined {node.pool_id}")
                return node
        return await self._refresh(found[0], request, told, state)

    async def _refresh(self, node: Node, request: pb.HeartbeatRequest, told: _Told, state: NodeState | None) -> Node:
        incarnation: int | None = told.get("incarnation")
        refuse_stale(node, incarnation, told.get("sequence"))
        reborn = incarnation is not None and incarnation > node.incarnation
        if node.state is NodeState.TERMINATED and not reborn:
            raise terminated(node)
        if told.get("pool_id", node.pool_id) != node.pool_id:
            text = f"{request.pool_id!r} is not the pool of this node, which is {node.pool_id!r}; leave it out"
            raise InvalidArgumentError(Violation("pool_id", text))
        wanted = self._wanted_state(node, state, reborn=reborn)
        now = self._clock()
        if reborn or wanted is not node.state or _differs(node, told, state):
            try:
                return await self._write(node, request, told, wanted, state, now)
            except StoreUnavailableError:
                if not reborn:  # heard it was, and its silence must not count when the database is back
                    self._store.beat(node.id, last_heartbeat_at=now)
                raise
        self._store.beat(node.id, **_liveness(told, now))
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

    async def _write(
        self,
        node: Node,
        request: pb.HeartbeatRequest,
        told: _Told,
        wanted: NodeState,
        state: NodeState | None,
        now: float,
    ) -> Node:
        async with self._store.write(actor=ACTOR) as tx:
            current = await tx.get(Node, node.id)
            if current is None:
                raise unknown_node(request.provider, request.provider_instance_id)
            refuse_stale(current, told.get("incarnation"), told.get("sequence"))
            if current.state is NodeState.TERMINATED and request.incarnation <= current.incarnation:
                raise terminated(current)  # since it was looked at
            changed = await tx.update(_described(current, told, wanted, now, reported=state))
            if changed.state is not current.state:
                text = f"{current.state} -> {changed.state}"
                tx.event(kind="node", subject_id=node.id, reason=f"NODE_{changed.state}", message=text)
        return changed


_NAMES: dict[Any, str] = {field: field.name for field in pb.HeartbeatRequest.DESCRIPTOR.fields}
"""A descriptor makes its name anew whenever it is asked."""


def _told(request: pb.HeartbeatRequest) -> _Told:
    return {_NAMES[field]: value for field, value in request.ListFields()}


def _differs(node: Node, told: _Told, state: NodeState | None) -> bool:
    if state is not None and state != node.reported_state:
        return True
    return not _DURABLE.isdisjoint(told) and any(told[name] != getattr(node, name) for name in _DURABLE & told.keys())


def _described(node: Node, told: _Told, state: NodeState, now: float, reported: NodeState | None = None) -> Node:
    """The node as the heartbeat tells it; what is unset stays."""
    changes: dict[str, Any] = {name: told[name] for name in _DURABLE & told.keys()}
    if "incarnation" in told:
        if told["incarnation"] > node.incarnation:
            changes["sequence"] = 0
        changes["incarnation"] = told["incarnation"]
    last = reported or (state if not node.reported_state else NodeState(node.reported_state))
    changes |= {"state": state, "reported_state": last} | _liveness(told, now)
    return replace(node, **changes)


def _check_gpus(told: _Told, total: int) -> None:
    total = told.get("gpu_total", total)
    allocated = told.get("gpu_allocated", 0)
    if total and allocated > total:
        text = f"{allocated} is more than the {total} GPUs that the node has (gpu_total)"
        raise InvalidArgumentError(Violation("gpu_allocated", text))


def _liveness(told: _Told, now: float) -> dict[str, Any]:
    changes: dict[str, Any] = {"last_heartbeat_at": now}
    for name, field in _LIVE.items():
        if name in told:
            changes[field] = told[name]
    if "telemetry" in told:
        telemetry = told["telemetry"]
        changes["telemetry"] = {key: telemetry[key] for key in telemetry}
    return changes
