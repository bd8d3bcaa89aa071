"""A provider that takes calls and never answers holds up neither other providers nor what is known without it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestration.service.controllers import manager
from orchestration.service.providers.base import Instance, InstanceSpec
from orchestration.service.providers.bounded import CallLimits
from orchestration.store.records import Pool, Replica, ReplicaState
from tests.support import stores
from tests.support.cluster import Cluster, running_cluster
from tests.support.fake_provider import FakeProvider
from tests.support.node_provider import CLUSTER, NodeProvider

WORKERS = 20
MORE_THAN_THE_WORKERS = 3 * WORKERS


class Stuck(FakeProvider):
    """Never answers when it is asked for an instance."""

    async def create(self, spec: InstanceSpec) -> Instance:
        """Hangs."""
        await asyncio.Event().wait()
        raise AssertionError(spec.name)


class Mute(NodeProvider):
    """Does not tell of its instances when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.mute = False
        self.hanging = 0

    async def describe(self, name: str) -> Instance | None:
        """Hangs while mute."""
        if self.mute:
            self.hanging += 1
            await asyncio.Event().wait()
        return await super().describe(name)


def placed(cluster: Cluster) -> list[Replica]:
    """The replicas whose instances were asked for."""
    return cluster.store.index.find(Replica, deployment_id="many", state=ReplicaState.PROVISIONING)


async def test_creations_that_hang_do_not_hold_up_another_provider_s_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_REPLICA_WORKERS", WORKERS)
    stuck = Stuck("stuck", CLUSTER)
    async with running_cluster(
        tmp_path, interval_s=0.5, others=[stuck], limits=CallLimits(at_once=WORKERS // 4)
    ) as cluster:
        await cluster.add(["one"])
        config = {"command": ["serve"], "image": "serve:1"}
        async with cluster.store.write(actor="test") as tx:
            pool = Pool(id="q", name="q", owner_type="user", owner_id="a", provider="stuck")
            await tx.insert(pool)
            await tx.insert(stores.node("q", provider="stuck", gpu_total=MORE_THAN_THE_WORKERS, managed=True))
            fields = {"engine": "custom", "gpu_per_replica": 1, "configuration": config}
            await tx.insert(stores.deployment("q", id="many", replicas=MORE_THAN_THE_WORKERS, **fields))
        await cluster.until(lambda: len(placed(cluster)) == MORE_THAN_THE_WORKERS)
        await cluster.deploy(2)
        await cluster.until_places("one", "one")
        assert len(placed(cluster)) == MORE_THAN_THE_WORKERS


async def test_what_ran_on_a_lost_node_is_placed_elsewhere_although_the_provider_does_not_answer(
    tmp_path: Path,
) -> None:
    provider = Mute()
    async with running_cluster(tmp_path, interval_s=1.0, provider=provider) as cluster:
        await cluster.add(["one", "two"])
        await cluster.deploy(1)
        await cluster.until(lambda: len(cluster.places()) == 1)
        (lost,) = cluster.places()
        provider.mute = True
        await cluster.until(lambda: provider.hanging)
        cluster.silent.add(lost)
        other = "two" if lost == "one" else "one"
        await cluster.until(lambda: provider.on(other))
        assert {event.reason for event in (await cluster.store.list_events("deployment", "d", limit=100))[0]} >= {
            "REPLICA_LOST"
        }
