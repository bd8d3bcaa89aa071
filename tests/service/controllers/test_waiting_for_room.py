"""Replicas without a place: woken where room may have come, and told of it without holding anybody up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.controllers.room import Room
from orchestration.store.records import Change, Node, NodeState, Pool, Record, Replica, ReplicaState
from orchestration.store.transaction import Transaction
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing


class World:
    """Two pools with a node of one GPU each, and another on what a market offers."""

    def __init__(self, parts: Placing, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts = parts
        self.room = Room(parts.store.index)
        self.writes = 0
        write = parts.store.write

        def counted(**fields: Any) -> AbstractAsyncContextManager[Transaction]:
            self.writes += 1
            return write(**fields)

        monkeypatch.setattr(parts.store, "write", counted)

    async def node(self, pool_id: str, **fields: Any) -> Node:
        described = {"provider": "nodes", "gpu_total": 1, "gpu_type": "A100", **fields}
        async with self.parts.store.write(actor="test") as tx:
            return await tx.insert(stores.node(pool_id, **described))

    async def waiting(self, *pool_ids: str) -> str:
        (replica_id,) = await add_deployment(self.parts.store, *pool_ids)
        return replica_id

    async def change(self, record: Record, **fields: Any) -> None:
        async with self.parts.store.write(actor="test") as tx:
            current = await tx.get(type(record), record.id)
            assert current is not None
            await tx.update(replace(current, **fields))

    def hear(self, record: Record, parent: str = "", *, gone: bool = False) -> list[str]:
        """Who is woken by a change of the record."""
        change = Change(revision=0, kind=record.kind, id=record.id, tombstone=gone, parent=parent)
        match record:
            case Node():
                self.room.node_changed(change)
            case Replica():
                self.room.replica_changed(change)
            case _:
                self.room.pool_changed(record.id)
        return self.room.take()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    market = Cloud("market")
    market.offer("m1", 2.0, count=1)
    async with placing(tmp_path, Cloud("nodes", nodes=True), market) as parts:
        for name, provider in {"a": "nodes", "b": "nodes", "m": "market", "n": "market"}.items():
            await stores.add_pool(parts.store, id=name, name=name, provider=provider)
        yield World(parts, monkeypatch)


async def test_a_node_wakes_those_who_name_its_pool_when_it_brings_room(world: World) -> None:
    in_a, falls_back, _in_b = [await world.waiting(*pools) for pools in (("a",), ("b", "a"), ("b",))]
    node = await world.node("a")
    assert world.hear(node) == [in_a, falls_back]
    assert world.hear(node) == [], "nothing of it has changed"
    await world.change(node, state=NodeState.UNHEALTHY)
    assert world.hear(node) == []
    await world.change(node, state=NodeState.READY)
    assert world.hear(node) == [in_a, falls_back], "it is usable again"
    await world.change(node, gpu_total=2)
    assert world.hear(node) == [in_a, falls_back], "it is larger"
    async with world.parts.store.write(actor="test") as tx:
        current = await tx.get(Node, node.id)
        assert current is not None
        await tx.delete(current)
    assert world.hear(node, "a", gone=True) == []


async def test_a_place_that_is_given_back_wakes_those_who_name_its_pool(world: World) -> None:
    await world.node("a")
    placed = await world.parts.start(await world.waiting("a"))
    in_a, _in_b = await world.waiting("a"), await world.waiting("b")
    assert world.hear(placed) == [], "it has only got its place"
    await world.parts.lose(placed.id)
    assert world.hear(placed) == [in_a]
    assert world.hear(placed) == [], "it has none to give back any more"


@pytest.mark.parametrize("seen", [True, False])
async def test_a_replica_that_is_gone_gives_its_place_back(world: World, seen: bool) -> None:
    await world.node("a")
    placed = await world.parts.start(await world.waiting("a", "b"))
    in_a, in_b = await world.waiting("a"), await world.waiting("b")
    if seen:
        world.hear(placed)
    async with world.parts.store.write(actor="test") as tx:
        await tx.delete(world.parts.replica(placed.id))
    woken = world.hear(placed, placed.deployment_id, gone=True)
    assert woken == ([in_a] if seen else [in_a, in_b]), "where it was is known only to who saw it there"


@pytest.mark.parametrize("shown", [False, True])
async def test_what_was_rented_is_room_in_every_pool_of_the_provider(world: World, shown: bool) -> None:
    if shown:  # a cluster's node, that nothing is placed by
        await world.node("m", provider="market", managed=True)
    placed = await world.parts.start(await world.waiting("m"))
    in_n, _in_a = await world.waiting("n"), await world.waiting("a")
    world.hear(placed)
    await world.parts.lose(placed.id)
    assert world.hear(placed) == [in_n]


async def test_a_pool_that_changes_wakes_those_who_name_it(world: World) -> None:
    in_a, _in_b = await world.waiting("a"), await world.waiting("b")
    pool = world.parts.store.index.get(Pool, "a")
    assert pool is not None
    assert world.hear(pool) == [in_a]


async def test_a_look_that_finds_nothing_new_writes_nothing(world: World) -> None:
    await world.node("a")
    await world.parts.start(await world.waiting("a"))
    replica = await world.waiting("a")
    told = await world.parts.place(replica)
    assert (told.state, told.reason) == (ReplicaState.PENDING, "NO_FREE_GPUS")
    world.writes = 0
    for _ in range(3):
        assert await world.parts.place(replica) == told
    assert world.writes == 0, "looks that change nothing hold up every other writer"
    await world.node("a")
    assert (await world.parts.place(replica)).state is ReplicaState.PROVISIONING
    assert world.writes > 0


async def test_the_view_is_made_again_only_when_placement_would_see_another(world: World) -> None:
    node = await world.node("a")
    replica = await world.waiting("a")
    views, index = world.parts.views, world.parts.store.index
    before = views.look("a")
    index.replace_liveness(replace(node, last_heartbeat_at=1.0, health_score=50.0))
    assert views.look("a") is before
    index.replace_liveness(replace(node, last_heartbeat_at=2.0, gpu_reported=1))
    reported = views.look("a")
    assert reported is not None
    assert reported is not before
    assert [place.gpu_free for place in reported.places] == [0]
    index.replace_liveness(replace(node, last_heartbeat_at=3.0))
    await world.parts.place(replica)
    placed = views.look("a")
    assert placed is not None
    assert placed.total.gpus == 1
    await world.change(world.parts.replica(replica), state=ReplicaState.READY)
    assert views.look("a") is placed
