"""Several gateways on one database: equal parts, takeover within a lease, and nothing held by two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import NODES, REAPER, ShardLeases, shard_name
from orchestration.store.errors import LeaseLostError, StoreError, StoreUnavailableError
from orchestration.store.leases import LeaseManager
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from tests.support.gateway import eventually
from tests.support.lease_world import ALL, TTL_S, SharedWork, figure, parts
from tests.support.stores import FakeClock


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[SharedWork]:
    clock = FakeClock()
    async with await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db", clock=clock) as store:
        yield SharedWork(store, clock)


async def test_one_gateway_alone_does_everything(work: SharedWork) -> None:
    alone = work.gateway()
    await work.turn(alone)
    assert len(alone.held) == ALL
    assert figure(alone.metrics.held) == ALL


async def test_gateways_that_come_get_equal_parts_and_the_single_jobs_stay(work: SharedWork) -> None:
    first, second, third = work.gateway(), work.gateway(), work.gateway()
    await work.turn(first, second)
    assert parts(first, second) == [16, 0]
    assert second.next_look_s < 1, "what the first gives up is not waited for"
    await work.turn(first, second)
    assert parts(first, second) == [8, 8]
    assert {NODES, REAPER} <= first.held
    for _ in range(2):
        await work.turn(third, first, second, third)
    assert sorted(parts(first, second, third)) == [5, 5, 6]
    assert {NODES, REAPER} <= first.held


async def test_parts_that_have_settled_stay_where_they_are(work: SharedWork) -> None:
    gateways = [work.gateway() for _ in range(3)]
    for _ in range(3):
        await work.turn(*gateways)
    settled = [gateway.held for gateway in gateways]
    work.told.clear()
    for _ in range(20):
        work.pass_time(TTL_S / 3)
        await work.turn(*gateways)
    assert [gateway.held for gateway in gateways] == settled
    assert work.told == []


async def test_a_gateway_that_is_silent_is_taken_over_when_its_lease_ends_and_within_its_time_to_live(
    work: SharedWork,
) -> None:
    silent, survivor = work.gateway(), work.gateway()
    for _ in range(2):
        await work.turn(silent, survivor)
    work.pass_time(TTL_S / 3)
    await work.turn(silent)
    waited = TTL_S / 6  # not in step with the other's renewals
    work.pass_time(waited)
    await work.turn(survivor)
    while len(survivor.held) < ALL:
        work.pass_time(survivor.next_look_s)
        waited += survivor.next_look_s
        await work.turn(survivor)
        assert waited <= TTL_S, "more than one lease has passed"
    assert waited > 0.9 * TTL_S, "it was alive for all that anybody could know"
    assert silent.held == frozenset(), "two would work on the same"


async def test_those_that_are_left_share_what_one_held(work: SharedWork) -> None:
    gateways = [work.gateway() for _ in range(3)]
    for _ in range(3):
        await work.turn(*gateways)
    work.dead.add(gateways[0].owner)
    await work.turn(*gateways[1:])
    assert parts(*gateways[1:]) == [8, 8]
    assert {NODES, REAPER} <= gateways[1].held | gateways[2].held


async def test_a_gateway_that_slept_is_refused_and_then_takes_its_part_again(work: SharedWork) -> None:
    sleeper, survivor = work.gateway(), work.gateway()
    for _ in range(2):
        await work.turn(sleeper, survivor)
    deployment = next(str(number) for number in range(100) if shard_name(str(number)) in sleeper.held)
    guard = Guard(work.store, sleeper)
    assert guard.holds(deployment)
    work.pass_time(TTL_S)
    await work.turn(survivor)
    with pytest.raises(LeaseLostError):
        guard.check(deployment)
    with pytest.raises(LeaseLostError):
        async with guard.write(deployment, "test"):
            pytest.fail("the block must not be entered")
    assert figure(sleeper.metrics.refused) == 2
    work.told.clear()
    await work.turn(sleeper)
    assert figure(sleeper.metrics.lost) == 10
    assert work.told == [sleeper]
    await work.turn(survivor, sleeper)
    assert parts(sleeper, survivor) == [8, 8]


async def test_a_slow_clock_makes_no_second_holder(work: SharedWork) -> None:
    slow = FakeClock(work.clock.now)
    behind, ahead = work.gateway(clock=slow), work.gateway()
    await work.turn(behind)
    work.clock.now += 2 * TTL_S
    await work.turn(ahead)
    assert len(ahead.held) == ALL
    assert len(behind.held) == ALL, "by its own clock it may still work; what it writes tells"
    guard = Guard(work.store, behind)
    with pytest.raises(LeaseLostError):
        async with guard.write("a deployment", "test"):
            pytest.fail("the block must not be entered")
    assert figure(behind.metrics.refused) == 1


async def test_gateways_whose_clocks_are_far_apart_share_all_the_same(work: SharedWork) -> None:
    slow = FakeClock(work.clock.now - 3600)
    behind, ahead = work.gateway(clock=slow), work.gateway()
    gateways = (behind, ahead)
    for _ in range(8):
        await work.turn(*gateways)
        work.pass_time(TTL_S / 3)
        slow.now += TTL_S / 3
    assert parts(*gateways) == [8, 8]
    settled = [gateway.held for gateway in gateways]
    for _ in range(6):
        await work.turn(*gateways)
        assert [gateway.held for gateway in gateways] == settled
        assert all(gateway.next_look_s > 0.1 for gateway in gateways)
        work.pass_time(TTL_S / 3)
        slow.now += TTL_S / 3
    waited = 0.0
    while len(ahead.held) < ALL:
        work.pass_time(ahead.next_look_s)
        waited += ahead.next_look_s
        await work.turn(ahead)
        assert waited <= 1.5 * TTL_S


async def test_a_clock_that_is_set_back_keeps_no_lease_alive(work: SharedWork) -> None:
    silent, survivor = work.gateway(), work.gateway()
    for _ in range(2):
        await work.turn(silent, survivor)
    work.clock.now -= 3600
    work.monotonic.now += TTL_S / 2
    await work.turn(survivor)
    assert len(survivor.held) == 8, "its own leases are renewed, those of the other may yet be"
    work.monotonic.now += TTL_S / 2
    assert silent.held == frozenset()
    await work.turn(survivor)
    assert len(survivor.held) == ALL


async def test_a_gateway_that_stops_leaves_nothing_to_wait_for(work: SharedWork) -> None:
    stopping, staying = work.gateway(), work.gateway()
    for _ in range(2):
        await work.turn(stopping, staying)
    await stopping.close()
    assert stopping.held == frozenset()
    assert [lease.name for lease in await work.rows() if lease.owner == stopping.owner] == []
    assert f"member/{stopping.owner}" not in {lease.name for lease in await work.rows()}
    await work.turn(staying)
    assert len(staying.held) == ALL


async def test_gateways_that_are_gone_for_long_are_forgotten(work: SharedWork) -> None:
    gone, killed, staying = work.gateway(), work.gateway(), work.gateway()
    await work.turn(gone, killed, staying)
    work.dead.add(killed.owner)
    work.pass_time(TTL_S)
    await work.turn(staying)
    members = {lease.name for lease in await work.rows() if lease.name.startswith("member/")}
    assert members == {f"member/{gone.owner}", f"member/{staying.owner}"}
    work.pass_time(10 * TTL_S)
    await work.turn(staying)
    members = {lease.name for lease in await work.rows() if lease.name.startswith("member/")}
    assert members == {f"member/{staying.owner}"}


async def test_a_commit_whose_answer_was_lost_is_found_in_the_rows(work: SharedWork) -> None:
    class Unsure:
        """Says once of a commit that stands that it failed."""

        failed = False

        @asynccontextmanager
        async def write(self, *, actor: str) -> AsyncGenerator[Transaction]:
            async with work.store.write(actor=actor) as tx:
                yield tx
            if not self.failed:
                self.failed = True
                raise StoreUnavailableError("DATABASE_UNREACHABLE", "the connection was lost")

    alone = ShardLeases(LeaseManager(Unsure(), clock=work.clock), TTL_S, work.clock)
    with pytest.raises(StoreUnavailableError):
        await work.turn(alone)
    assert alone.held == frozenset()
    rows = await work.rows()
    assert len(rows) == ALL + 1
    await work.turn(alone)
    assert len(alone.held) == ALL
    assert [(row.name, row.token) for row in await work.rows()] == [(row.name, row.token) for row in rows]


async def test_the_end_of_another_process_here_is_not_waited_for(tmp_path: Path) -> None:
    async with await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db") as store:
        clock, dead = store.clock, set[str]()
        other = ShardLeases(LeaseManager(store, clock=clock), 600, clock)
        await other.turn(lambda: None)
        mine = ShardLeases(LeaseManager(store, clock=clock, is_dead=dead.__contains__), 600, clock)
        running = asyncio.create_task(mine.run(lambda: None))
        try:

            async def shared() -> bool:
                await other.turn(lambda: None)
                return len(mine.held) == len(other.held) - 2 == 8

            await eventually(shared)
            dead.add(other.owner)

            async def taken() -> bool:
                return len(mine.held) == ALL

            await eventually(taken)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_without_the_database_the_work_stops_when_the_leases_end_and_goes_on_with_them(
    work: SharedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = work.gateway()
    await work.turn(alone)
    work.told.clear()
    with monkeypatch.context() as patch:

        def refuse(**_: object) -> object:
            raise StoreError("the database is away")

        patch.setattr(work.store, "write", refuse)
        work.pass_time(TTL_S / 2)
        with pytest.raises(StoreError):
            await work.turn(alone)
        assert (len(alone.held), work.told) == (ALL, [])
        work.pass_time(TTL_S / 2)
        with pytest.raises(StoreError):
            await work.turn(alone)
        assert (len(alone.held), work.told) == (0, [alone])
        assert alone.next_look_s <= 1
    await work.turn(alone)
    assert (len(alone.held), work.told) == (ALL, [alone, alone])
