"""What an instance really costs is held against the cap, and what is offered is not given away twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.store.records import ReplicaState
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing


@pytest.fixture
def market() -> Cloud:
    market = Cloud("market")
    market.offer("m1", 2.0)
    return market


@pytest.fixture
async def parts(tmp_path: Path, market: Cloud) -> AsyncIterator[Placing]:
    async with placing(tmp_path, market) as parts:
        yield parts


async def test_an_instance_over_the_cap_is_ended_and_says_so(parts: Placing, market: Cloud) -> None:
    await stores.add_pool(parts.store, id="p", provider="market", max_cost_per_hour=3.0)
    await stores.add_pool(parts.store, id="other", provider="market")
    (replica,) = await add_deployment(parts.store, "p", "other")
    market.prices["m1"] = 3.5
    failed = await parts.start(replica)
    assert (failed.state, failed.reason) == (ReplicaState.FAILED, "PRICE_CAP_EXCEEDED")
    assert "costs 3.5/h, not the 2/h" in failed.message
    assert "over max_cost_per_hour 3 of pool" in failed.message
    assert (failed.price_per_hour, failed.retry_at > 0) == (3.5, True), "until it is gone it costs what it costs"
    await parts.ender.clear(failed)
    assert market.specs == {}
    moved = await parts.start(replica)
    assert (moved.state, moved.pool_id) == (ReplicaState.STARTING, "other")


async def test_an_instance_over_the_cap_is_ended_also_after_a_crash(parts: Placing, market: Cloud) -> None:
    await stores.add_pool(parts.store, id="p", provider="market", max_cost_per_hour=3.0)
    (replica,) = await add_deployment(parts.store, "p")
    market.prices["m1"] = 3.5
    placed = await parts.place(replica)
    deployment = parts.deployment(placed.deployment_id)
    await parts.starter.provision(placed, deployment)  # and the process ends before the attempt is failed
    await parts.provision(replica)
    assert parts.replica(replica).state is ReplicaState.FAILED


async def test_a_price_within_the_cap_is_the_row_s_from_then_on(parts: Placing, market: Cloud) -> None:
    await stores.add_pool(parts.store, id="p", provider="market", max_cost_per_hour=4.0)
    first, second = await add_deployment(parts.store, "p", replicas=2)
    market.prices["m1"] = 2.5
    assert (await parts.start(first)).price_per_hour == 2.5
    waiting = await parts.place(second)
    assert waiting.reason == "PRICE_CAP_REACHED"
    assert "4.5/h" in waiting.message


async def test_lowering_the_cap_ends_nothing_and_takes_nothing_new(parts: Placing, market: Cloud) -> None:
    await stores.add_pool(parts.store, id="p", provider="market", max_cost_per_hour=4.0)
    first, second, third = await add_deployment(parts.store, "p", replicas=3)
    await parts.start(first)
    await parts.place(second)
    pool = parts.views.pool("p")
    assert pool is not None
    async with parts.store.write(actor="test") as tx:
        await tx.update(replace(pool, max_cost_per_hour=2.0))
    await parts.provision(second)
    assert [parts.replica(item).state for item in (first, second)] == [ReplicaState.STARTING] * 2
    assert (await parts.place(third)).reason == "PRICE_CAP_REACHED"


async def test_what_was_placed_since_the_last_answer_is_not_offered_again(parts: Placing, market: Cloud) -> None:
    market.offer("m1", 2.0, count=2)
    await parts.providers.offers.refresh()
    for name in ("p", "q"):
        await stores.add_pool(parts.store, id=name, provider="market")
    (in_other_pool,) = await add_deployment(parts.store, "q")
    first, second, third = await add_deployment(parts.store, "p", replicas=3)
    await parts.start(in_other_pool)
    assert (await parts.start(first)).state is ReplicaState.STARTING
    assert (await parts.place(second)).reason == "NO_CAPACITY"
    market.offer("m1", 2.0, count=1)  # the two that run are not in the number any more
    parts.clock.now += 60
    await parts.providers.offers.refresh()
    assert (await parts.place(second)).state is ReplicaState.PROVISIONING
    assert (await parts.place(third)).reason == "NO_CAPACITY", "one that was asked for is not in the answer yet"
