"""Usage intervals: written with what they are of, one for each instance, kept after the deployment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.store.records import UsageInterval
from orchestration.store.store import Store
from tests.support.stores import FakeClock

DAY_S = 86_400.0
OPEN = UsageInterval(
    instance_name="r-1", deployment_id="d", replica_id="r", pool_id="p", price_per_hour=2.5, started_at=1000.0
)


async def test_an_interval_is_opened_and_closed_in_place(store: Store, other: Store) -> None:
    async with store.write(actor="test") as tx:
        tx.use(OPEN)
    assert await store.list_usage("d") == [OPEN]
    closed = replace(OPEN, ended_at=4600.0)
    later = replace(OPEN, instance_name="r-2", started_at=5000.0)
    async with other.write(actor="test") as tx:
        tx.use(closed)
        tx.use(later)
    assert await store.list_usage("d") == [closed, later]
    assert await store.list_usage("other") == []


async def test_what_is_rolled_back_was_not_used(store: Store) -> None:
    async def use_and_fail() -> None:
        async with store.write(actor="test") as tx:
            tx.use(OPEN)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await use_and_fail()
    assert await store.list_usage("d") == []


async def test_intervals_are_forgotten_long_after_their_end(store: Store, clock: FakeClock) -> None:
    ended = replace(OPEN, instance_name="ended", started_at=clock.now - 500 * DAY_S, ended_at=clock.now - 401 * DAY_S)
    recent = replace(ended, instance_name="recent", ended_at=clock.now - 399 * DAY_S)
    running = replace(ended, instance_name="running", ended_at=None)
    async with store.write(actor="test") as tx:
        for interval in (ended, recent, running):
            tx.use(interval)
    await store.trim()
    assert {interval.instance_name for interval in await store.list_usage("d")} == {"recent", "running"}
