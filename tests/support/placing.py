"""Placement without servers: a provider that a test fills with nodes or offers, and the parts that place on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestration.service.controllers.failing import Ender
from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.starting import Rejected, Starter
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.domain.backoff import Backoff
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import (
    CapacityError,
    Instance,
    InstanceSpec,
    InstanceState,
    ProviderUnavailableError,
    Resource,
)
from orchestration.service.providers.kubernetes import CAPABILITIES as KUBERNETES
from orchestration.service.providers.nosana.provider import CAPABILITIES as NOSANA
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.records import Deployment, Replica, ReplicaState
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from tests.support import stores
from tests.support.fake_provider import FakeProvider
from tests.support.stores import FakeClock

MARKETPLACE = replace(NOSANA, spot=True)
CLUSTER = replace(KUBERNETES, places_on_nodes=True)


class Cloud(FakeProvider):
    """Makes instances at once, where a test lets it."""

    def __init__(self, name: str = "cloud", *, nodes: bool = False) -> None:
        super().__init__(name, CLUSTER if nodes else MARKETPLACE)
        self.offers: list[Resource] = []
        self.unreachable = ""
        """Why it tells no offers; empty: it does."""
        self.full: set[str] = set()
        """Offers, or nodes, that have no room whatever was told."""
        self.prices: dict[str, float] = {}
        """By offer, what an instance really costs."""
        self.started_at = 0.0
        """What instances say of their start; 0.0: nothing."""
        self.specs: dict[str, InstanceSpec] = {}

    def offer(self, resource_id: str, price: float, count: int = 10, **fields: Any) -> None:
        """Offer something, in place of what was offered under that id and pricing model."""
        model = fields.get("pricing_model", "on_demand")
        self.offers = [
            item for item in self.offers if (item.provider_resource_id, item.pricing_model) != (resource_id, model)
        ]
        described: dict[str, Any] = {"gpu_type": "A100", "gpu_count": 1, "pricing_model": model, **fields}
        self.offers.append(
            Resource(
                provider=self.name,
                provider_resource_id=resource_id,
                price_per_hour=price,
                available_count=count,
                **described,
            )
        )

    async def list_resources(self) -> Sequence[Resource]:
        """What is offered."""
        if self.unreachable:
            raise ProviderUnavailableError(self.unreachable)
        return tuple(self.offers)

    async def create(self, spec: InstanceSpec) -> Instance:
        """An instance, where there is room."""
        where = spec.resource_id or spec.node
        if where in self.full:
            raise CapacityError(f"{where} is full")
        self.specs[spec.name] = spec
        return self._instance(spec.name)

    def _instance(self, name: str) -> Instance:
        price = self.prices.get(self.specs[name].resource_id, 0.0)
        return Instance(
            name=name,
            provider_instance_id=name,
            state=InstanceState.RUNNING,
            price_per_hour=price,
            started_at=self.started_at,
        )

    async def describe(self, name: str) -> Instance | None:
        """The instance, while it is there."""
        return self._instance(name) if name in self.specs else None

    async def delete(self, name: str) -> None:
        """It is gone at once."""
        self.specs.pop(name, None)


class Unguarded(Guard):
    """Lets every write through: who may work on what is no matter here."""

    def __init__(self, store: Store) -> None:
        self._unguarded = store

    def check(self, deployment_id: str) -> None:
        """Nothing is refused."""

    @asynccontextmanager
    async def write(self, deployment_id: str, actor: str) -> AsyncGenerator[Transaction]:
        """A transaction."""
        async with self._unguarded.write(actor=actor) as tx:
            yield tx


class Placing:
    """What one gateway has to place replicas with."""

    def __init__(self, store: Store, clouds: Mapping[str, Cloud], logs: LogStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.providers = ProviderRegistry(dict(clouds), clock=clock)
        self.transitions = Transitions(Unguarded(store), clock)
        self.views = PoolViews(store.index, self.providers)
        backoff = Backoff(0.001, 0.001)
        self.starter = Starter(self.transitions, self.views, self.providers, "test", backoff)
        self.ender = Ender(self.transitions, self.providers, LogCollector(logs), backoff)

    def deployment(self, deployment_id: str) -> Deployment:
        """The row as it is now."""
        found = self.store.index.get(Deployment, deployment_id)
        assert found is not None
        return found

    def replica(self, replica_id: str) -> Replica:
        """The row as it is now."""
        found = self.store.index.get(Replica, replica_id)
        assert found is not None
        return found

    async def place(self, replica_id: str) -> Replica:
        """Reserve a place, or say why there is none."""
        replica = self.replica(replica_id)
        return await self.starter.place(replica, self.deployment(replica.deployment_id))

    async def start(self, replica_id: str) -> Replica:
        """Place and provision; the row as it is then."""
        placed = await self.place(replica_id)
        if placed.state is ReplicaState.PROVISIONING:
            await self.provision(replica_id)
        return self.replica(replica_id)

    async def provision(self, replica_id: str) -> None:
        """Ask the provider, and fail the attempt when that says so."""
        replica = self.replica(replica_id)
        deployment = self.deployment(replica.deployment_id)
        outcome = await self.starter.provision(replica, deployment)
        if isinstance(outcome, Rejected):
            await self.ender.attempt_failed(
                self.replica(replica_id), deployment, outcome.reason, outcome.message, for_good=outcome.for_good
            )

    async def lose(self, replica_id: str, reason: str = "NODE_LOST") -> Replica:
        """Fail the attempt and clear what it left."""
        replica = self.replica(replica_id)
        await self.ender.attempt_failed(replica, self.deployment(replica.deployment_id), reason, "it is gone")
        cleared = await self.ender.clear(self.replica(replica_id))
        assert isinstance(cleared, Replica)
        return cleared


@asynccontextmanager
async def placing(
    folder: Path, *clouds: Cloud, clock: FakeClock | None = None, name: str = "test"
) -> AsyncGenerator[Placing]:
    """The parts on a real database in the folder; a second time there: as a second gateway has them."""
    clock = clock or FakeClock()
    logs = LogStore(folder / f"logs-{name}", segment_bytes=65_536, max_bytes_per_deployment=65_536, max_age_s=3600)
    async with await Store.open(stores.sqlite_url(folder / "test.db"), clock=clock, busy_timeout_s=60) as store:
        parts = Placing(store, {cloud.name: cloud for cloud in clouds}, logs, clock)
        await parts.providers.offers.refresh()
        try:
            yield parts
        finally:
            await logs.close()


async def add_deployment(store: Store, *pool_ids: str, replicas: int = 1, **fields: Any) -> list[str]:
    """A deployment in these pools with its replicas' rows; the replicas' ids."""
    described: dict[str, Any] = {
        "engine": "custom",
        "gpu_per_replica": 1,
        "configuration": {"command": ["serve"], "image": "serve:1"},
        "replicas": replicas,
        **fields,
    }
    deployment = stores.deployment(pool_ids[0], fallback_pool_ids=tuple(pool_ids[1:]), **described)
    rows = [stores.replica(deployment.id, ordinal=number) for number in range(replicas)]
    async with store.write(actor="test") as tx:
        await tx.insert(deployment)
        for row in rows:
            await tx.insert(row)
    return [row.id for row in rows]
