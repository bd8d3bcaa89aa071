# pyright: reportPrivateUsage=false
"""Commits: shared by many callers, in one order, and visible to other processes."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import replace

import pytest

from orchestration.store.errors import DuplicateError, StaleRecordError, StoreError
from orchestration.store.records import Answer, Deployment, Node, Pool
from orchestration.store.store import Store
from tests.support.stores import FakeClock, add_pool, deployment, eventually, new_id, node, pool


async def test_the_feed_keeps_the_order_of_commits(store: Store, other: Store) -> None:
    parent = await add_pool(store)
    seen: dict[str, list[int]] = {"own": [], "other": []}

    async def watch(name: str, watched: Store) -> None:
        with watched.index.subscribe(kinds={"deployment"}) as changes:
            async for batch in changes:
                for change in batch:
                    assert watched.index.get(Deployment, change.id) is not None, "told before it can be read"
                seen[name] += [change.revision for change in batch]

    async def write(count: int) -> list[int]:
        revisions: list[int] = []
        for _ in range(count):
            async with store.write(actor="test") as tx:
                record = await tx.insert(deployment(parent.id))
            assert store.index.get(Deployment, record.id) == record, "read your writes"
            revisions.append(record.revision)
        return revisions

    watchers = [asyncio.create_task(watch("own", store)), asyncio.create_task(watch("other", other))]
    await asyncio.sleep(0)
    written = await asyncio.gather(*(write(4) for _ in range(64)))
    expected = sorted(revision for revisions in written for revision in revisions)
    assert all(revisions == sorted(revisions) for revisions in written)
    await eventually(lambda: seen["own"] == expected and seen["other"] == expected)
    for watcher in watchers:
        watcher.cancel()
    await asyncio.gather(*watchers, return_exceptions=True)


async def test_one_that_fails_takes_nobody_with_it(store: Store, url: str) -> None:
    parent = await add_pool(store)

    async def write(number: int) -> None:
        async with store.write(actor="test") as tx:
            await tx.insert(deployment(parent.id, id=f"d{number:02}"))
            if number % 3 == 0:
                raise ZeroDivisionError

    results = await asyncio.gather(*(write(number) for number in range(30)), return_exceptions=True)
    kept = [f"d{number:02}" for number in range(30) if number % 3]
    assert [isinstance(result, ZeroDivisionError) for result in results] == [n % 3 == 0 for n in range(30)]
    assert [record.id for record in store.index.all(Deployment)] == kept
    async with await Store.open(url) as reopened:
        assert [record.id for record in reopened.index.all(Deployment)] == kept


async def test_what_was_read_still_holds_at_the_commit(store: Store, other: Store) -> None:
    """A limit that is checked in the transaction holds, whoever else writes, in whichever process."""
    parent = await add_pool(store, max_nodes=5)

    async def join(joined: Store) -> None:
        async with joined.write(actor="test") as tx:
            if len(await tx.select(Node, pool_id=parent.id)) < parent.max_nodes:
                await tx.insert(node(parent.id))

    await asyncio.gather(*(join(which) for which in (store, other) * 10))
    await eventually(lambda: len(other.index.all(Node)) == 5 == len(store.index.all(Node)))
    assert other.index.all(Node) == store.index.all(Node)


async def test_another_process_sees_commits_and_fences_stale_writes(store: Store, other: Store) -> None:
    first = await add_pool(store)
    await eventually(lambda: other.index.get(Pool, first.id) == first)
    async with other.write(actor="other") as tx:
        second = await tx.update(dataclasses.replace(first, max_nodes=3))
    with pytest.raises(StaleRecordError):  # at once, not only after the next poll
        async with store.write(actor="test") as tx:
            await tx.update(dataclasses.replace(first, max_nodes=4))
    assert store.index.get(Pool, first.id) == second
    async with store.write(actor="test") as tx:
        await tx.delete(second)
    await eventually(lambda: other.index.get(Pool, first.id) is None)


async def test_a_process_that_was_away_longer_than_the_feed_reaches(store: Store, url: str, clock: FakeClock) -> None:
    kept, gone = await add_pool(store), await add_pool(store)
    away = await Store.open(url, clock=clock)
    try:
        for task in away._tasks:
            task.cancel()
        async with store.write(actor="test") as tx:
            await tx.delete(gone)
            changed = await tx.update(dataclasses.replace(kept, max_nodes=1))
            new = await tx.insert(pool())
        clock.now += 100_000
        await store.trim()
        with away.index.subscribe() as changes:
            await away.follower.catch_up()
            told = {change.id: change.tombstone for change in changes.take()}
        assert told == {gone.id: True, kept.id: False, new.id: False}
        assert away.index.all(Pool) == [changed, new] == store.index.all(Pool)
        resumed = away.index.changes_after(new.revision - 1, {"pool"})
        assert resumed is not None
        assert {change.id for change in resumed} >= {new.id}
    finally:
        await away.close()


async def test_a_request_is_answered_once(store: Store, other: Store) -> None:
    """Of many that race with one request id, one acts; the others get its answer."""

    async def deploy(through: Store, number: int) -> bytes:
        async with through.write(actor="test") as tx:
            known = await tx.recall("Deploy|acme", "key")
            if known is not None:
                return known.response
            made = await tx.insert(pool())
            answer = Answer(
                scope="Deploy|acme",
                request_id="key",
                digest=b"\x00\xff",
                response=f"{number} {made.id}".encode(),
                created_at=1.0,
            )
            await tx.remember(answer)
            return answer.response

    answers = await asyncio.gather(*(deploy((store, other)[n % 2], n) for n in range(20)))
    assert len(set(answers)) == 1
    await eventually(lambda: len(other.index.all(Pool)) == 1 == len(store.index.all(Pool)))
    async with store.write(actor="test") as tx:
        assert await tx.recall("Deploy|ACME", "key") is None
        known = await tx.recall("Deploy|acme", "key")
        assert known is not None
        assert known.digest == b"\x00\xff"
        with pytest.raises(DuplicateError) as refused:
            await tx.remember(known)
    assert refused.value.constraint == "answer"


@pytest.mark.parametrize("together", [False, True])
async def test_an_answer_that_stands_no_more_is_written_over(store: Store, clock: FakeClock, together: bool) -> None:
    """It need not have been trimmed; it may be from before, or of the same group of transactions."""
    first = Answer(scope="s", request_id="k", digest=b"1", response=b"one", created_at=clock.now)
    second = replace(first, digest=b"2", response=b"two", created_at=clock.now + 100)

    async def remember(answer: Answer) -> None:
        async with store.write(actor="test") as tx:
            await tx.remember(answer, ttl_s=100)

    if together:
        await asyncio.gather(remember(first), remember(second))
    else:
        await remember(first)
        with pytest.raises(DuplicateError):
            await remember(replace(second, created_at=second.created_at - 1))
        await remember(second)
    async with store.write(actor="test") as tx:
        assert await tx.recall("s", "k") == second


async def test_answers_are_forgotten_after_their_time(store: Store, clock: FakeClock) -> None:
    async with store.write(actor="test") as tx:
        await tx.remember(Answer(scope="s", request_id="k", digest=b"", response=b"", created_at=clock.now))
    clock.now += 86_399
    await store.trim()
    async with store.write(actor="test") as tx:
        assert await tx.recall("s", "k") is not None
    clock.now += 2
    await store.trim()
    async with store.write(actor="test") as tx:
        assert await tx.recall("s", "k") is None


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancellation_leaves_all_or_nothing(store: Store, url: str, steps: int) -> None:
    """Whenever it comes: while waiting for the turn, in the block, in a query, or in the commit."""
    parent = await add_pool(store)
    one, two = new_id(), new_id()

    async def write() -> None:
        async with store.write(actor="test") as tx:
            await tx.insert(deployment(parent.id, id=one))
            await tx.recall("scope", "key")
            await tx.insert(deployment(parent.id, id=two))

    victim = asyncio.create_task(write())
    companion = asyncio.create_task(add_pool(store))
    for _ in range(steps):
        await asyncio.sleep(0 if steps < 4 else 0.0005)
    victim.cancel()
    (outcome,) = await asyncio.gather(victim, return_exceptions=True)
    found = [record.id for record in store.index.find(Deployment, id=(one, two))]
    assert found in ([], [one, two])
    assert outcome is not None or found, "completed means durable"
    added = await companion
    assert store.index.get(Pool, added.id) == added
    async with await Store.open(url) as reopened:
        assert reopened.index.all(Deployment) == store.index.all(Deployment)
        assert len(reopened.index.all(Pool)) == 2


async def test_a_waiting_caller_that_gives_up_blocks_nobody(store: Store) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with store.write(actor="holder") as tx:
            await tx.insert(pool())
            entered.set()
            await leave.wait()

    holder = asyncio.create_task(hold())
    await entered.wait()
    waiting = [asyncio.create_task(add_pool(store)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    leave.set()
    await holder
    await waiting[1]
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len(store.index.all(Pool)) == 2


async def test_a_long_transaction_is_told_of(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.store.writer.LONG_TRANSACTION_S", 0.01)
    with caplog.at_level(logging.WARNING, logger="orchestration.store.writer"):
        async with store.write(actor="sleepy"):
            await eventually(lambda: "sleepy" in caplog.text)


async def test_closing_finishes_what_is_under_way(url: str) -> None:
    store = await Store.open(url)
    adding = [asyncio.create_task(add_pool(store)) for _ in range(5)]
    await asyncio.sleep(0)
    await store.close()
    added = await asyncio.gather(*adding)
    with pytest.raises(StoreError, match="closed"):
        await add_pool(store)
    async with await Store.open(url) as reopened:
        assert {p.id for p in reopened.index.all(Pool)} == {p.id for p in added}
