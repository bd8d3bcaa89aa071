"""What a gateway lets go of with a lease, and what it does no more without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.controllers.failing import Ender
from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.health import HealthMonitor, probe_session
from orchestration.service.controllers.leaving import Leaver
from orchestration.service.controllers.nodes import NodeController, NodeTiming
from orchestration.service.controllers.probing import Prober
from orchestration.service.controllers.reaper import Reaper
from orchestration.service.controllers.replicas import DESCRIBE_REMOTE_S, ReplicaController
from orchestration.service.controllers.retention import Retention
from orchestration.service.controllers.shards import shard_name
from orchestration.service.controllers.starting import Starter
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.domain.backoff import Backoff
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import Instance, InstanceSpec, InstanceState, LogRecord
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.errors import LeaseLostError
from orchestration.store.records import Deployment, Node, NodeState, Replica, ReplicaState
from orchestration.store.store import Store
from tests.support import stores
from tests.support.fake_provider import FakeProvider
from tests.support.lease_world import TTL_S, SharedWork
from tests.support.placing import CLUSTER
from tests.support.stores import FakeClock, eventually


class Chatty(FakeProvider):
    """Runs everything that it is asked for, and knows whose lines are being followed."""

    def __init__(self) -> None:
        super().__init__("chatty", CLUSTER)
        self.created: list[str] = []
        self.owned: list[str] = []
        self.deleted: list[str] = []
        self.described = 0
        self.followed: set[str] = set()

    async def create(self, spec: InstanceSpec) -> Instance:
        """Runs at once."""
        self.created.append(spec.name)
        return self._instance(spec.name)

    async def describe(self, name: str) -> Instance | None:
        """Runs."""
        self.described += 1
        return self._instance(name)

    async def list_owned(self) -> Sequence[Instance]:
        """What a test has put there."""
        return tuple(map(self._instance, self.owned))

    async def delete(self, name: str) -> None:
        """Noted."""
        self.deleted.append(name)

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """No line, for ever."""
        self.followed.add(name)
        try:
            await asyncio.Event().wait()
            yield LogRecord(time=0.0, stream="stdout", message="", cursor="1")
        finally:
            self.followed.discard(name)

    def _instance(self, name: str) -> Instance:
        return Instance(name=name, provider_instance_id=name, state=InstanceState.RUNNING)


class Handover(SharedWork):
    """A gateway with what works on replicas, another that only takes leases, and one replica."""

    def __init__(self, store: Store, clock: FakeClock, logs: LogStore, health: HealthMonitor) -> None:
        super().__init__(store, clock)
        self.provider = Chatty()
        self.mine, self.other = self.gateway(), self.gateway()
        self.collector = LogCollector(logs)
        self.providers = ProviderRegistry({"chatty": self.provider}, clock=clock)
        self.health = health
        transitions = Transitions(Guard(store, self.mine), clock)
        backoff = Backoff(0.001, 0.001)
        views = PoolViews(store.index, self.providers)
        self.starter = Starter(transitions, views, self.providers, "test", backoff)
        ender = Ender(transitions, self.providers, self.collector, backoff)
        self.controller = ReplicaController(
            store.index,
            self.mine,
            transitions,
            self.starter,
            ender,
            Leaver(transitions, health, self.collector),
            Prober(transitions, ender, health, failures=3),
            self.collector,
            self.providers,
        )

    async def begin(self) -> None:
        """The first gateway has all leases."""
        await self.turn(self.mine)
        async with self.store.write(actor="test") as tx:
            pool = await tx.insert(stores.pool(id="p", provider="chatty"))
            await tx.insert(stores.node(pool.id, id="n", provider="chatty", last_heartbeat_at=self.clock.now))
            settings: dict[str, Any] = {"command": ["serve"], "image": "serve:1"}
            deployment = stores.deployment(pool.id, id="d", engine="custom", gpu_per_replica=0, configuration=settings)
            await tx.insert(deployment)
            await tx.insert(stores.replica("d", id="r"))

    async def lose(self) -> None:
        """The other takes the deployment's lease while the first sleeps."""
        self.pass_time(TTL_S)
        await self.turn(self.other)
        assert shard_name("d") in self.other.held

    @property
    def replica(self) -> Replica:
        """The row."""
        found = self.store.index.get(Replica, "r")
        assert found is not None
        return found


@pytest.fixture
async def handover(tmp_path: Path) -> AsyncGenerator[Handover]:
    clock = FakeClock()
    logs = LogStore(tmp_path / "logs")
    async with await Store.open(stores.sqlite_url(tmp_path / "test.db"), clock=clock) as store, probe_session() as http:
        made = Handover(store, clock, logs, HealthMonitor(http, timeout_s=5, interval_s=5))
        await made.begin()
        yield made
        await made.collector.close()
        await logs.close()


async def test_log_copies_end_with_the_lease_and_begin_with_it(handover: Handover) -> None:
    await handover.controller.step("r")
    name = handover.replica.instance_name
    await eventually(lambda: handover.provider.followed == {name})

    await handover.lose()
    async with handover.store.write(actor="the other") as tx:
        await tx.update(replace(handover.replica, instance_name="r-r-2", attempt=2))
    await handover.controller.step("r")
    assert handover.provider.followed == set(), "two gateways copy the same lines"

    handover.dead.add(handover.other.owner)
    await handover.turn(handover.mine)
    await handover.controller.step("r")
    await eventually(lambda: handover.provider.followed == {"r-r-2"})


async def test_what_was_counted_of_a_replica_is_forgotten_with_the_lease(handover: Handover) -> None:
    await handover.controller.step("r")
    await handover.health.ask("r", "http://127.0.0.1:1", "/health", handover.clock.now)
    assert handover.health.failures("r") > 0
    await handover.lose()
    await handover.controller.step("r")
    assert handover.health.failures("r") == 0


async def test_an_instance_that_was_written_down_before_a_sleep_is_not_asked_for_after_it(handover: Handover) -> None:
    deployment = handover.store.index.get(Deployment, "d")
    assert deployment is not None
    placed = await handover.starter.place(handover.replica, deployment)
    assert placed.state is ReplicaState.PROVISIONING, placed.message
    await handover.lose()
    with pytest.raises(LeaseLostError):
        await handover.starter.provision(placed, deployment)
    assert handover.provider.created == []


async def test_the_reaper_asks_the_database_under_its_lease_before_it_deletes(handover: Handover) -> None:
    handover.provider.owned = ["r-gone-1"]
    reaper = Reaper(handover.store, handover.mine, handover.providers, handover.clock, interval_s=1, grace_s=10)
    await reaper.sweep()
    handover.clock.now += TTL_S + 1  # by its own monotonic clock it holds the lease; the rows know better
    await handover.turn(handover.other)
    handover.clock.now -= TTL_S + 1
    handover.clock.now += 1
    reaper = Reaper(handover.store, handover.mine, handover.providers, handover.clock, interval_s=1, grace_s=0)
    await reaper.sweep()
    assert handover.provider.deleted == []
    handover.dead.add(handover.other.owner)
    await handover.turn(handover.mine)
    await reaper.sweep()
    assert handover.provider.deleted == ["r-gone-1"]


async def test_a_node_is_not_judged_by_a_gateway_whose_lease_another_has(handover: Handover) -> None:
    managed = ManagedNodes(handover.store, handover.providers, handover.clock)
    timing = NodeTiming(interval_s=0.1, suspect_after=1, lost_after=2)
    nodes = NodeController(handover.store, handover.mine, managed, timing, handover.clock)
    handover.clock.now += TTL_S
    await handover.turn(handover.other)
    handover.clock.now -= TTL_S
    for _ in range(4):
        handover.clock.now += 0.09
        await nodes.look()
    assert [node.state for node in handover.store.index.all(Node)] == [NodeState.READY]
    handover.dead.add(handover.other.owner)
    await handover.turn(handover.mine)
    await nodes.look()
    assert [node.state for node in handover.store.index.all(Node)] == [NodeState.LOST]


async def test_only_the_gateway_that_reaps_forgets_what_is_old(handover: Handover) -> None:
    async def events() -> int:
        return (await handover.store.list_events("pool", "p", limit=1))[1]

    async with handover.store.write(actor="test") as tx:
        tx.event(kind="pool", subject_id="p", reason="OLD", message="")
    handover.pass_time(100)
    await handover.turn(handover.mine, handover.other)
    others, mine = (
        Retention(handover.store, which, events_s=60, events_per_subject=10)
        for which in (handover.other, handover.mine)
    )
    there = await events()
    assert there > 0
    assert await others.look() <= 60, "it may be the one at any time"
    assert await events() == there
    await mine.look()
    assert await events() == 0


async def test_an_instance_elsewhere_is_described_seldom(handover: Handover) -> None:
    await handover.controller.step("r")
    async with handover.store.write(actor="test") as tx:
        endpoint = "http://127.0.0.1:1"
        await tx.update(replace(handover.replica, state=ReplicaState.READY, endpoint=endpoint, health_path="/health"))
    for _ in range(4):
        await handover.controller.step("r")
        handover.pass_time(1.0)
    assert handover.provider.described == 1
    handover.pass_time(DESCRIBE_REMOTE_S - 4)
    await handover.turn(handover.mine)
    await handover.controller.step("r")
    assert handover.provider.described == 2


async def test_an_instance_is_asked_to_end_once_and_again_when_it_has_not_for_a_while(handover: Handover) -> None:
    await handover.controller.step("r")
    name = handover.replica.instance_name
    async with handover.store.write(actor="test") as tx:
        await tx.update(replace(handover.replica, state=ReplicaState.TERMINATING))
    for _ in range(4):
        await handover.controller.step("r")
        handover.pass_time(1.0)
    assert handover.provider.deleted == [name]
    handover.pass_time(2.0)
    await handover.turn(handover.mine)
    await handover.controller.step("r")
    assert handover.provider.deleted == [name, name]
