"""What a deployment has cost: the sum of its recorded intervals, whatever ends them, and never one twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.service.usecases.deployment_changes import DeploymentChanges
from orchestration.service.usecases.deployments import RestartDefaults
from orchestration.service.usecases.mutations import Mutations
from orchestration.service.usecases.views import deployment_view
from orchestration.store.errors import StaleRecordError
from orchestration.store.records import DesiredState, Replica, ReplicaState
from orchestration.v1 import model_deployments_pb2 as pb
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing
from tests.support.stores import FakeClock

HOUR_S = 3600.0


@pytest.fixture
def market() -> Cloud:
    market = Cloud("market")
    market.offer("m1", 2.0)
    return market


@pytest.fixture
async def parts(tmp_path: Path, market: Cloud) -> AsyncIterator[Placing]:
    async with placing(tmp_path, market) as parts:
        await stores.add_pool(parts.store, id="p", provider="market")
        yield parts


def so_far(parts: Placing, deployment_id: str) -> float:
    replicas = parts.store.index.find(Replica, deployment_id=deployment_id)
    return deployment_view(parts.deployment(deployment_id), replicas, clock=parts.clock).cost_so_far


async def recorded(parts: Placing, deployment_id: str) -> float:
    intervals = await parts.store.list_usage(deployment_id)
    return sum(
        item.price_per_hour * ((item.ended_at or parts.clock()) - item.started_at) / HOUR_S for item in intervals
    )


async def test_cost_grows_while_it_runs_and_stays_when_it_ended(parts: Placing) -> None:
    (replica,) = await add_deployment(parts.store, "p")
    placed = await parts.place(replica)
    parts.clock.now += HOUR_S
    deployment = placed.deployment_id
    assert so_far(parts, deployment) == 0.0, "nothing ran while the provider was not asked"
    await parts.provision(replica)
    parts.clock.now += HOUR_S / 2
    assert so_far(parts, deployment) == pytest.approx(1.0)
    assert await recorded(parts, deployment) == pytest.approx(1.0)
    async with parts.store.write(actor="test") as tx:
        await tx.update(replace(parts.replica(replica), state=ReplicaState.TERMINATING))
    parts.clock.now += HOUR_S / 2
    assert await parts.ender.finish(parts.replica(replica)) is None
    parts.clock.now += HOUR_S
    assert so_far(parts, deployment) == pytest.approx(2.0)
    (interval,) = await parts.store.list_usage(deployment)
    assert interval.ended_at == interval.started_at + HOUR_S
    assert (interval.pool_id, interval.replica_id, interval.price_per_hour) == ("p", replica, 2.0)


async def test_every_attempt_has_an_interval_of_its_own_at_its_own_price(parts: Placing, market: Cloud) -> None:
    (replica,) = await add_deployment(parts.store, "p")
    for price in (2.0, 3.0, 5.0):
        market.prices["m1"] = price
        await parts.start(replica)
        parts.clock.now += HOUR_S
        await parts.lose(replica)
        parts.clock.now += HOUR_S  # nothing runs, nothing is paid
    deployment = parts.replica(replica).deployment_id
    intervals = await parts.store.list_usage(deployment)
    assert [item.price_per_hour for item in intervals] == [2.0, 3.0, 5.0]
    assert so_far(parts, deployment) == pytest.approx(10.0)
    assert await recorded(parts, deployment) == pytest.approx(10.0)
    assert parts.deployment(deployment).accrued_cost == pytest.approx(10.0)


async def test_a_failed_instance_is_paid_until_it_is_gone(parts: Placing) -> None:
    (replica,) = await add_deployment(parts.store, "p")
    row = await parts.start(replica)
    await parts.ender.attempt_failed(row, parts.deployment(row.deployment_id), "EXITED", "it ended")
    parts.clock.now += HOUR_S
    assert so_far(parts, row.deployment_id) == pytest.approx(2.0)
    await parts.ender.clear(parts.replica(replica))
    parts.clock.now += HOUR_S
    assert so_far(parts, row.deployment_id) == pytest.approx(2.0)


async def test_a_new_process_goes_on_where_the_last_one_ended(tmp_path: Path, market: Cloud) -> None:
    clock = FakeClock()
    async with placing(tmp_path, market, clock=clock) as parts:
        await stores.add_pool(parts.store, id="p", provider="market")
        (replica,) = await add_deployment(parts.store, "p")
        deployment = (await parts.start(replica)).deployment_id
    clock.now += HOUR_S
    async with placing(tmp_path, market, clock=clock, name="next") as parts:
        assert so_far(parts, deployment) == pytest.approx(2.0)
        stale = parts.replica(replica)
        await parts.lose(replica)
        clock.now += HOUR_S
        with pytest.raises(StaleRecordError):  # a second gateway that has not heard of it
            await parts.ender.clear(replace(stale, state=ReplicaState.FAILED))
        assert so_far(parts, deployment) == pytest.approx(2.0)
        assert await recorded(parts, deployment) == pytest.approx(2.0)
        assert len(await parts.store.list_usage(deployment)) == 1


async def test_an_instance_made_just_before_a_crash_is_paid_from_its_start(parts: Placing, market: Cloud) -> None:
    (replica,) = await add_deployment(parts.store, "p")
    placed = await parts.place(replica)
    market.started_at = parts.clock() + 60
    parts.clock.now += HOUR_S  # the gateway was away between the creation and its note
    await parts.provision(replica)
    assert parts.replica(replica).billed_from == placed.placed_at + 60
    market.started_at = parts.clock() + 9e9
    other = (await add_deployment(parts.store, "p"))[0]
    assert (await parts.start(other)).billed_from == parts.clock(), "the provider's clock is ahead"


async def test_purging_ends_the_interval_of_what_was_given_up(parts: Placing) -> None:
    (replica,) = await add_deployment(parts.store, "p")
    row = await parts.start(replica)
    parts.clock.now += HOUR_S
    await parts.ender.attempt_failed(
        row, parts.deployment(row.deployment_id), "EXITED", "it ended for good", for_good=True
    )
    defaults = RestartDefaults(max_attempts=5, window_s=600)
    changes = DeploymentChanges(Mutations(parts.store, parts.clock), parts.views, parts.clock, defaults)
    await changes.purge_deployment(pb.PurgeDeploymentRequest(deployment_id=row.deployment_id))
    (interval,) = await parts.store.list_usage(row.deployment_id)
    assert interval.ended_at == parts.clock()


async def test_what_costs_nothing_keeps_its_cached_view(parts: Placing, market: Cloud) -> None:
    market.offer("m1", 0.0)
    await parts.providers.offers.refresh()
    (replica,) = await add_deployment(parts.store, "p")
    row = await parts.start(replica)
    deployment = parts.deployment(row.deployment_id)
    view = deployment_view(deployment, [row], clock=parts.clock)
    assert deployment_view(deployment, [row], clock=parts.clock) is view
    assert deployment.desired is DesiredState.RUNNING


async def test_a_view_with_a_running_cost_is_never_the_cached_one(parts: Placing) -> None:
    (replica,) = await add_deployment(parts.store, "p")
    row = await parts.start(replica)
    deployment = parts.deployment(row.deployment_id)
    parts.clock.now += HOUR_S
    first = deployment_view(deployment, [row], clock=parts.clock)
    parts.clock.now += HOUR_S
    second = deployment_view(deployment, [row], clock=parts.clock)
    assert [first.cost_so_far, second.cost_so_far] == pytest.approx([2.0, 4.0])
    assert (first.cost_per_hour, second.replica_statuses[0].price_per_hour) == (2.0, 2.0)
