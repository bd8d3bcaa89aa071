"""Nodes: registered, heard of, listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestration.service.errors import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    Violation,
)
from orchestration.service.ids import new_id
from orchestration.service.paging import decode_token, encode_token, page_size
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.mutations import Mutations
from orchestration.service.usecases.pools import is_not_terminated, require_pool
from orchestration.service.usecases.views import node_view
from orchestration.store.index import Index
from orchestration.store.records import Node, NodeState, Pool, PoolState
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from orchestration.v1 import compute_pools_pb2 as pb

AGENT_STATES = tuple(state for state in NodeState if state is not NodeState.LOST)
"""States that an agent may report; that a node is lost is found by the gateway."""
_BY_NAME = {str(state): state for state in AGENT_STATES}
ACTOR = "agent"


class NodeUseCases:
    """What agents and callers do with nodes."""

    def __init__(
        self,
        store: Store,
        mutations: Mutations,
        providers: ProviderRegistry,
        clock: Callable[[], float],
        interval_s: float,
    ) -> None:
        self._store = store
        self._index: Index = store.index
        self._mutations = mutations
        self._providers = providers
        self._clock = clock
        self._interval_s = interval_s

    async def register_node(self, request: pb.RegisterNodeRequest) -> pb.RegisterNodeResponse:
        """Register a node in a pool, or again after its agent restarted."""
        self._providers.get(request.provider)
        if request.provider in self._providers.node_listers:
            raise kept_by_gateway(request.provider, request.provider_instance_id)
        return await self._mutations.run(
            "RegisterNode", request, pb.RegisterNodeResponse, lambda tx: self._register(tx, request)
        )

    async def _register(self, tx: Transaction, request: pb.RegisterNodeRequest) -> pb.RegisterNodeResponse:
        await joinable_pool(tx, request.pool_id, request.provider)
        found = await tx.select(Node, provider=request.provider, provider_instance_id=request.provider_instance_id)
        now = self._clock()
        described: dict[str, object] = {
            "pool_id": request.pool_id,
            "gpu_type": request.gpu_type,
            "gpu_total": request.gpu_total,
            "vcpu_total": request.vcpu_total,
            "ram_gb_total": request.ram_gb_total,
            "expose_url": request.expose_url,
            "price_per_hour": request.price_per_hour,
            "hostname": request.hostname,
            "region": request.region,
            "incarnation": request.incarnation,
            "last_heartbeat_at": now,
        }
        if found:
            node = await self._register_again(tx, found[0], request, described)
        else:
            node = await tx.insert(
                Node(
                    id=new_id(),
                    created_at=now,
                    provider=request.provider,
                    provider_instance_id=request.provider_instance_id,
                    reported_state=NodeState.READY,
                    **described,  # type: ignore[arg-type]
                )
            )
            tx.event(kind="node", subject_id=node.id, reason="NODE_REGISTERED", message=f"joined pool {node.pool_id}")
        return pb.RegisterNodeResponse(
            node_id=node.id,
            status=pb.RegisterNodeResponse.REGISTERED,
            interval_seconds=self._interval_s,
            node=node_view(node, self._index),
        )

    async def _register_again(
        self, tx: Transaction, node: Node, request: pb.RegisterNodeRequest, described: dict[str, object]
    ) -> Node:
        refuse_stale(node, request.incarnation, None)
        if node.pool_id != request.pool_id and node.state is not NodeState.TERMINATED:
            text = f"node {request.provider_instance_id!r} of provider {request.provider} is in pool {node.pool_id!r}"
            raise PreconditionError("NODE_IN_OTHER_POOL", text, {"node": node.id, "pool": node.pool_id})
        revived = request.incarnation > node.incarnation or node.state is not NodeState.TERMINATED
        if not revived:
            raise terminated(node)
        sequence = 0 if request.incarnation > node.incarnation else node.sequence
        state = NodeState.READY
        changed = replace(node, state=state, reported_state=state, sequence=sequence, **described)  # type: ignore[arg-type]
        tx.event(kind="node", subject_id=node.id, reason="NODE_REGISTERED", message="registered again")
        return await tx.update(changed)

    async def list_nodes(self, request: pb.ListNodesRequest) -> pb.ListNodesResponse:
        """Nodes of a provider, or all, newest first."""
        if request.provider:
            self._providers.get(request.provider)
        query = ("ListNodes", request.provider, request.show_terminated)
        before = decode_token(request.page_token, *query)
        where = {"provider": request.provider} if request.provider else {}
        keep = None if request.show_terminated else is_not_terminated
        size = page_size(request.page_size)
        nodes, total = self._index.page(Node, where=where, before=before, limit=size + 1, keep=keep)
        token = encode_token(nodes[size - 1].id, *query) if len(nodes) > size else ""
        views = [node_view(node, self._index) for node in nodes[:size]]
        return pb.ListNodesResponse(nodes=views, next_page_token=token, total_size=total)


async def joinable_pool(tx: Transaction, pool_id: str, provider: str) -> Pool:
    """The pool that a node of this provider may join. Raises `NotFoundError`, `PreconditionError`."""
    pool = await require_pool(tx, pool_id)
    if pool.provider != provider:
        text = f"pool {pool.name!r} is of provider {pool.provider}, the node of {provider}"
        raise PreconditionError("PROVIDER_MISMATCH", text, {"pool": pool.id, "provider": pool.provider})
    if pool.state is not PoolState.ACTIVE:
        raise PreconditionError("POOL_DELETING", f"pool {pool.name!r} is being deleted", {"pool": pool.id})
    return pool


def refuse_stale(node: Node, incarnation: int | None, sequence: int | None) -> None:
    """Raise `ConflictError` when what an agent says is of the past."""
    if incarnation is None:
        return
    same = incarnation == node.incarnation
    if incarnation < node.incarnation or (same and sequence is not None and sequence < node.sequence):
        text = f"node {node.id} is at incarnation {node.incarnation}, sequence {node.sequence}; this is older"
        metadata = {"node": node.id, "incarnation": str(node.incarnation), "sequence": str(node.sequence)}
        raise ConflictError("STALE_INCARNATION", f"{text}: nothing was changed", metadata)


def terminated(node: Node) -> PreconditionError:
    """The error for an agent that speaks for a node which is gone."""
    text = f"node {node.id} is terminated; it can come back only with a higher incarnation than {node.incarnation}"
    return PreconditionError("NODE_TERMINATED", text, {"node": node.id, "incarnation": str(node.incarnation)})


def unknown_node(provider: str, instance_id: str) -> NotFoundError:
    """The error for a heartbeat of a node that nobody registered."""
    text = f"node {instance_id!r} of provider {provider} is not registered; register it, or send pool_id"
    return NotFoundError("node", instance_id, reason="NODE_NOT_REGISTERED", message=text)


def kept_by_gateway(provider: str, instance_id: str) -> PreconditionError:
    """The error for an agent that speaks for a node which the gateway keeps as the node's cluster tells it."""
    text = f"node {instance_id!r}: the gateway keeps the nodes of provider {provider} as its clusters tell them, and "
    text += "no agent registers or reports any; cordon or drain a node with the cluster's own tools"
    metadata = {"provider": provider, "provider_instance_id": instance_id}
    return PreconditionError("NODE_KEPT_BY_GATEWAY", text, metadata)


def parse_state(text: str) -> NodeState:
    """The state an agent reports by name, in any case. Raises `InvalidArgumentError` naming those there are."""
    state = _BY_NAME.get(text) or _BY_NAME.get(text.strip().upper())
    if state is not None:
        return state
    known = ", ".join(AGENT_STATES)
    raise InvalidArgumentError(Violation("state", f"{text!r} is no state that an agent reports; those are {known}"))
