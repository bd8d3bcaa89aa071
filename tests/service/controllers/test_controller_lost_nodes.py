"""What runs on a node that goes silent is placed elsewhere at once; what runs on one that is drained moves in turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestration.store.records import NodeState, ReplicaState
from tests.support.cluster import Cluster, running_cluster
from tests.support.gateway import eventually


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path, interval_s=0.5) as running:
        yield running


async def test_what_ran_on_a_lost_node_is_placed_elsewhere_without_waiting_for_it(cluster: Cluster) -> None:
    await cluster.add(["one", "two"])
    await cluster.deploy(2)
    await cluster.until(lambda: len(cluster.places()) == 2)
    lost = cluster.places()[0]
    other = "two" if lost == "one" else "one"
    cluster.provider.unreachable.add(lost)
    cluster.silent.add(lost)
    await cluster.until_places(other, other)
    assert cluster.state(lost) is NodeState.LOST
    assert all(replica.failures == 0 for replica in cluster.replicas()), "the node failed, not the attempts"
    events, _ = await cluster.store.list_events("deployment", "d", limit=100)
    lost_events = [event for event in events if event.reason == "REPLICA_LOST"]
    assert lost_events
    assert all(lost in event.message and event.attempt == 1 for event in lost_events)

    cluster.provider.unreachable.clear()
    cluster.silent.clear()
    await cluster.until(lambda: cluster.state(lost) is NodeState.READY)
    await cluster.until(lambda: not cluster.provider.on(lost))
    assert cluster.places() == [other, other], "what had moved was moved again"


async def test_a_deployment_whose_node_is_lost_can_be_terminated(cluster: Cluster) -> None:
    await cluster.add(["one"])
    await cluster.deploy(1)
    await cluster.until_places("one")
    cluster.provider.unreachable.add("one")
    await cluster.terminate()
    await cluster.until(lambda: [replica.state for replica in cluster.replicas()] == [ReplicaState.TERMINATING])
    cluster.silent.add("one")
    await cluster.until(lambda: not cluster.replicas())


async def test_replicas_wait_when_no_other_node_is_left_and_go_on_when_one_comes(cluster: Cluster) -> None:
    await cluster.add(["one"])
    await cluster.deploy(1)
    await cluster.until_places("one")
    cluster.silent.add("one")
    await cluster.until(lambda: cluster.replicas()[0].state is ReplicaState.PENDING)
    await cluster.beat("three", pool_id="p", gpu_total=1, gpu_type="H100")
    await cluster.until_places("three")


@pytest.mark.parametrize("surge", [0, 1])
async def test_replicas_of_a_draining_node_move_within_the_update_budget(cluster: Cluster, surge: int) -> None:
    await cluster.add(["one", "two"], gpus=4)
    await cluster.deploy(3, max_surge=surge, max_unavailable=1 - surge)
    await cluster.until(lambda: len(cluster.places()) == 3)
    drained = cluster.places()[0]
    other = "two" if drained == "one" else "one"
    fewest = 3
    await cluster.beat(drained, state="DRAINING")

    async def moved() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(cluster.places()))
        return cluster.places() == [other] * 3

    await eventually(moved)
    assert fewest >= 2 + surge, "more replicas were taken away at once than the budget allows"
    await cluster.until(lambda: not cluster.provider.on(drained))
    assert cluster.state(drained) is NodeState.DRAINING


@pytest.mark.parametrize("state", ["DRAINING", "TERMINATED"])
async def test_work_that_is_done_is_not_done_again_when_its_node_goes(cluster: Cluster, state: str) -> None:
    await cluster.add(["one", "two"])
    await cluster.deploy(1, workload_type="batch", restart_condition="ON_FAILURE")
    await cluster.until(lambda: len(cluster.places()) == 1)
    (node,) = cluster.places()
    cluster.provider.unreachable.add(node)  # what ended there cannot be cleared
    cluster.provider.end(cluster.provider.on(node)[0], exit_code=0)
    await cluster.until(lambda: cluster.replicas()[0].state is ReplicaState.TERMINATED)
    await cluster.beat(node, state=state)
    await cluster.until(lambda: cluster.state(node) is NodeState(state))
    other = "two" if node == "one" else "one"
    if state == "TERMINATED":
        await cluster.until(lambda: not cluster.replicas()[0].instance_name)
    await cluster.beat(other, state="BUSY")  # one more change that everybody looks at
    await cluster.until(lambda: cluster.state(other) is NodeState.BUSY)
    assert [replica.state for replica in cluster.replicas()] == [ReplicaState.TERMINATED]
    assert len(cluster.provider.created) == 1, "it was run again"
