# pyright: reportPrivateUsage=false
"""Heartbeats: seen at once, on disk within a second, never undone by a writer that loaded the node before."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest

from orchestration.store.beats import BATCH
from orchestration.store.errors import StoreUnavailableError
from orchestration.store.group import CommitGroup
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store
from tests.support.stores import FakeClock, add_pool, eventually, node


async def add_node(store: Store, **fields: object) -> Node:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        return await tx.insert(node(parent.id, **fields))


def known(store: Store, node_id: str) -> Node:
    found = store.index.get(Node, node_id)
    assert found is not None
    return found


async def test_a_beat_is_seen_at_once_and_is_no_change(store: Store) -> None:
    one = await add_node(store)
    with store.index.subscribe() as changes:
        store.beat(one.id, last_heartbeat_at=5.0, sequence=7, telemetry={"load": 0.5})
        assert changes.take() == []
    expected = dataclasses.replace(one, last_heartbeat_at=5.0, sequence=7, telemetry={"load": 0.5})
    assert store.index.get(Node, one.id) == expected


async def test_a_beat_is_on_disk_soon(store: Store, url: str) -> None:
    """A process that is killed loses no more; ``reader`` stands for the one that comes after it."""
    one = await add_node(store)
    begin = time.monotonic()
    store.beat(one.id, last_heartbeat_at=5.0)
    while True:
        async with await Store.open(url) as reader:
            if known(reader, one.id).last_heartbeat_at == 5.0:
                break
        assert time.monotonic() - begin < 10, "never written"


async def test_closing_writes_beats(url: str) -> None:
    async with await Store.open(url) as store:
        one = await add_node(store)
        store.beat(one.id, last_heartbeat_at=5.0, health_score=50.0)
    async with await Store.open(url) as reopened:
        assert reopened.index.get(Node, one.id) == dataclasses.replace(one, last_heartbeat_at=5.0, health_score=50.0)


async def test_a_writer_does_not_undo_a_beat(store: Store, url: str) -> None:
    one = await add_node(store, last_heartbeat_at=1.0)
    store.beat(one.id, last_heartbeat_at=5.0)
    await store.flush_beats()
    async with store.write(actor="test") as tx:
        lost = await tx.update(dataclasses.replace(one, state=NodeState.LOST))
        store.beat(one.id, last_heartbeat_at=6.0)
    assert (lost.state, lost.last_heartbeat_at) == (NodeState.LOST, 5.0)
    assert known(store, one.id) == dataclasses.replace(lost, last_heartbeat_at=6.0)
    await store.flush_beats()
    async with await Store.open(url) as reopened:
        assert known(reopened, one.id) == known(store, one.id)


async def test_a_new_incarnation_begins_anew(store: Store) -> None:
    one = await add_node(store, incarnation=1)
    store.beat(one.id, last_heartbeat_at=9.0, sequence=100)
    async with store.write(actor="test") as tx:
        reborn = dataclasses.replace(one, incarnation=2, sequence=1, last_heartbeat_at=8.0)
        await tx.update(reborn)
    assert (known(store, one.id).sequence, known(store, one.id).last_heartbeat_at) == (1, 8.0)


async def test_another_process_hears_of_beats(store: Store, other: Store, clock: FakeClock) -> None:
    one = await add_node(store)
    await eventually(lambda: other.index.get(Node, one.id) is not None)
    store.beat(one.id, last_heartbeat_at=clock.now, health_score=5.0)
    await eventually(lambda: known(other, one.id).last_heartbeat_at == clock.now)
    assert known(other, one.id).health_score == 5.0


async def test_beats_of_many_nodes_are_written_together(store: Store, url: str, clock: FakeClock) -> None:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        nodes = [await tx.insert(node(parent.id)) for _ in range(500)]
    for number, one in enumerate(nodes):
        store.beat(one.id, last_heartbeat_at=1.0 + number)
    await store.flush_beats()
    async with await Store.open(url) as reopened:
        assert [n.last_heartbeat_at for n in reopened.index.all(Node)] == [1.0 + number for number in range(500)]


async def test_a_flush_that_fails_is_made_up_for(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await add_node(store)
    store.beat(one.id, last_heartbeat_at=5.0)

    async def fail(*_: object) -> None:
        raise StoreUnavailableError("DISK_FULL", "full")

    with monkeypatch.context() as patch:
        patch.setattr(store._writer, "_begin", fail)
        with pytest.raises(StoreUnavailableError):
            await store.flush_beats()
    await store.flush_beats()
    async with await Store.open(url) as reopened:
        assert known(reopened, one.id).last_heartbeat_at == 5.0


async def many(store: Store, count: int) -> list[Node]:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        return [await tx.insert(node(parent.id)) for _ in range(count)]


async def test_whoever_else_writes_does_not_wait_for_the_beats_of_all_nodes(store: Store) -> None:
    for one in await many(store, 8 * BATCH):
        store.beat(one.id, last_heartbeat_at=5.0)
    flushing = asyncio.create_task(store.flush_beats())
    await asyncio.sleep(0)  # it is the first to write
    await add_pool(store)
    assert not flushing.done()
    await flushing


async def test_of_a_flush_that_fails_midway_the_rest_is_made_up_for(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = await many(store, 3 * BATCH)
    for one in nodes:
        store.beat(one.id, last_heartbeat_at=5.0)
    begin, begun = store._writer._begin, 0

    async def fail_at_the_second() -> CommitGroup:
        nonlocal begun
        begun += 1
        if begun == 2:
            raise StoreUnavailableError("DISK_FULL", "full")
        return await begin()

    with monkeypatch.context() as patch:
        patch.setattr(store._writer, "_begin", fail_at_the_second)
        with pytest.raises(StoreUnavailableError):
            await store.flush_beats()
        assert store._beats._behind == {one.id for one in sorted(nodes, key=lambda item: item.id)[BATCH:]}
    await store.flush_beats()
    async with await Store.open(url) as reopened:
        assert {one.last_heartbeat_at for one in reopened.index.all(Node)} == {5.0}


async def test_beats_of_the_unknown(store: Store) -> None:
    store.beat("gone", last_heartbeat_at=1.0)
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="pool_id"):
        store.beat("gone", pool_id="x")


async def test_a_heartbeat_from_before_the_clock_was_set_back_does_not_silence_those_after_it(
    url: str, clock: FakeClock
) -> None:
    async with await Store.open(url, clock=clock) as store:
        one = await add_node(store)
        store.beat(one.id, last_heartbeat_at=clock.now)
    clock.now -= 3600
    async with await Store.open(url, clock=clock) as store:
        assert known(store, one.id).last_heartbeat_at == clock.now, "it is held to be of now"
        clock.now += 10
        store.beat(one.id, last_heartbeat_at=clock.now)
        async with await Store.open(url, clock=clock) as other:
            await store.flush_beats()
            await eventually(lambda: known(other, one.id).last_heartbeat_at == clock.now)
    heard_at = clock.now
    clock.now += 10
    async with await Store.open(url, clock=clock) as reopened:
        assert known(reopened, one.id).last_heartbeat_at == heard_at, "on disk too"


async def test_another_process_ahead_does_not_hide_heartbeats(store: Store, other: Store, clock: FakeClock) -> None:
    """One gateway's clock is an hour ahead: what it heard counts as heard now, and hides nothing that comes after."""
    one, two = await add_node(store), await add_node(store)
    await eventually(lambda: other.index.get(Node, two.id) is not None)
    store.beat(one.id, last_heartbeat_at=clock.now + 3600)
    await eventually(lambda: known(other, one.id).last_heartbeat_at == clock.now)
    clock.now += 30
    store.beat(two.id, last_heartbeat_at=clock.now)
    await eventually(lambda: known(other, two.id).last_heartbeat_at == clock.now)


@pytest.mark.parametrize("counted", [True, False])
async def test_processes_whose_clocks_differ_hear_of_each_others_heartbeats(
    store: Store, url: str, clock: FakeClock, *, counted: bool
) -> None:
    """A heartbeat was heard when it is seen to have come, whatever the clock says of whoever heard it."""
    quick, slow = await add_node(store), await add_node(store)
    behind = FakeClock(clock.now - 30)
    async with await Store.open(url, clock=behind) as other:
        for number in range(1, 4):
            for moved in (clock, behind):
                moved.now += 20
            sequence = {"sequence": number} if counted else {}
            store.beat(quick.id, last_heartbeat_at=clock.now, **sequence)
            other.beat(slow.id, last_heartbeat_at=behind.now, **sequence)
            await eventually(lambda: known(store, slow.id).last_heartbeat_at == clock.now)
            await eventually(lambda: known(other, quick.id).last_heartbeat_at >= behind.now)


async def test_a_node_that_goes_to_a_gateway_whose_clock_is_behind_is_heard_of(
    store: Store, url: str, clock: FakeClock
) -> None:
    one = await add_node(store)
    behind = FakeClock(clock.now - 30)
    async with await Store.open(url, clock=behind) as other:
        store.beat(one.id, sequence=1, last_heartbeat_at=clock.now)
        await eventually(lambda: known(other, one.id).sequence == 1)
        for moved in (clock, behind):
            moved.now += 10
        other.beat(one.id, sequence=2, last_heartbeat_at=behind.now)
        await eventually(lambda: known(store, one.id).last_heartbeat_at == clock.now)
        assert known(store, one.id).sequence == 2


async def test_one_stamp_of_the_future_is_one_heartbeat(store: Store, other: Store, clock: FakeClock) -> None:
    """A node that died is not heard of at every look because its last heartbeat bears a time that is to come."""
    one, two = await add_node(store), await add_node(store)
    await eventually(lambda: other.index.get(Node, two.id) is not None)
    store.beat(one.id, last_heartbeat_at=clock.now + 3600)
    await eventually(lambda: known(other, one.id).last_heartbeat_at == clock.now)
    died_at = clock.now
    for _ in range(2):
        clock.now += 30
        store.beat(two.id, last_heartbeat_at=clock.now)
        await eventually(lambda: known(other, two.id).last_heartbeat_at == clock.now)
    assert known(other, one.id).last_heartbeat_at == died_at


async def test_a_change_of_a_node_is_no_heartbeat(store: Store, url: str, clock: FakeClock) -> None:
    one = await add_node(store, last_heartbeat_at=clock.now)
    behind = FakeClock(clock.now - 30)
    async with await Store.open(url, clock=behind) as other:
        await other.follower.read_liveness()
        heard_at = known(other, one.id).last_heartbeat_at
        for moved in (clock, behind):
            moved.now += 100
        async with other.write(actor="test") as tx:
            await tx.update(dataclasses.replace(known(other, one.id), state=NodeState.LOST))
        await eventually(lambda: known(store, one.id).state is NodeState.LOST)
        await store.follower.read_liveness()
        assert known(store, one.id).last_heartbeat_at == heard_at


async def test_a_later_heartbeat_here_is_not_undone_by_an_earlier_one_on_disk(store: Store, clock: FakeClock) -> None:
    one = await add_node(store)
    await store.follower.read_liveness()
    store.beat(one.id, sequence=1, last_heartbeat_at=clock.now, health_score=1.0)
    await store.flush_beats()
    store.beat(one.id, sequence=2, last_heartbeat_at=clock.now, health_score=2.0)
    clock.now += 5
    await store.follower.read_liveness()
    assert (known(store, one.id).sequence, known(store, one.id).health_score) == (2, 2.0)


async def test_a_row_that_is_older_than_what_is_shown_is_no_heartbeat_at_the_first_look(
    store: Store, clock: FakeClock
) -> None:
    one = await add_node(store, last_heartbeat_at=clock.now - 50)
    store.beat(one.id, last_heartbeat_at=clock.now - 20)
    await store.follower.read_liveness()
    assert known(store, one.id).last_heartbeat_at == clock.now - 20


async def test_a_heartbeat_of_a_clock_ahead_is_of_now_at_the_first_look(store: Store, clock: FakeClock) -> None:
    one = await add_node(store, last_heartbeat_at=clock.now - 50)
    store.beat(one.id, last_heartbeat_at=clock.now + 3600)
    await store.follower.read_liveness()
    assert known(store, one.id).last_heartbeat_at == clock.now
