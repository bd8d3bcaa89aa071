"""Silent nodes, the eviction brake, and the leases of a gateway, on a real store with a clock of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.nodes import NodeController, NodeTiming
from orchestration.service.controllers.owner import is_dead
from orchestration.service.controllers.shards import NODES, ShardLeases, shard_name
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store.errors import LeaseLostError
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Node, NodeState, Pool
from orchestration.store.store import Store
from tests.support.faulty_store import faulty_store

INTERVAL = 10.0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A store, its leases, and the node controller."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.shards = ShardLeases(LeaseManager(store, clock=clock, is_dead=is_dead), 1e9, clock)
        managed = ManagedNodes(store, ProviderRegistry({}), clock)
        self.controller = NodeController(store, self.shards, managed, NodeTiming(interval_s=INTERVAL), clock)

    async def begin(self, nodes: int) -> None:
        await self.shards.turn(lambda: None)
        async with self.store.write(actor="test") as tx:
            await tx.insert(Pool(id="p", name="p", owner_type="user", owner_id="a", provider="fake"))
            for number in range(nodes):
                # As of a node that registers: a row that says otherwise than the index would count as news of it.
                await tx.insert(
                    Node(
                        id=f"n{number}",
                        pool_id="p",
                        provider="fake",
                        provider_instance_id=f"i{number}",
                        last_heartbeat_at=self.clock.now,
                    )
                )
        self.beat(*range(nodes))

    def beat(self, *numbers: int) -> None:
        for number in numbers:
            self.store.beat(f"n{number}", last_heartbeat_at=self.clock.now)

    async def pass_time(self, seconds: float, *beating: int) -> None:
        """Let time pass in steps of a quarter interval, as the controller looks."""
        for _ in range(round(seconds / (INTERVAL / 4))):
            self.clock.now += INTERVAL / 4
            self.beat(*beating)
            await self.controller.look()

    def states(self) -> list[str]:
        return [node.state.value for node in self.store.index.all(Node)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = Clock()
    store = await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db", clock=clock)
    yield World(store, clock)
    await store.close()


async def test_a_silent_node_is_suspect_after_one_and_a_half_intervals_and_lost_after_three(world: World) -> None:
    await world.begin(3)
    await world.pass_time(12.5, 0, 1)
    assert world.states() == ["READY", "READY", "READY"]
    await world.pass_time(2.5, 0, 1)
    assert world.states() == ["READY", "READY", "UNHEALTHY"]
    await world.pass_time(12.5, 0, 1)
    assert world.states() == ["READY", "READY", "UNHEALTHY"]
    await world.pass_time(2.5, 0, 1)
    assert world.states() == ["READY", "READY", "LOST"]
    events, _ = await world.store.list_events("node", "n2", limit=10)
    assert [event.reason for event in events] == ["NODE_LOST", "NODE_UNHEALTHY", "NODE_REGISTERED"]


@pytest.mark.parametrize("offset", [0.0, 0.3, 1.1, 2.4999])
async def test_a_node_is_looked_at_when_its_time_is_up_and_not_only_at_the_next_round(
    world: World, offset: float
) -> None:
    await world.begin(1)
    world.clock.now += offset
    last_heartbeat = world.store.index.all(Node)[0].last_heartbeat_at
    found: dict[str, float] = {}
    for _ in range(100):
        pause = await world.controller.look()
        found.setdefault(world.states()[0], world.clock.now - last_heartbeat)
        world.clock.now += pause
    assert 15 <= found["UNHEALTHY"] < 15.1
    assert 30 <= found["LOST"] < 30.1


async def test_the_brake_holds_when_most_of_a_pool_goes_silent_at_once(world: World) -> None:
    await world.begin(5)
    await world.pass_time(60, 0, 1)
    assert "LOST" not in world.states()
    events, _ = await world.store.list_events("pool", "p", limit=10)
    assert "EVICTION_BRAKE" in [event.reason for event in events]


async def test_nodes_that_the_brake_keeps_are_suspect_and_take_nothing_new_until_they_are_heard_of(
    world: World,
) -> None:
    await world.begin(5)
    await world.pass_time(60, 0, 1)
    assert world.states() == ["READY", "READY", "UNHEALTHY", "UNHEALTHY", "UNHEALTHY"]


async def test_a_thousand_nodes_are_marked_in_one_commit_each_time(world: World) -> None:
    await world.begin(2000)
    counted, faults = faulty_store(world.store)
    managed = ManagedNodes(world.store, ProviderRegistry({}), world.clock)
    world.controller = NodeController(counted, world.shards, managed, NodeTiming(interval_s=INTERVAL), world.clock)
    await world.pass_time(30, *range(1000))
    assert world.states().count("LOST") == 1000
    assert faults.calls["commit"] == 2, "once suspect, once lost"


async def test_a_silence_that_lasts_is_told_of_once(world: World) -> None:
    await world.begin(5)
    await world.pass_time(300, 0, 1)
    events, _ = await world.store.list_events("pool", "p", limit=100)
    assert [event.reason for event in events] == ["EVICTION_BRAKE", "POOL_CREATED"]


async def test_a_pool_that_is_silent_does_not_keep_nodes_of_another_from_being_lost(world: World) -> None:
    await world.begin(5)
    async with world.store.write(actor="test") as tx:
        await tx.insert(Pool(id="q", name="q", owner_type="user", owner_id="a", provider="fake"))
        for number in (8, 9):
            await tx.insert(Node(id=f"n{number}", pool_id="q", provider="fake", provider_instance_id=f"i{number}"))
    world.beat(8, 9)
    await world.pass_time(20, 0, 1, 8, 9)
    await world.pass_time(120, 0, 1, 8)
    assert world.states()[-2:] == ["READY", "LOST"]


async def test_fewer_than_three_silent_nodes_never_brake(world: World) -> None:
    await world.begin(2)
    await world.pass_time(35)
    assert world.states() == ["LOST", "LOST"]


async def test_a_gateway_that_was_away_gives_every_node_a_new_lease(world: World) -> None:
    await world.begin(2)
    await world.pass_time(5, 0, 1)
    world.clock.now += 3600
    await world.controller.look()
    await world.pass_time(12.5)
    assert world.states() == ["READY", "READY"]
    await world.pass_time(20)
    assert world.states() == [NodeState.LOST, NodeState.LOST]


async def test_without_the_lease_nothing_is_judged(world: World) -> None:
    await world.begin(1)
    await world.shards.close()
    await world.pass_time(60)
    assert world.states() == ["READY"]


async def test_a_second_gateway_gets_no_lease_until_the_first_gives_it_up_or_it_runs_out(world: World) -> None:
    await world.begin(0)
    manager = LeaseManager(world.store, clock=world.clock)
    assert world.shards.lease(NODES) is not None
    assert await manager.acquire([NODES], "other", 10) == []
    await world.shards.close()
    assert [lease.name for lease in await manager.acquire([NODES], "other", 10)] == [NODES]


async def test_a_lease_that_ran_out_refuses_writes(world: World) -> None:
    await world.begin(0)
    guard = Guard(world.store, world.shards)
    async with guard.write("some deployment", "test"):
        pass
    world.clock.now += 2e9
    with pytest.raises(LeaseLostError):
        async with guard.write("some deployment", "test"):
            pytest.fail("the block must not be entered")


async def test_work_is_woken_when_leases_that_ran_out_are_renewed(world: World) -> None:
    woken: list[float] = []
    shards = ShardLeases(LeaseManager(world.store, clock=world.clock), 10, world.clock)
    for seconds in (0, 3, 20, 3):
        world.clock.now += seconds
        await shards.turn(lambda: woken.append(world.clock.now - 1_000_000))
    assert woken == [0, 23], "the work stopped with the leases, and only a full pass would have begun it again"


def test_deployments_spread_over_the_shards() -> None:
    assert len({shard_name(str(number)) for number in range(1000)}) == 16
