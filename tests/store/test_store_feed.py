# pyright: reportPrivateUsage=false
"""The change feed in memory: nothing is missed, nothing waits for a slow reader, nothing grows without bound."""

from __future__ import annotations

import asyncio
import math

import pytest

from orchestration.store.feed import RING_SIZE, Feed
from orchestration.store.records import Change


def change(revision: int, id: str = "", *, kind: str = "pool", tombstone: bool = False) -> Change:  # noqa: A002
    return Change(revision=revision, kind=kind, id=id or f"r{revision}", tombstone=tombstone)


def publish(feed: Feed, *changes: Change) -> None:
    feed.publish(changes, changes[-1].revision)


def test_a_batch_has_the_last_change_of_each_record() -> None:
    feed = Feed()
    with feed.subscribe(None) as subscription:
        publish(feed, change(1, "a"), change(2, "b"))
        publish(feed, change(3, "a", tombstone=True))
        assert subscription.take() == [change(2, "b"), change(3, "a", tombstone=True)]
        assert subscription.take() == []


def test_a_subscription_begins_with_the_next_change_and_takes_its_kinds_only() -> None:
    feed = Feed()
    publish(feed, change(1))
    with feed.subscribe({"node"}) as subscription:
        publish(feed, change(2), change(3, kind="node"))
        assert subscription.take() == [change(3, kind="node")]


def test_one_that_falls_behind_misses_no_record_and_stays_small() -> None:
    feed = Feed()
    with feed.subscribe({"pool"}) as slow, feed.subscribe(None) as fresh:
        publish(feed, change(1, "gone", tombstone=True), change(2, "other", kind="node"))
        for revision in range(3, 4 * RING_SIZE):
            publish(feed, change(revision, f"r{revision % 10}"))
            if revision == 2 * RING_SIZE:
                fresh.take()
        assert len(slow._behind) <= 11
        assert len(feed._changes) < 1.1 * RING_SIZE
        batch = slow.take()
        assert batch[0] == change(1, "gone", tombstone=True)
        assert {c.id for c in batch[1:]} == {f"r{n}" for n in range(10)}
        assert [c.revision for c in batch[1:]] == list(range(4 * RING_SIZE - 10, 4 * RING_SIZE))
        assert {c.id for c in fresh.take()} == {f"r{n}" for n in range(10)}


def test_changes_after_a_revision() -> None:
    feed = Feed()
    feed.load([change(11, "a"), change(12, "b"), change(14, "a")], floor=10, revision=15)
    both = {"pool"}
    assert feed.changes_after(10, both) == [change(12, "b"), change(14, "a")]
    assert feed.changes_after(12, both) == [change(14, "a")]
    assert feed.changes_after(12, {"node"}) == []
    assert feed.changes_after(15, both) == []
    assert feed.changes_after(9, both) is None, "too far back"
    assert feed.changes_after(16, both) is None, "never given out"
    for revision in range(16, 16 + 2 * RING_SIZE):
        publish(feed, change(revision))
    assert feed.changes_after(15, both) is None
    kept = feed.changes_after(feed.revision - RING_SIZE, both)
    assert kept is not None
    assert len(kept) == RING_SIZE


async def test_waiting_ends_with_a_change_of_the_kind_or_with_closing() -> None:
    feed = Feed()
    with feed.subscribe({"node"}) as subscription:
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        publish(feed, change(1))
        await asyncio.sleep(0)
        assert not waiting.done(), "a change of another kind"
        publish(feed, change(2, kind="node"))
        assert await waiting == [change(2, kind="node")]
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await waiting
    subscription.close()
    assert [batch async for batch in subscription] == []
    assert not feed._subscriptions
    assert not any(feed._waiting.values())


async def test_a_cancelled_reader_leaves_no_trace() -> None:
    feed = Feed()
    with feed.subscribe(None) as subscription:
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not any(feed._waiting.values())
        publish(feed, change(1))
        assert await anext(subscription) == [change(1)], "a change during the absence is not lost"


async def test_many_idle_subscriptions_cost_a_writer_little() -> None:
    """Ratio of the cost of a change with 10,000 subscribers of another kind to that with none."""

    def cost(feed: Feed, start: int) -> float:
        clock = asyncio.get_running_loop().time
        begin = clock()
        for revision in range(start, start + 2_000):
            publish(feed, change(revision))
        return clock() - begin

    bare, busy = Feed(), Feed()
    idle = [busy.subscribe({"node"}) for _ in range(10_000)]
    waiting = [asyncio.create_task(anext(subscription)) for subscription in idle]
    await asyncio.sleep(0)
    least_busy = least_bare = math.inf
    for attempt in range(15):  # the least of each: what else runs here makes some of them dearer
        least_busy = min(least_busy, cost(busy, 1 + attempt * 2_000))
        least_bare = min(least_bare, cost(bare, 1 + attempt * 2_000))
        if attempt >= 2 and least_busy < 5 * least_bare:
            break
    for subscription in idle:
        subscription.close()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert least_busy < 5 * least_bare
