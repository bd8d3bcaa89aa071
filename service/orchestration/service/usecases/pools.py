"""Pools: registered, read, changed and deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from orchestration.service.domain.policy import check_policy
from orchestration.service.errors import AlreadyExistsError, NotFoundError, PreconditionError
from orchestration.service.ids import new_id
from orchestration.service.paging import decode_token, encode_token, page_size
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.fields import fields_to_set
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.service.usecases.models import is_live
from orchestration.service.usecases.mutations import Mutations, check_etag
from orchestration.service.usecases.pool_checks import check_honoured
from orchestration.service.usecases.views import node_view, pool_view
from orchestration.store.index import Index
from orchestration.store.records import (
    Deployment,
    DesiredState,
    Node,
    NodeState,
    Pool,
    PoolState,
    Replica,
    ReplicaState,
)
from orchestration.store.transaction import Transaction
from orchestration.v1 import compute_pools_pb2 as pb

_UPDATABLE = {
    "pool_name": "name",
    "allowed_gpu_types": "allowed_gpu_types",
    "max_cost_per_hour": "max_cost_per_hour",
    "is_dedicated": "is_dedicated",
    "provider_pool_id": "provider_pool_id",
    "scheduling_policy_json": "scheduling_policy_json",
    "provider_credential_name": "provider_credential_name",
    "gpu_count": "gpu_count",
    "region_constraint": "region_constraint",
    "max_nodes": "max_nodes",
    "is_active": "enabled",
}
"""Fields of UpdatePoolRequest and the record's fields that they set."""


async def require_pool(tx: Transaction, pool_id: str) -> Pool:
    """The pool, read in the transaction. Raises `NotFoundError`."""
    pool = await tx.get(Pool, pool_id)
    if pool is None:
        raise NotFoundError("pool", pool_id)
    return pool


class PoolUseCases:
    """What callers do with pools."""

    def __init__(
        self,
        mutations: Mutations,
        index: Index,
        providers: ProviderRegistry,
        managed: ManagedNodes,
        clock: Callable[[], float],
    ) -> None:
        self._mutations = mutations
        self._index = index
        self._providers = providers
        self._managed = managed
        self._clock = clock

    async def register_pool(self, request: pb.RegisterPoolRequest) -> pb.RegisterPoolResponse:
        """Make a pool."""
        provider = self._providers.get(request.provider)
        check_policy(request.scheduling_policy_json)
        check_honoured(_described(request), provider)
        return await self._mutations.run(
            "RegisterPool", request, pb.RegisterPoolResponse, lambda tx: self._register(tx, request)
        )

    async def _register(self, tx: Transaction, request: pb.RegisterPoolRequest) -> pb.RegisterPoolResponse:
        await self._refuse_taken_name(tx, request.pool_name, _owner_type(request), request.owner_id)
        now = self._clock()
        pool = await tx.insert(replace(_described(request), id=new_id(), created_at=now, updated_at=now))
        await self._managed.join(tx, pool)
        tx.event(kind="pool", subject_id=pool.id, reason="POOL_CREATED", message=f"pool {pool.name!r} was made")
        view = await _view_within(tx, pool)
        return pb.RegisterPoolResponse(pool_id=pool.id, status=pb.RegisterPoolResponse.CREATED, pool=view)

    async def _refuse_taken_name(self, tx: Transaction, name: str, owner_type: str, owner_id: str) -> None:
        taken = await tx.select(Pool, name=name, owner_type=owner_type, owner_id=owner_id)
        if taken:
            text = f"{owner_type} {owner_id!r} has a pool named {name!r} already (pool_id {taken[0].id})"
            metadata = {"pool_name": name, "owner_type": owner_type, "owner_id": owner_id, "pool_id": taken[0].id}
            raise AlreadyExistsError("POOL_NAME_TAKEN", text, metadata)

    async def get_pool(self, request: pb.GetPoolRequest) -> pb.Pool:
        """One pool."""
        return self._view(self._require(request.pool_id))

    def _view(self, pool: Pool) -> pb.Pool:
        return pool_view(pool, self._index.find(Node, pool_id=pool.id), self._index.find(Replica, pool_id=pool.id))

    def _require(self, pool_id: str) -> Pool:
        pool = self._index.get(Pool, pool_id)
        if pool is None:
            raise NotFoundError("pool", pool_id)
        return pool

    async def list_pools(self, request: pb.ListPoolsRequest) -> pb.ListPoolsResponse:
        """Pools, newest first."""
        where = {"owner_id": request.owner_id} if request.owner_id else {}
        before = decode_token(request.page_token, "ListPools", request.owner_id)
        size = page_size(request.page_size)
        pools, total = self._index.page(Pool, where=where, before=before, limit=size + 1)
        token = encode_token(pools[size - 1].id, "ListPools", request.owner_id) if len(pools) > size else ""
        views = [self._view(pool) for pool in pools[:size]]
        return pb.ListPoolsResponse(pools=views, next_page_token=token, total_size=total)

    async def update_pool(self, request: pb.UpdatePoolRequest) -> pb.Pool:
        """Change a pool."""
        names = fields_to_set(request, request.update_mask, _UPDATABLE)
        if "scheduling_policy_json" in names:
            check_policy(request.scheduling_policy_json)
        return await self._mutations.run("UpdatePool", request, pb.Pool, lambda tx: self._update(tx, request, names))

    async def _update(self, tx: Transaction, request: pb.UpdatePoolRequest, names: Collection[str]) -> pb.Pool:
        pool = await require_pool(tx, request.pool_id)
        check_etag(request.etag, pool.id, pool.version)
        if pool.state is PoolState.DELETING:
            raise PreconditionError("POOL_DELETING", f"pool {pool.id!r} is being deleted", {"pool": pool.id})
        changes: dict[str, object] = {}
        for name in names:
            value: object = getattr(request, name)
            changes[_UPDATABLE[name]] = tuple(value) if name in {"allowed_gpu_types", "region_constraint"} else value  # type: ignore[arg-type]
        if "name" in changes and changes["name"] != pool.name:
            await self._refuse_taken_name(tx, request.pool_name, pool.owner_type, pool.owner_id)
        changed = replace(pool, **changes)  # type: ignore[arg-type]
        if pool.provider in self._providers.names:
            check_honoured(changed, self._providers.get(pool.provider), names)
        if changed != pool:
            changed = await tx.update(replace(changed, version=pool.version + 1, updated_at=self._clock()))
            text = f"changed: {', '.join(sorted(names))}"
            tx.event(kind="pool", subject_id=pool.id, reason="POOL_UPDATED", message=text)
        return await _view_within(tx, changed)

    async def delete_pool(self, request: pb.DeletePoolRequest) -> pb.DeletePoolResponse:
        """Delete a pool, or with force begin to."""
        return await self._mutations.run(
            "DeletePool", request, pb.DeletePoolResponse, lambda tx: self._delete(tx, request)
        )

    async def _delete(self, tx: Transaction, request: pb.DeletePoolRequest) -> pb.DeletePoolResponse:
        pool = await require_pool(tx, request.pool_id)
        check_etag(request.etag, pool.id, pool.version)
        wanted = await tx.select(Deployment, pool_id=pool.id, desired=DesiredState.RUNNING)
        live = [deployment for deployment in wanted if await is_live(tx, deployment)]
        held = await tx.select(Replica, pool_id=pool.id)
        if not live and not held:
            await remove_pool(tx, pool)
            return pb.DeletePoolResponse(pool_id=pool.id, status=pb.DeletePoolResponse.DELETED)
        if not request.force:
            text = f"pool {pool.name!r} has {len(live)} live deployments and {len(held)} replicas"
            text += "; terminate them, or delete with force"
            metadata = {"pool": pool.id, "deployments": str(len(live)), "replicas": str(len(held))}
            raise PreconditionError("POOL_NOT_EMPTY", text, metadata)
        await self._begin_deletion(tx, pool, wanted, held)
        return pb.DeletePoolResponse(pool_id=pool.id, status=pb.DeletePoolResponse.DELETING)

    async def _begin_deletion(
        self, tx: Transaction, pool: Pool, wanted: Collection[Deployment], held: Collection[Replica]
    ) -> None:
        now = self._clock()
        if pool.state is not PoolState.DELETING:
            await tx.update(replace(pool, state=PoolState.DELETING, version=pool.version + 1, updated_at=now))
            text = "deletion begins; its deployments are terminated"
            tx.event(kind="pool", subject_id=pool.id, reason="POOL_DELETING", message=text)
        for deployment in wanted:
            stopped = replace(deployment, desired=DesiredState.STOPPED, version=deployment.version + 1, updated_at=now)
            await tx.update(stopped)
            text = f"pool {pool.name!r} is deleted with force"
            tx.event(kind="deployment", subject_id=deployment.id, reason="TERMINATED_WITH_POOL", message=text)
        stopped_ids = {deployment.id for deployment in wanted}
        for replica in held:
            # Replicas of other pools' deployments that fell back into this one move elsewhere.
            if replica.deployment_id not in stopped_ids and replica.state is not ReplicaState.TERMINATING:
                await tx.update(
                    replace(
                        replica,
                        state=ReplicaState.TERMINATING,
                        reason="POOL_DELETED",
                        message=f"pool {pool.name!r} is deleted",
                        state_changed_at=now,
                    )
                )

    async def list_pool_inventory(self, request: pb.ListPoolInventoryRequest) -> pb.ListPoolInventoryResponse:
        """The nodes of a pool, newest first."""
        pool = self._require(request.pool_id)
        query = ("ListPoolInventory", pool.id, request.show_terminated)
        before = decode_token(request.page_token, *query)
        size = page_size(request.page_size)
        keep = None if request.show_terminated else is_not_terminated
        nodes, total = self._index.page(Node, where={"pool_id": pool.id}, before=before, limit=size + 1, keep=keep)
        token = encode_token(nodes[size - 1].id, *query) if len(nodes) > size else ""
        views = [node_view(node, self._index) for node in nodes[:size]]
        return pb.ListPoolInventoryResponse(pool_id=pool.id, nodes=views, next_page_token=token, total_size=total)


def _owner_type(request: pb.RegisterPoolRequest) -> str:
    return "org" if request.owner_type == "organization" else request.owner_type


def _described(request: pb.RegisterPoolRequest) -> Pool:
    """The pool that the request describes, without an id."""
    return Pool(
        id="",
        name=request.pool_name,
        owner_type=_owner_type(request),
        owner_id=request.owner_id,
        provider=request.provider,
        allowed_gpu_types=tuple(request.allowed_gpu_types),
        max_cost_per_hour=request.max_cost_per_hour,
        is_dedicated=request.is_dedicated,
        provider_pool_id=request.provider_pool_id,
        scheduling_policy_json=request.scheduling_policy_json,
        provider_credential_name=request.provider_credential_name,
        gpu_count=request.gpu_count,
        region_constraint=tuple(request.region_constraint),
        max_nodes=request.max_nodes,
    )


async def _view_within(tx: Transaction, pool: Pool) -> pb.Pool:
    """The pool with what the transaction itself has done to its nodes."""
    return pool_view(pool, await tx.select(Node, pool_id=pool.id), await tx.select(Replica, pool_id=pool.id))


def is_not_terminated(node: Node) -> bool:
    """Whether the node is listed without being asked for."""
    return node.state is not NodeState.TERMINATED


async def remove_pool(tx: Transaction, pool: Pool) -> None:
    """Delete the pool's row and its nodes' rows; its name is free again."""
    for node in await tx.select(Node, pool_id=pool.id):
        await tx.delete(node)
    await tx.delete(pool)
    tx.event(kind="pool", subject_id=pool.id, reason="POOL_DELETED", message=f"pool {pool.name!r} is gone")
