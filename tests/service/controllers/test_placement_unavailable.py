"""A provider that cannot be asked is asked no sooner than it says, and is left for another that can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.controllers.choosing import AWAY_S
from orchestration.service.controllers.starting import Rejected
from orchestration.service.controllers.waiting import PATIENCE_S
from orchestration.service.domain import rollback
from orchestration.service.providers.base import (
    PROVIDER_CLOSED,
    Instance,
    InstanceSpec,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.store.records import Deployment, Pool, Replica, ReplicaState
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing


class Moody(Cloud):
    """Answers with an error, another one each time, while a test says so."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.offer(f"of-{name}", 1.0)
        self.error: ProviderError | None = None
        self.mute = False
        """Tells nothing of instances either."""
        self.late = False
        """Makes the instance although it answers with an error."""
        self.asked = 0
        self._ids = count(1)

    async def create(self, spec: InstanceSpec) -> Instance:
        """As the test says."""
        self.asked += 1
        if self.late:
            await super().create(spec)
        if self.error is None:
            return await super().create(spec)
        self.error.message = f"request {next(self._ids)} failed"
        raise self.error

    async def describe(self, name: str) -> Instance | None:
        """As the test says."""
        if self.mute:
            raise ProviderUnavailableError("mute")
        return await super().describe(name)


class World:
    """A pool on each of two markets, and one replica that prefers the first."""

    def __init__(self, parts: Placing, first: Moody, second: Moody) -> None:
        self.parts = parts
        self.first = first
        self.second = second
        self.id = ""

    async def begin(self, *pools: str, **fields: Any) -> None:
        for cloud in (self.first, self.second):
            await stores.add_pool(self.parts.store, id=cloud.name, name=cloud.name, provider=cloud.name)
        (self.id,) = await add_deployment(self.parts.store, *pools, **fields)
        await self.parts.place(self.id)

    @property
    def replica(self) -> Replica:
        return self.parts.replica(self.id)

    @property
    def deployment(self) -> Deployment:
        return self.parts.deployment(self.replica.deployment_id)

    async def provision(self) -> Any:
        return await self.parts.starter.provision(self.replica, self.deployment)

    async def later(self, seconds: float) -> Replica:
        """Time passes, and the replica is looked at."""
        self.parts.clock.now += seconds
        if self.replica.state is ReplicaState.PENDING:
            await self.parts.place(self.id)
        if self.replica.state is ReplicaState.PROVISIONING:
            await self.provision()
        return self.replica

    def where(self) -> tuple[str, str]:
        return (self.replica.state, self.replica.pool_id)


AWAY = ProviderUnavailableError("out of reach")
TIMEOUT = ProviderUnavailableError("no answer", reason="PROVIDER_TIMEOUT")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    first, second = Moody("first"), Moody("second")
    async with placing(tmp_path, first, second) as parts:
        yield World(parts, first, second)


async def test_whatever_wakes_a_replica_its_provider_is_asked_no_sooner_than_it_says(world: World) -> None:
    world.first.error = ProviderUnavailableError("later", retry_after_s=20.0)
    await world.begin("first")
    assert await world.provision() == 20.0
    told = world.replica
    for _ in range(5):
        assert await world.provision() == 20.0
    assert (world.first.asked, world.replica) == (1, told), "the row's own change made it ask again"
    await world.later(19.0)
    assert world.first.asked == 1
    await world.later(1.0)
    assert world.first.asked == 2
    assert world.replica.message == "request 2 failed"


async def test_a_replica_leaves_a_provider_that_cannot_be_asked_for_one_that_can(world: World) -> None:
    world.first.error, world.first.mute = TIMEOUT, True
    await world.begin("first", "second")
    await world.provision()
    await world.later(PATIENCE_S - 1)
    assert world.where() == (ReplicaState.PROVISIONING, "first")
    first_name = world.replica.instance_name
    assert (await world.later(1)).state is ReplicaState.PENDING
    assert world.replica.message.startswith("leaves pool 'first': request")
    await world.later(0)
    assert world.where() == (ReplicaState.STARTING, "second")
    assert (world.replica.attempt, world.replica.restarts) == (1, 0), "what never ran was no attempt"
    assert world.replica.instance_name != first_name


async def test_a_provider_is_not_left_when_no_other_has_room(world: World) -> None:
    world.first.error = AWAY
    world.second.offers.clear()
    await world.parts.providers.offers.refresh()
    await world.begin("first", "second")
    for _ in range(5):
        await world.later(PATIENCE_S)
    assert world.where() == (ReplicaState.PROVISIONING, "first")
    world.first.error = None
    await world.later(PATIENCE_S)
    assert world.where() == (ReplicaState.STARTING, "first")


async def test_an_instance_that_is_there_although_nobody_said_so_is_not_left(world: World) -> None:
    world.first.error, world.first.late = TIMEOUT, True
    await world.begin("first", "second")
    await world.provision()
    await world.later(PATIENCE_S)
    assert world.where() == (ReplicaState.PROVISIONING, "first")
    world.first.error = None
    await world.later(PATIENCE_S)
    assert world.where() == (ReplicaState.STARTING, "first")
    assert world.second.asked == 0


async def test_when_both_are_away_each_has_its_turn_and_the_first_that_is_back_gets_it(world: World) -> None:
    world.first.error = world.second.error = AWAY
    await world.begin("first", "second")
    for _ in range(20):
        await world.later(PATIENCE_S)
    assert world.first.asked > 1
    assert world.second.asked > 1
    world.first.error = None
    for _ in range(int(2 * AWAY_S / PATIENCE_S)):
        if world.replica.state is not ReplicaState.STARTING:
            await world.later(PATIENCE_S)
    assert world.where() == (ReplicaState.STARTING, "first")


async def test_a_pool_that_is_switched_off_is_left_at_once(world: World) -> None:
    world.first.error = AWAY
    await world.begin("first")
    await world.provision()
    async with world.parts.store.write(actor="test") as tx:
        pool = await tx.get(Pool, "first")
        assert pool is not None
        await tx.update(replace(pool, enabled=False))
    await world.later(0)
    assert world.where() == (ReplicaState.PENDING, "")
    await world.later(0)
    assert world.replica.reason == "POOL_NOT_ACTIVE"


@pytest.mark.parametrize(("reason", "ends"), [("FORBIDDEN", True), (PROVIDER_CLOSED, False)])
async def test_an_error_that_will_not_go_away_ends_the_attempt(world: World, reason: str, ends: bool) -> None:
    world.first.error = ProviderError(reason, "", retryable=False)
    await world.begin("first")
    outcome = await world.provision()
    assert outcome == Rejected(reason, "request 1 failed") if ends else isinstance(outcome, float)


async def test_a_configuration_that_is_not_accepted_any_more_ends_the_attempt(world: World) -> None:
    await world.begin("first", configuration={"command": ["serve"], "image": "serve:1", "unheard_of": 1})
    outcome = await world.provision()
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.for_good) == ("ENGINE_CONFIGURATION_INVALID", True)
    assert "unheard_of" in outcome.message
    assert world.first.asked == 0


async def test_a_wait_is_counted_from_its_beginning_whatever_the_replica_flips_between(world: World) -> None:
    await world.begin("first", "second")
    await world.provision()
    await world.parts.lose(world.id)
    async with world.parts.store.write(actor="test") as tx:
        template = rollback.template(world.deployment)
        stable = replace(world.deployment, stable_generation=1, stable_template=template, generation=2)
        await tx.update(stable)
        await tx.update(replace(world.replica, generation=2))
    world.first.full, world.second.full = {"of-first"}, {"of-second"}
    begun = world.parts.clock.now
    for _ in range(6):
        await world.parts.start(world.id)
        world.parts.clock.now += 10
    assert world.replica.attempt == 1
    assert world.replica.waits_since == begun
    failed = rollback.failure(world.deployment, [world.replica], world.parts.clock.now, 60)
    assert failed is not None
    assert failed.reason == "PROGRESS_DEADLINE_EXCEEDED"
    world.first.full.clear()
    world.second.full.clear()
    await world.parts.start(world.id)
    assert (world.replica.state, world.replica.waits_since) == (ReplicaState.STARTING, 0.0)
