"""Changes of deployments that exist: only what asks for something new is checked against the pools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from orchestration.service.errors import NotFoundError, PreconditionError
from orchestration.service.usecases.deployment_changes import DeploymentChanges
from orchestration.service.usecases.deployments import RestartDefaults
from orchestration.service.usecases.mutations import Mutations
from orchestration.store.records import Pool, PoolState, Replica, ReplicaState
from orchestration.v1 import model_deployments_pb2 as pb
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing


class World:
    """Deployments in pools of nodes, and what callers change in them."""

    def __init__(self, parts: Placing) -> None:
        self.parts = parts
        defaults = RestartDefaults(max_attempts=5, window_s=600)
        self.changes = DeploymentChanges(Mutations(parts.store, parts.clock), parts.views, parts.clock, defaults)

    async def pool(self, name: str, *, gpus: int, **fields: Any) -> Pool:
        pool = await stores.add_pool(self.parts.store, id=name, name=name, provider="nodes", **fields)
        async with self.parts.store.write(actor="test") as tx:
            await tx.insert(stores.node(name, provider="nodes", gpu_total=gpus, gpu_type="A100"))
        return pool

    async def deployment(self, *pool_ids: str, **fields: Any) -> str:
        replica_ids = await add_deployment(self.parts.store, *pool_ids, **fields)
        return self.parts.replica(replica_ids[0]).deployment_id

    async def shrink(self, pool: Pool, **fields: Any) -> None:
        async with self.parts.store.write(actor="test") as tx:
            current = await tx.get(Pool, pool.id)
            assert current is not None
            await tx.update(replace(current, **fields))

    async def update(self, deployment_id: str, *paths: str, **fields: Any) -> pb.Deployment:
        request = pb.UpdateDeploymentRequest(deployment_id=deployment_id, update_mask=FieldMask(paths=paths), **fields)
        return await self.changes.update_deployment(request)

    async def scale(self, deployment_id: str, replicas: int) -> None:
        await self.changes.scale_deployment(pb.ScaleDeploymentRequest(deployment_id=deployment_id, replicas=replicas))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with placing(tmp_path, Cloud("nodes", nodes=True)) as parts:
        yield World(parts)


@pytest.mark.parametrize("gone", [True, False])
async def test_a_fallback_pool_that_goes_leaves_its_deployments_as_they_were(world: World, gone: bool) -> None:
    await world.pool("first", gpus=8)
    second = await stores.add_pool(world.parts.store, id="second", name="second", provider="nodes")
    deployment = await world.deployment("first", "second")
    if gone:
        async with world.parts.store.write(actor="test") as tx:
            await tx.delete(second)
    else:
        await world.shrink(second, state=PoolState.DELETING)
    await world.scale(deployment, 2)
    changed = await world.update(deployment, "env", env={"A": "1"})
    assert (changed.replicas, changed.generation, list(changed.fallback_pool_ids)) == (2, 2, ["second"])
    await world.changes.delete_deployment(pb.DeleteDeploymentRequest(deployment_id=deployment))
    await world.changes.start_deployment(pb.StartDeploymentRequest(deployment_id=deployment))
    with pytest.raises(NotFoundError if gone else PreconditionError, match="second"):
        await world.update(deployment, "fallback_pool_ids", "labels", fallback_pool_ids=["second"], labels={"a": "b"})


async def test_a_pool_that_shrank_does_not_refuse_what_asks_for_nothing_new(world: World) -> None:
    pool = await world.pool("first", gpus=8)
    deployment = await world.deployment("first", replicas=4)
    await world.shrink(pool, max_cost_per_hour=1.0, gpu_count=2)
    await world.update(deployment, "labels", labels={"a": "b"})
    await world.update(deployment, "restart_policy", restart_policy=pb.RestartPolicy(max_attempts=9))
    await world.update(deployment, "update_strategy", update_strategy=pb.UpdateStrategy(max_surge=1))
    assert (await world.update(deployment, "replicas", replicas=3)).replicas == 3
    for paths, fields in (("replicas", {"replicas": 4}), ("env", {"env": {"A": "1"}})):
        with pytest.raises(PreconditionError, match="can hold at most 2"):
            await world.update(deployment, paths, **fields)
    await world.pool("other", gpus=8, allowed_gpu_types=("H100",))
    with pytest.raises(PreconditionError, match="can hold at most 2"):
        await world.update(deployment, "fallback_pool_ids", fallback_pool_ids=["other"])


async def test_a_start_leaves_what_is_being_ended(world: World) -> None:
    await world.pool("first", gpus=8)
    deployment = await world.deployment("first", replicas=2)
    given_up, ending = world.parts.store.index.find(Replica, deployment_id=deployment)
    async with world.parts.store.write(actor="test") as tx:
        await tx.update(replace(given_up, state=ReplicaState.FAILED, generation=2, ordinal=0))
        await tx.update(replace(ending, state=ReplicaState.TERMINATING, generation=1, ordinal=0))
        await tx.update(replace(world.parts.deployment(deployment), generation=2, replicas=1))
    await world.changes.start_deployment(pb.StartDeploymentRequest(deployment_id=deployment))
    assert world.parts.replica(given_up.id).retry_at == world.parts.clock()
    assert world.parts.replica(ending.id).state is ReplicaState.TERMINATING
