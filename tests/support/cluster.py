"""The controllers of a gateway over a cluster whose agents send heartbeats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from orchestration.service.clock import SteadyClock
from orchestration.service.control import Parts, build_controllers
from orchestration.service.controllers.health import probe_session
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import Provider
from orchestration.service.providers.bounded import CallLimits
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.settings import Settings
from orchestration.service.usecases.heartbeats import HeartbeatUseCase
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store.records import Deployment, DesiredState, Node, NodeState, Pool, Replica, ReplicaState
from orchestration.store.store import Store
from orchestration.v1.compute_pools_pb2 import HeartbeatRequest
from tests.support.gateway import FAST, eventually
from tests.support.node_provider import NodeProvider


class Cluster:
    """One pool, its nodes, and at most one deployment."""

    def __init__(self, store: Store, provider: NodeProvider, heartbeats: HeartbeatUseCase, interval_s: float) -> None:
        self.store = store
        self.interval_s = interval_s
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
            await asyncio.sleep(self.interval_s / 2)

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


@asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    interval_s: float,
    provider: NodeProvider | None = None,
    others: Iterable[Provider] = (),
    limits: CallLimits | None = None,
) -> AsyncGenerator[Cluster]:
    """A cluster without nodes yet, whose agents send two heartbeats an interval; `others`: providers beside its own."""
    async with AsyncExitStack() as stack:
        clock = SteadyClock()
        url = f"sqlite+aiosqlite:///{folder}/test.db"
        store = await stack.enter_async_context(await Store.open(url, clock=clock))
        provider = provider or NodeProvider()
        named = {"fake": provider, **{other.name: other for other in others}}
        providers = ProviderRegistry(named, limits=limits, clock=clock)
        await providers.start()
        stack.push_async_callback(providers.close)
        logs = LogStore(folder / "logs")
        stack.push_async_callback(logs.close)
        collector = LogCollector(logs)
        stack.push_async_callback(collector.close)
        session = await stack.enter_async_context(probe_session())
        settings = Settings(data_dir=folder, heartbeat_interval_s=interval_s, **FAST)
        parts = Parts(settings, store, providers, logs, collector, session, CollectorRegistry(), clock)
        controllers = build_controllers(parts, ManagedNodes(store, providers, parts.clock))
        heartbeats = HeartbeatUseCase(store, providers, parts.clock, interval_s)
        made = Cluster(store, provider, heartbeats, interval_s)
        controllers.start()
        stack.push_async_callback(controllers.close)
        agents = asyncio.create_task(made.agents())
        try:
            yield made
        finally:
            agents.cancel()
            await asyncio.gather(agents, return_exceptions=True)
