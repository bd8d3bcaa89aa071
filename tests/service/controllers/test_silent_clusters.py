"""Nodes that nobody tells of any more do not stay READY for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.controllers.silent_clusters import SILENT_S, SilentClusters
from orchestration.service.providers.kubernetes import CAPABILITIES
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store
from tests.support import stores
from tests.support.fake_provider import FakeProvider
from tests.support.stores import FakeClock

STATES = (NodeState.READY, NodeState.DRAINING, NodeState.LOST, NodeState.TERMINATED)
GRACE_S = 4 * 45


class World:
    """A gateway with nodes of a provider that it has, of one that it has not any more, and of this machine."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.shards = ShardLeases(LeaseManager(store, clock=clock), 1e9, clock)
        self.silent = self.begin()

    def begin(self) -> SilentClusters:
        """As after a start."""
        local = FakeProvider("local", replace(CAPABILITIES, kind="local"))
        registry = ProviderRegistry({"cloud": FakeProvider("cloud", CAPABILITIES), "local": local}, clock=self.clock)
        return SilentClusters(self.store, self.shards, registry, self.clock, interval_s=15.0, actor="test")

    async def look(self, *, after_s: float) -> dict[str, NodeState]:
        """The states of the nodes after so much time, in which it looks every minute."""
        end = self.clock.now + after_s
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 60)
            await self.silent.look()
        return {node.provider_instance_id: node.state for node in self.store.index.all(Node)}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    async with await Store.open(stores.sqlite_url(tmp_path / "test.db"), clock=clock) as store:
        made = World(store, clock)
        await made.shards.turn(lambda: None)
        for provider in ("cloud", "removed", "local"):
            pool = await stores.add_pool(store, provider=provider)
            for state in STATES:
                fields = {"provider": provider, "provider_instance_id": f"{provider} {state}", "state": state}
                async with store.write(actor="test") as tx:
                    await tx.insert(stores.node(pool.id, managed=True, last_heartbeat_at=clock.now, **fields))
        yield made


AS_THEY_WERE = {f"{provider} {state}": state for provider in ("cloud", "removed", "local") for state in STATES}
DOUBTED = {
    f"{provider} {state}": NodeState.UNHEALTHY
    for provider in ("cloud", "removed")
    for state in (NodeState.READY, NodeState.DRAINING)
}


async def test_nodes_that_were_not_told_of_for_an_hour_are_unhealthy_and_say_since_when(world: World) -> None:
    assert await world.look(after_s=SILENT_S - 1) == AS_THEY_WERE
    assert await world.look(after_s=1) == AS_THEY_WERE | DOUBTED
    assert await world.look(after_s=SILENT_S) == AS_THEY_WERE | DOUBTED
    (node,) = [one for one in world.store.index.all(Node) if one.provider_instance_id == "removed READY"]
    events, _ = await world.store.list_events("node", node.id, limit=10)
    newest, older = events[0], events[1:]
    assert (newest.type, newest.reason) == ("WARNING", "NODE_UNHEALTHY")
    assert "NODE_UNHEALTHY" not in {event.reason for event in older}, "it is said once"
    assert newest.message == "READY -> UNHEALTHY: its cluster was not heard of since 2027-01-15T08:00:00+00:00"


async def test_one_that_is_heard_of_stays_as_it_is(world: World) -> None:
    await world.look(after_s=SILENT_S - 1)
    for node in world.store.index.all(Node):
        world.store.beat(node.id, last_heartbeat_at=world.clock.now)
    assert await world.look(after_s=SILENT_S - 1) == AS_THEY_WERE


@pytest.mark.parametrize("how", ["began", "slept", "had no lease"])
async def test_a_gateway_that_did_not_ask_holds_no_silence_against_anybody(world: World, how: str) -> None:
    if how == "had no lease":
        await world.shards.close()
        assert await world.look(after_s=2 * SILENT_S) == AS_THEY_WERE
        await world.shards.turn(lambda: None)
    else:
        world.clock.now += 2 * SILENT_S
    if how == "began":
        world.silent = world.begin()
    assert await world.look(after_s=GRACE_S - 1) == AS_THEY_WERE
    assert await world.look(after_s=61) == AS_THEY_WERE | DOUBTED
