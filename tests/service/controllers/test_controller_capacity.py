"""A provider that has less room than the rows say: the fallback is tried, and what never ran is no restart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.controllers.starting import Starter
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.domain.backoff import Backoff
from orchestration.service.providers.base import CapacityError, Instance, InstanceSpec, InstanceState
from orchestration.service.providers.kubernetes import CAPABILITIES as KUBERNETES
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Deployment, Node, Pool, Replica, ReplicaState
from orchestration.store.store import Store
from tests.support.fake_provider import FakeProvider


class Crowded(FakeProvider):
    """Has no room in the places named."""

    def __init__(self, *full: str) -> None:
        super().__init__("fake", replace(KUBERNETES, places_on_nodes=True))
        self.full = set(full)

    async def create(self, spec: InstanceSpec) -> Instance:
        """An instance, where there is room."""
        if spec.provider_pool_id in self.full:
            raise CapacityError(f"{spec.provider_pool_id} is full")
        return Instance(name=spec.name, provider_instance_id=spec.name, state=InstanceState.RUNNING)


class Remembering(Crowded):
    """Keeps the names that it was asked for."""

    def __init__(self, *full: str) -> None:
        super().__init__(*full)
        self.asked: list[str] = []

    async def create(self, spec: InstanceSpec) -> Instance:
        """As the crowded one."""
        self.asked.append(spec.name)
        return await super().create(spec)


class World:
    """Two pools with a node each, and a deployment that prefers the first."""

    def __init__(self, store: Store, provider: FakeProvider) -> None:
        self.store = store
        self.shards = ShardLeases(LeaseManager(store, clock=time.time), 60, time.time)
        transitions = Transitions(Guard(store, self.shards), time.time)
        providers = ProviderRegistry({"fake": provider})
        views = PoolViews(store.index, providers)
        self.starter = Starter(transitions, views, providers, "test", Backoff(0.001, 0.001))

    async def begin(self) -> None:
        await self.shards.turn(lambda: None)
        async with self.store.write(actor="test") as tx:
            for name in ("first", "second"):
                pool = Pool(id=name, name=name, owner_type="user", owner_id="a", provider="fake", provider_pool_id=name)
                await tx.insert(pool)
                node = Node(id=name, pool_id=name, provider="fake", provider_instance_id=name, managed=True)
                await tx.insert(node)
            deployment = Deployment(
                id="d",
                org_id="",
                owner_id="",
                pool_id="first",
                fallback_pool_ids=("second",),
                model_name="m",
                engine="custom",
                inference_model="m",
                gpu_per_replica=0,
                configuration={"command": ["serve"], "image": "serve:1"},
            )
            await tx.insert(deployment)
            await tx.insert(Replica(id="r", deployment_id="d", ordinal=0, generation=1))

    @property
    def replica(self) -> Replica:
        found = self.store.index.get(Replica, "r")
        assert found is not None
        return found

    async def attempt(self) -> None:
        deployment = self.store.index.get(Deployment, "d")
        assert deployment is not None
        placed = await self.starter.place(self.replica, deployment)
        assert placed.state is ReplicaState.PROVISIONING, placed.message
        await self.starter.provision(placed, deployment)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db") as opened:
        yield opened


async def test_the_fallback_is_tried_when_the_provider_has_no_room_in_the_first_pool(store: Store) -> None:
    world = World(store, Crowded("first"))
    await world.begin()
    await world.attempt()
    assert (world.replica.state, world.replica.pool_id) == (ReplicaState.PENDING, "")
    await world.attempt()
    assert (world.replica.state, world.replica.pool_id) == (ReplicaState.STARTING, "second")


async def test_a_place_that_was_refused_is_no_attempt_and_no_restart(store: Store) -> None:
    provider = Crowded("first", "second")
    world = World(store, provider)
    await world.begin()
    for _ in range(3):
        await world.attempt()
    provider.full.clear()
    await world.attempt()
    assert world.replica.state is ReplicaState.STARTING
    assert (world.replica.attempt, world.replica.restarts) == (1, 0)
    assert world.replica.pool_id == "second", "the pools were not tried in turns"


async def test_the_name_of_a_place_that_was_given_back_never_comes_again(store: Store) -> None:
    provider = Remembering("first")
    world = World(store, provider)
    await world.begin()
    await world.attempt()
    await world.attempt()
    assert world.replica.attempt == 1
    assert len(set(provider.asked)) == 2, "an instance that appears late in the first place would pass for the second's"
