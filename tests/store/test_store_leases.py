"""Leases: one holder at a time, none for ever."""

from __future__ import annotations

import asyncio

import pytest

from orchestration.store.errors import LeaseLostError
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Lease, Pool
from orchestration.store.store import Store
from tests.support.stores import FakeClock, pool


@pytest.fixture
def leases(store: Store, clock: FakeClock) -> LeaseManager:
    return LeaseManager(store, clock=clock)


async def guarded(store: Store, lease: Lease) -> None:
    async with store.write(actor=lease.owner) as tx:
        await tx.check_lease(lease)
        await tx.insert(pool())


async def test_a_held_lease_is_not_given_again(store: Store, leases: LeaseManager, clock: FakeClock) -> None:
    held = await leases.acquire(["a", "b", "a"], "one", 10)
    assert [(lease.name, lease.owner, lease.expires_at) for lease in held] == [
        ("a", "one", clock.now + 10),
        ("b", "one", clock.now + 10),
    ]
    assert await leases.acquire(["a", "b"], "two", 10) == []
    assert await leases.acquire(["a"], "one", 10) == []
    assert [lease.name for lease in await leases.acquire(["A", "b"], "two", 10)] == ["A"], "case matters"


async def test_an_expired_lease_goes_to_the_next_and_its_token_is_refused(
    store: Store, leases: LeaseManager, clock: FakeClock
) -> None:
    (old,) = await leases.acquire(["a"], "one", 10)
    await guarded(store, old)
    clock.now += 10
    with pytest.raises(LeaseLostError):
        await guarded(store, old)
    (new,) = await leases.acquire(["a"], "two", 10)
    assert (new.generation, new.token != old.token) == (old.generation + 1, True)
    with pytest.raises(LeaseLostError) as lost:
        await guarded(store, old)
    assert lost.value.name == "a"
    assert await leases.renew([old], 10) == []
    await leases.release([old])
    await guarded(store, new)
    assert len(store.index.all(Pool)) == 2


async def test_renewal_extends_what_is_still_held(leases: LeaseManager, clock: FakeClock, store: Store) -> None:
    held = await leases.acquire(["a", "b", "c"], "one", 10)
    clock.now += 6
    await leases.release([held[1]])
    renewed = await leases.renew(held, 10)
    assert [(lease.name, lease.expires_at) for lease in renewed] == [("a", clock.now + 10), ("c", clock.now + 10)]
    clock.now += 9
    await guarded(store, renewed[0])
    assert await leases.acquire(["a", "c"], "two", 10) == []


async def test_a_released_lease_is_free_at_once(leases: LeaseManager, store: Store) -> None:
    (old,) = await leases.acquire(["a"], "one", 10)
    await leases.release([old])
    with pytest.raises(LeaseLostError):
        await guarded(store, old)
    (new,) = await leases.acquire(["a"], "two", 10)
    assert new.generation > old.generation


async def test_a_dead_owner_is_not_waited_for(store: Store, clock: FakeClock) -> None:
    leases = LeaseManager(store, clock=clock, is_dead=lambda owner: owner == "dead")
    await leases.acquire(["a"], "dead", 1000)
    await leases.acquire(["b"], "alive", 1000)
    assert [lease.name for lease in await leases.acquire(["a", "b"], "heir", 10)] == ["a"]


async def test_leases_are_found_by_prefix_as_the_transaction_leaves_them(leases: LeaseManager, store: Store) -> None:
    await leases.acquire(["m/a", "m/b", "M/c", "m%", "m_x", "other"], "one", 10)
    async with leases.session("two", 10) as session:
        assert [lease.name for lease in await session.find("m/")] == ["m/a", "m/b"]
        assert [lease.name for lease in await session.find("m%")] == ["m%"]
        assert len(await session.find("")) == 6
        session.forget("m/a")
        assert await session.take("m/c")
        assert await session.take("m/b") is None
        assert [(lease.name, lease.owner) for lease in await session.find("m/")] == [("m/b", "one"), ("m/c", "two")]
    async with store.write(actor="test") as tx:
        assert [lease.name for lease in await tx.find_leases("m/")] == ["m/b", "m/c"]


async def test_a_holder_that_slept_writes_nothing_of_what_it_had_begun(
    store: Store, other: Store, clock: FakeClock
) -> None:
    sleeper, heir = LeaseManager(store, clock=clock), LeaseManager(other, clock=clock)
    (old,) = await sleeper.acquire(["a"], "sleeper", 10)
    begun = pool()
    clock.now += 11
    (new,) = await heir.acquire(["a"], "heir", 10)
    await guarded(other, new)

    async def finish() -> None:
        async with store.write(actor="sleeper") as tx:
            await tx.insert(begun)
            await tx.check_lease(old)

    with pytest.raises(LeaseLostError):
        await finish()
    assert await sleeper.renew([old], 10) == []
    async with other.write(actor="test") as tx:
        assert await tx.get(Pool, begun.id) is None
        assert [lease.owner for lease in await tx.find_leases("a")] == ["heir"]


async def test_a_lease_that_nobody_renews_for_its_life_is_free_whatever_clocks_were_set_to(
    store: Store, clock: FakeClock
) -> None:
    monotonic = FakeClock(0)
    watcher = LeaseManager(store, clock=clock, monotonic=monotonic)
    holder = LeaseManager(store, clock=clock, monotonic=monotonic)
    held = await holder.acquire(["a", "b"], "holder", 10)
    clock.now -= 3600
    for seconds in (0, 6):
        monotonic.now += seconds
        assert await watcher.acquire(["a", "b"], "watcher", 10) == []
    clock.now += 1
    await holder.renew(held[1:], 10)
    monotonic.now += 4
    assert [lease.name for lease in await watcher.acquire(["a", "b"], "watcher", 10)] == ["a"]


async def test_a_holder_that_died_right_after_it_renewed_is_waited_for_once(store: Store, clock: FakeClock) -> None:
    """Its clock is some milliseconds behind: that its row has changed and is over at once says nothing of its clock."""
    monotonic = FakeClock(0)
    watcher = LeaseManager(store, clock=clock, monotonic=monotonic)
    holder = LeaseManager(store, clock=lambda: clock.now - 0.02)
    (held,) = await holder.acquire(["a"], "holder", 10)
    assert await watcher.acquire(["a"], "watcher", 10) == []
    for moved in (clock, monotonic):
        moved.now += 0.01
    await holder.renew([held], 10)
    for moved in (clock, monotonic):
        moved.now += 10
    assert [lease.name for lease in await watcher.acquire(["a"], "watcher", 10)] == ["a"]


async def test_a_holder_whose_clock_is_well_behind_keeps_what_it_renews(store: Store, clock: FakeClock) -> None:
    monotonic = FakeClock(0)
    watcher = LeaseManager(store, clock=clock, monotonic=monotonic)
    behind = LeaseManager(store, clock=lambda: clock.now - 11)
    ahead = LeaseManager(store, clock=clock)
    (held,) = await ahead.acquire(["a"], "holder", 10)
    assert await watcher.acquire(["a"], "watcher", 10) == []
    for _ in range(5):
        await behind.renew([held], 10)
        for moved in (clock, monotonic):
            moved.now += 3
        assert await watcher.acquire(["a"], "watcher", 10) == []
    for moved in (clock, monotonic):
        moved.now += 10
    assert [lease.name for lease in await watcher.acquire(["a"], "watcher", 10)] == ["a"]


async def test_of_many_that_race_one_wins(store: Store, other: Store, clock: FakeClock) -> None:
    managers = [LeaseManager(which, clock=clock) for which in (store, other)]
    taken = await asyncio.gather(*(managers[n % 2].acquire(["a"], f"owner{n}", 10) for n in range(20)))
    assert sum(len(leases) for leases in taken) == 1


async def test_leases_are_no_changes(leases: LeaseManager, store: Store) -> None:
    revision = store.index.revision
    held = await leases.acquire(["a"], "one", 10)
    await leases.renew(held, 10)
    await leases.release(held)
    assert store.index.revision == revision


@pytest.mark.parametrize("ttl_s", [0, -1])
async def test_a_lease_without_life_is_refused(leases: LeaseManager, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="ttl_s must be positive"):
        await leases.acquire(["a"], "one", ttl_s)
