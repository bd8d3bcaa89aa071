"""What runs on a node that goes silent is placed elsewhere at once; what runs on one that is drained moves in turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from orchestration.service.clock import SteadyClock
from orchestration.service.control import Parts, build_controllers
from orchestration.service.controllers.health import probe_session
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.settings import Settings
from orchestration.service.usecases.heartbeats import HeartbeatUseCase
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store.records import Deployment, DesiredState, Node, NodeState, Pool, Replica, ReplicaState
from orchestration.store.store import Store
from orchestration.v1.compute_pools_pb2 import HeartbeatRequest
from tests.support.gateway import FAST, eventually
from tests.support.node_provider import NodeProvider

INTERVAL_S = 0.5


class Cluster:
    """The controllers of a gateway over a cluster with agents that send heartbeats."""

    def __init__(self, store: Store, provider: NodeProvider, heartbeats: HeartbeatUseCase) -> None:
        self.store = store
        self.provider = provider
        self.heartbeats = heartbeats
        self.silent: set[str] = set()
        self.last_heartbeat: dict[str, float] = {}

    async def add(self, nodes: Iterable[str], *, gpus: int = 2) -> None:
        async with self.store.write(actor="test") as tx:
            await tx.insert(Pool(id="p", name="p", owner_type="user", owner_id="a", provider="fake"))
        for node in nodes:
            await self.beat(node, pool_id="p", gpu_total=gpus, gpu_type="H100", incarnation=1)

    async def beat(self, node: str, **fields: object) -> None:
        request = HeartbeatRequest(provider="fake", provider_instance_id=node, **fields)  # type: ignore[arg-type]
        await self.heartbeats.heartbeat(request)
        self.last_heartbeat[node] = time.time()

    async def agents(self) -> None:
        """Every node's heartbeats, except of those that are silent."""
        while True:
            for node in self.last_heartbeat:
                if node not in self.silent:
                    await self.beat(node)
            await asyncio.sleep(INTERVAL_S / 2)

    async def deploy(self, replicas: int, **fields: object) -> None:
        deployment = Deployment(
            id="d",
            org_id="",
            owner_id="",
            pool_id="p",
            model_name="m",
            engine="custom",
            inference_model="m",
            replicas=replicas,
            configuration={"command": ["serve"], "image": "serve:1", "health_path": ""},
            **fields,  # type: ignore[arg-type]
        )
        async with self.store.write(actor="test") as tx:
            await tx.insert(deployment)

    async def terminate(self) -> None:
        async with self.store.write(actor="test") as tx:
            current = await tx.get(Deployment, "d")
            assert current is not None
            await tx.update(replace(current, desired=DesiredState.STOPPED))

    def replicas(self) -> list[Replica]:
        return self.store.index.find(Replica, deployment_id="d")

    def places(self) -> list[str]:
        """The nodes of the replicas that are ready."""
        nodes = {node.id: node.provider_instance_id for node in self.store.index.all(Node)}
        return sorted(nodes[replica.node_id] for replica in self.replicas() if replica.state is ReplicaState.READY)

    def state(self, node: str) -> NodeState:
        return self.store.index.find(Node, provider="fake", provider_instance_id=node)[0].state

    async def until_places(self, *nodes: str) -> None:
        async def there() -> bool:
            return self.places() == sorted(nodes)

        await eventually(there, why=lambda: f"replicas were never at {nodes}, but at {self.places()}")

    async def until(self, condition: Callable[[], object]) -> None:
        async def holds() -> bool:
            return bool(condition())

        await eventually(holds)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        clock = SteadyClock()
        url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
        store = await stack.enter_async_context(await Store.open(url, clock=clock))
        provider = NodeProvider()
        providers = ProviderRegistry({"fake": provider})
        await providers.start()
        stack.push_async_callback(providers.close)
        logs = LogStore(tmp_path / "logs")
        stack.push_async_callback(logs.close)
        collector = LogCollector(logs)
        stack.push_async_callback(collector.close)
        session = await stack.enter_async_context(probe_session())
        settings = Settings(data_dir=tmp_path, heartbeat_interval_s=INTERVAL_S, **FAST)
        parts = Parts(settings, store, providers, logs, collector, session, CollectorRegistry(), clock)
        controllers = build_controllers(parts, ManagedNodes(store, providers, parts.clock))
        heartbeats = HeartbeatUseCase(store, providers, parts.clock, INTERVAL_S)
        made = Cluster(store, provider, heartbeats)
        controllers.start()
        stack.push_async_callback(controllers.close)
        agents = asyncio.create_task(made.agents())
        try:
            yield made
        finally:
            agents.cancel()
            await asyncio.gather(agents, return_exceptions=True)


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
    assert not cluster.provider.on(drained)
    assert cluster.state(drained) is NodeState.DRAINING
