"""The nodes of clusters in the inventory: their whole life, on a real store with a clock of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.controllers.cluster_nodes import ClusterNodeController
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.providers.base import ProviderUnavailableError
from orchestration.service.providers.inventory import ClusterNode, ClusterNodes, ClusterNodeState, NodeScope
from orchestration.service.providers.kubernetes import CAPABILITIES
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.cluster_nodes import RETENTION_S
from orchestration.service.usecases.pools import remove_pool
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Node, NodeState, Pool, PoolState
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from tests.support import stores
from tests.support.fake_provider import FakeProvider
from tests.support.stores import FakeClock

READY, CLOSED, TROUBLED, DEAD = ClusterNodeState


class Told(FakeProvider):
    """Tells the nodes that a test gave it."""

    def __init__(self) -> None:
        super().__init__("cloud", CAPABILITIES)
        self.clusters: dict[str, dict[str, ClusterNode]] = {"east": {}}
        self.errors: dict[str, str] = {}
        self.away = ""
        self.asked: list[NodeScope] = []

    def tell(self, *names: str, cluster: str = "east", **fields: Any) -> None:
        """These nodes are so."""
        described: dict[str, Any] = {"gpu_type": "H100", "gpu_total": 8, **fields}
        for name in names:
            self.clusters[cluster][name] = ClusterNode(node_id=name, **described)

    async def list_nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        """The nodes of the cluster that the pool names, or of all."""
        self.asked.append(scope)
        if self.away:
            raise ProviderUnavailableError(self.away)
        wanted = [name for name in self.clusters if scope.provider_pool_id in {"", name}]
        return [
            ClusterNodes(cluster=name, error=self.errors[name])
            if name in self.errors
            else ClusterNodes(cluster=name, nodes=tuple(self.clusters[name].values()))
            for name in wanted
        ]


class World:
    """A gateway with one pool of such a provider."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.cloud = Told()
        self.writes = 0
        self.shards = ShardLeases(LeaseManager(store, clock=clock), 1e9, clock)
        self.controller = self.new_controller()

    def new_controller(self) -> ClusterNodeController:
        providers = ProviderRegistry({"cloud": self.cloud}, clock=self.clock)
        return ClusterNodeController(self.store, self.shards, providers, self.clock, interval_s=3600.0)

    async def round(self, *, after_s: float = 15.0) -> dict[str, Node]:
        """One round; the nodes of pool p by what their cluster calls them."""
        self.clock.now += after_s
        self.writes = 0
        assert await self.controller.sync("cloud")
        return self.nodes()

    def nodes(self, pool_id: str = "p") -> dict[str, Node]:
        found = self.store.index.find(Node, pool_id=pool_id)
        return {node.provider_instance_id.split("/")[-2]: node for node in found}

    async def reasons(self, node: Node) -> list[str]:
        events, _ = await self.store.list_events("node", node.id, limit=100)
        return [event.reason for event in reversed(events)]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    clock = FakeClock()
    async with await Store.open(stores.sqlite_url(tmp_path / "test.db"), clock=clock) as store:
        made = World(store, clock)
        await made.shards.turn(lambda: None)
        await stores.add_pool(store, id="p", name="p", provider="cloud")
        write = store.write

        def counted(**fields: Any) -> AbstractAsyncContextManager[Transaction]:
            made.writes += 1
            return write(**fields)

        monkeypatch.setattr(store, "write", counted)
        yield made


async def test_a_node_appears_with_its_numbers_and_keeps_its_id(world: World) -> None:
    world.cloud.tell(
        "a", gpu_used=3, vcpu_total=64.0, vcpu_used=10.0, ram_gb_total=512.0, ram_gb_used=8.0, region="eu", hostname="h"
    )
    (first,) = (await world.round()).values()
    assert (first.state, first.managed, first.provider_instance_id) == (NodeState.READY, True, "east/a/p")
    assert (first.gpu_type, first.gpu_total, first.gpu_reported, first.region) == ("H100", 8, 3, "eu")
    assert (first.vcpu_total, first.vcpu_allocated, first.hostname) == (64.0, 10.0, "h")
    assert (first.ram_gb_total, first.ram_gb_allocated) == (512.0, 8.0)
    assert first.last_heartbeat_at == world.clock.now
    world.controller = world.new_controller()  # as after a start
    assert [node.id for node in (await world.round()).values()] == [first.id]
    assert await world.reasons(first) == ["NODE_REGISTERED"]


async def test_a_round_in_which_nothing_is_new_writes_no_row(world: World) -> None:
    world.cloud.tell("a", "b")
    before = await world.round()
    world.cloud.tell("a", gpu_used=5)
    after = await world.round()
    assert world.writes == 0
    assert [node.revision for node in after.values()] == [node.revision for node in before.values()]
    assert {node.last_heartbeat_at for node in after.values()} == {world.clock.now}
    assert after["a"].gpu_reported == 5
    await world.store.flush_beats()


async def test_what_has_changed_is_written(world: World) -> None:
    world.cloud.tell("a", gpu_total=0, gpu_type="")
    await world.round()
    world.cloud.tell("a", gpu_total=4, gpu_type="L4", region="us")
    node = (await world.round())["a"]
    assert (node.gpu_total, node.gpu_type, node.region, world.writes) == (4, "L4", "us", 1)


@pytest.mark.parametrize(
    ("state", "becomes"),
    [(DEAD, NodeState.LOST), (CLOSED, NodeState.DRAINING), (TROUBLED, NodeState.UNHEALTHY)],
)
async def test_a_node_is_what_its_cluster_says_and_ready_again_when_it_is_back(
    world: World, state: ClusterNodeState, becomes: NodeState
) -> None:
    world.cloud.tell("a", "b")
    before = (await world.round())["a"]
    world.cloud.tell("a", state=state, message="so it is", gpu_total=0)
    after = await world.round()
    assert {name: node.state for name, node in after.items()} == {"a": becomes, "b": NodeState.READY}
    lost = state is DEAD
    assert after["a"].gpu_total == (8 if lost else 0), "of a dead node no numbers are believed"
    assert (after["a"].last_heartbeat_at == before.last_heartbeat_at) is lost
    await world.round()
    assert world.writes == 0
    world.cloud.tell("a")
    back = (await world.round())["a"]
    assert (back.id, back.state, back.gpu_total, back.telemetry) == (before.id, NodeState.READY, 8, {})
    assert await world.reasons(back) == ["NODE_REGISTERED", f"NODE_{becomes}", "NODE_READY"]
    events, _ = await world.store.list_events("node", back.id, limit=100)
    assert "so it is" in events[1].message


async def test_a_node_that_is_not_told_of_any_more_is_lost_and_goes_after_a_day(world: World) -> None:
    world.cloud.tell("a", "b")
    await world.round()
    del world.cloud.clusters["east"]["a"]
    lost = (await world.round())["a"]
    assert lost.state is NodeState.LOST
    assert (await world.round(after_s=RETENTION_S - 1))["a"].state is NodeState.LOST
    assert set(await world.round(after_s=2)) == {"b"}
    assert await world.reasons(lost) == ["NODE_REGISTERED", "NODE_LOST", "NODE_REMOVED"]
    world.cloud.tell("a")
    assert (await world.round())["a"].id != lost.id


async def test_a_node_that_dies_while_its_cluster_is_away_is_lost_for_a_day_from_then_on(world: World) -> None:
    world.cloud.tell("a")
    await world.round()
    world.cloud.away = "it does not answer"
    await world.round(after_s=10 * RETENTION_S)
    world.cloud.away = ""
    world.cloud.tell("a", state=DEAD)
    assert (await world.round())["a"].state is NodeState.LOST
    assert (await world.round(after_s=RETENTION_S - 1))["a"].state is NodeState.LOST
    assert await world.round(after_s=2) == {}


async def test_dead_nodes_that_nobody_knew_and_such_as_are_not_meant_do_not_appear(world: World) -> None:
    world.cloud.tell("dead", state=DEAD)
    world.cloud.tell("control", state=CLOSED, joins=False)
    world.cloud.tell("cordoned", state=CLOSED)
    assert set(await world.round()) == {"cordoned"}
    world.cloud.tell("cordoned", state=CLOSED, joins=False)
    assert (await world.round())["cordoned"].state is NodeState.DRAINING


@pytest.mark.parametrize("whole", [True, False])
async def test_while_a_cluster_is_away_nothing_of_it_changes(world: World, whole: bool) -> None:
    world.cloud.tell("a", "b")
    world.cloud.clusters["west"] = {}
    world.cloud.tell("c", cluster="west")
    before = await world.round()
    if whole:
        world.cloud.away = "nobody answers"
    else:
        world.cloud.errors["east"] = "it does not answer"
    for _ in range(20):
        await world.round(after_s=RETENTION_S)
        assert world.writes == 0
    after = world.nodes()
    assert {after[name] == before[name] for name in "ab"} == {True}, "the last heartbeat tells how old this is"
    assert after["c"].last_heartbeat_at == (before["c"].last_heartbeat_at if whole else world.clock.now)
    world.cloud.away, world.cloud.errors = "", {}
    back = await world.round()
    assert [node.id for node in back.values()] == [node.id for node in before.values()]
    assert {node.last_heartbeat_at for node in back.values()} == {world.clock.now}
    assert world.writes == 0


async def test_pools_of_one_cluster_have_nodes_of_their_own_and_it_is_asked_once(world: World) -> None:
    await stores.add_pool(world.store, id="q", name="q", provider="cloud")
    world.cloud.tell("a")
    await world.round()
    assert len(world.cloud.asked) == 1
    assert world.nodes("p")["a"].id != world.nodes("q")["a"].id
    assert world.nodes("q")["a"].provider_instance_id == "east/a/q"


async def test_names_are_told_apart_whatever_they_hold(world: World) -> None:
    for cluster in ("arn:x/east", "arn:x", "arn:x/east/a"):
        world.cloud.clusters[cluster] = {}
    world.cloud.tell("a", cluster="arn:x/east")
    world.cloud.tell("east/a", "nul\0 half\ud800", cluster="arn:x")
    before = await world.round()
    assert set(before) == {"a", "east%2Fa", "nul%EF%BF%BD%20half%EF%BF%BD"}
    world.cloud.errors["arn:x"] = "it does not answer"
    del world.cloud.clusters["arn:x/east"]["a"]
    after = await world.round()
    assert {name: node.state for name, node in after.items() if node != before[name]} == {"a": NodeState.LOST}


async def test_a_pool_that_means_another_cluster_leaves_the_nodes_of_the_first(world: World) -> None:
    world.cloud.clusters["west"] = {}
    world.cloud.tell("a")
    world.cloud.tell("w", cluster="west")
    assert set(await world.round()) == {"a", "w"}
    async with world.store.write(actor="test") as tx:
        pool = await tx.get(Pool, "p")
        assert pool is not None
        await tx.update(replace(pool, provider_pool_id="west"))
    after = await world.round()
    assert {name: node.state for name, node in after.items()} == {"a": NodeState.TERMINATED, "w": NodeState.READY}
    await world.round()
    assert world.writes == 0
    assert set(await world.round(after_s=RETENTION_S)) == {"w"}


async def test_a_pool_that_goes_takes_its_nodes_along(world: World) -> None:
    world.cloud.tell("a", "b")
    await world.round()
    async with world.store.write(actor="test") as tx:
        pool = await tx.get(Pool, "p")
        assert pool is not None
        pool = await tx.update(replace(pool, state=PoolState.DELETING))
    world.cloud.tell("c")
    assert set(await world.round()) == {"a", "b"}
    async with world.store.write(actor="test") as tx:
        await remove_pool(tx, pool)
    await world.round()
    assert world.store.index.all(Node) == []


async def test_a_gateway_without_the_lease_on_nodes_asks_nobody(world: World) -> None:
    world.cloud.tell("a")
    await world.shards.close()
    assert not await world.controller.sync("cloud")
    assert (world.cloud.asked, world.nodes()) == ([], {})


async def test_a_provider_with_a_defect_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cloud.tell("a")
    before = await world.round()
    monkeypatch.setattr(world.cloud, "clusters", None)
    assert await world.round() == before
    monkeypatch.undo()
    assert (await world.round())["a"].last_heartbeat_at == world.clock.now


async def test_a_round_is_due_when_the_lease_comes_and_when_a_pool_has_changed(world: World) -> None:
    world.cloud.tell("a")
    await world.shards.close()
    rounds = asyncio.create_task(world.controller.run())
    try:
        await world.shards.turn(lambda: None)
        await stores.eventually(lambda: len(world.cloud.asked) == 1, within_s=30)
        world.controller.look_soon()
        await stores.eventually(lambda: len(world.cloud.asked) == 2, within_s=30)
    finally:
        rounds.cancel()


async def test_thousands_of_nodes_are_written_in_batches(world: World) -> None:
    names = [f"n{number}" for number in range(2100)]
    world.cloud.tell(*names)
    assert len(await world.round()) == 2100
    assert world.writes == 5
    world.cloud.tell(*names[:700], state=DEAD)
    found = await world.round()
    assert sum(node.state is NodeState.LOST for node in found.values()) == 700
    assert world.writes == 2
