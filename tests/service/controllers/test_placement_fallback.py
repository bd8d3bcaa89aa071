"""A replica goes to the next pool that has room, whenever the first one loses its own, and to the first one again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.store.records import Node, NodeState, Pool, Replica, ReplicaState
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing


class World:
    """A pool of nodes, and pools on what a marketplace offers."""

    def __init__(self, parts: Placing, nodes: Cloud, market: Cloud) -> None:
        self.parts = parts
        self.nodes = nodes
        self.market = market

    async def pool(self, name: str, cloud: Cloud, **fields: Any) -> str:
        await stores.add_pool(self.parts.store, id=name, name=name, provider=cloud.name, **fields)
        return name

    async def node(self, pool_id: str, **fields: Any) -> Node:
        described = {"provider": "nodes", "gpu_total": 1, "gpu_type": "A100", "price_per_hour": 1.0, **fields}
        async with self.parts.store.write(actor="test") as tx:
            return await tx.insert(stores.node(pool_id, **described))

    async def change(self, record: Node | Pool, **fields: Any) -> None:
        async with self.parts.store.write(actor="test") as tx:
            current = await tx.get(type(record), record.id)
            assert current is not None
            await tx.update(replace(current, **fields))

    async def replica(self, *pool_ids: str, **fields: Any) -> str:
        (replica_id,) = await add_deployment(self.parts.store, *pool_ids, **fields)
        return replica_id


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    nodes, market = Cloud("nodes", nodes=True), Cloud("market")
    market.offer("m1", 2.0)
    async with placing(tmp_path, nodes, market) as parts:
        yield World(parts, nodes, market)


def where(replica: Replica) -> tuple[str, str, str]:
    return (replica.state, replica.pool_id, replica.resource_id)


STARTED = ReplicaState.STARTING


async def test_a_node_is_named_to_the_provider_and_an_offer_likewise(world: World) -> None:
    first = await world.pool("first", world.nodes, region_constraint=("EU",))
    node = await world.node(first, region="eu", gpu_type="NVIDIA A100")
    second = await world.pool("second", world.market)
    one, other = await world.replica(first), await world.replica(second)
    await world.parts.start(one)
    await world.parts.start(other)
    (on_node,) = world.nodes.specs.values()
    assert (on_node.node, on_node.resource_id, on_node.regions) == (node.provider_instance_id, "", ("EU",))
    assert on_node.gpu_types == ("a100",)
    (on_offer,) = world.market.specs.values()
    assert (on_offer.node, on_offer.resource_id, on_offer.pricing_model) == ("", "m1", "on_demand")


async def test_a_lost_node_s_replica_goes_to_the_next_pool_and_comes_back_with_the_capacity(world: World) -> None:
    first = await world.pool("first", world.nodes)
    node = await world.node(first)
    second = await world.pool("second", world.market)
    replica = await world.replica(first, second)
    assert where(await world.parts.start(replica)) == (STARTED, "first", "")
    await world.change(node, state=NodeState.LOST)
    await world.parts.lose(replica)
    assert where(await world.parts.start(replica)) == (STARTED, "second", "m1")
    await world.change(node, state=NodeState.READY)
    await world.parts.lose(replica, "EXITED")
    assert where(await world.parts.start(replica)) == (STARTED, "first", "")


async def test_an_offer_that_is_full_is_passed_over_for_the_next_one_in_the_same_pool(world: World) -> None:
    world.market.offer("m2", 3.0)
    await world.parts.providers.offers.refresh()
    first = await world.pool("first", world.market)
    replica = await world.replica(first, await world.pool("second", world.market))
    world.market.full = {"m1"}
    assert where(await world.parts.start(replica)) == (ReplicaState.PENDING, "", "")
    assert where(await world.parts.start(replica)) == (STARTED, "first", "m2")


async def test_the_next_pool_is_tried_when_the_first_is_full_and_then_the_first_again(world: World) -> None:
    first = await world.pool("first", world.nodes)
    node = await world.node(first)
    replica = await world.replica(first, await world.pool("second", world.market))
    world.nodes.full = {node.provider_instance_id}
    world.market.full = {"m1"}
    assert (await world.parts.start(replica)).message.endswith("is full")
    assert (await world.parts.start(replica)).message == "m1 is full"
    world.nodes.full.clear()
    found = await world.parts.start(replica)
    assert where(found) == (STARTED, "first", "")
    assert (found.attempt, found.restarts) == (1, 0), "what never ran was no attempt"


@pytest.mark.parametrize("fields", [{"enabled": False}, {"max_cost_per_hour": 0.5}, {"region_constraint": ("us",)}])
async def test_a_pool_that_takes_nothing_any_more_is_passed_over(world: World, fields: dict[str, Any]) -> None:
    first = await world.pool("first", world.nodes)
    await world.node(first)
    replica = await world.replica(first, await world.pool("second", world.market))
    await world.parts.start(replica)
    pool = world.parts.views.pool("first")
    assert pool is not None
    await world.change(pool, **fields)
    assert world.parts.replica(replica).state is STARTED, "what runs is left alone"
    await world.parts.lose(replica)
    assert where(await world.parts.start(replica)) == (STARTED, "second", "m1")


async def test_offers_that_are_gone_send_the_replica_on(world: World) -> None:
    first = await world.pool("first", world.market)
    second = await world.pool("second", world.nodes)
    await world.node(second)
    replica = await world.replica(first, second)
    assert where(await world.parts.start(replica)) == (STARTED, "first", "m1")
    world.market.offers.clear()
    await world.parts.providers.offers.refresh()
    await world.parts.lose(replica)
    assert where(await world.parts.start(replica)) == (STARTED, "second", "")


async def test_a_replica_that_waits_is_told_what_every_pool_said(world: World) -> None:
    first = await world.pool("first", world.nodes)
    replica = await world.replica(first, await world.pool("second", world.market), gpu_per_replica=2)
    waiting = await world.parts.place(replica)
    assert (waiting.state, waiting.reason) == (ReplicaState.PENDING, "NO_NODES")
    assert "pool 'first' has no nodes yet; gpu_per_replica 2 is more than the 1 GPUs of offer 'm1'" in waiting.message


async def test_numbers_that_change_while_it_waits_are_no_events(world: World) -> None:
    first = await world.pool("first", world.market, max_cost_per_hour=2.0)
    blocking, waiting = await world.replica(first), await world.replica(first)
    await world.parts.start(blocking)
    messages = {(await world.parts.place(waiting)).message}
    world.market.offer("m1", 1.5)
    await world.parts.providers.offers.refresh()
    messages.add((await world.parts.place(waiting)).message)
    assert len(messages) == 2
    events, _ = await world.parts.store.list_events("deployment", world.parts.replica(waiting).deployment_id, limit=10)
    assert [event.reason for event in events].count("REPLICA_WAITING") == 1
