"""The control plane put together: use cases, controllers, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from orchestration.service.clock import SteadyClock
from orchestration.service.controllers.cluster_nodes import ClusterNodeController
from orchestration.service.controllers.deployments import DeploymentController
from orchestration.service.controllers.failing import Ender
from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.health import HealthMonitor
from orchestration.service.controllers.lease_metrics import LeaseMetrics
from orchestration.service.controllers.leaving import Leaver, leaving
from orchestration.service.controllers.manager import ControllerManager
from orchestration.service.controllers.nodes import NodeController, NodeTiming
from orchestration.service.controllers.owner import is_dead
from orchestration.service.controllers.probing import Prober
from orchestration.service.controllers.reaper import Reaper
from orchestration.service.controllers.replicas import ReplicaController
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.controllers.starting import Starter
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.domain.backoff import Backoff
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.rpc.server import Registrar
from orchestration.service.rpc.servicers import ComputePoolManager, ModelDeployments, ModelRegistry
from orchestration.service.settings import Settings
from orchestration.service.usecases.deployment_changes import DeploymentChanges
from orchestration.service.usecases.deployments import DeploymentUseCases, RestartDefaults
from orchestration.service.usecases.heartbeats import HeartbeatUseCase
from orchestration.service.usecases.logs import LogUseCases
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.service.usecases.models import ModelUseCases
from orchestration.service.usecases.mutations import Mutations
from orchestration.service.usecases.nodes import NodeUseCases
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.service.usecases.pools import PoolUseCases
from orchestration.service.usecases.providers import ProviderUseCases
from orchestration.service.usecases.watches import WatchUseCase
from orchestration.store.leases import LeaseManager
from orchestration.store.store import Store
from orchestration.v1 import compute_pools_pb2_grpc, model_deployments_pb2_grpc, model_registry_pb2_grpc

# protoc generates these modules without types.
pools_grpc: Any = compute_pools_pb2_grpc
models_grpc: Any = model_registry_pb2_grpc
deployments_grpc: Any = model_deployments_pb2_grpc

_REAP_INTERVAL_S = 10.0
_REAP_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the control plane is made from."""

    settings: Settings
    store: Store
    providers: ProviderRegistry
    logs: LogStore
    collector: LogCollector
    session: aiohttp.ClientSession
    metrics: CollectorRegistry
    clock: SteadyClock


def build_registrars(parts: Parts, managed: ManagedNodes, http_base: Callable[[], str]) -> Sequence[Registrar]:
    """The three services, each ready to be added to a server."""
    settings, store, providers, clock = parts.settings, parts.store, parts.providers, parts.clock
    mutations = Mutations(store, clock)
    views = PoolViews(store.index, providers)
    interval = settings.heartbeat_interval_s
    restarts = RestartDefaults(max_attempts=settings.restart_max_attempts, window_s=settings.backoff_reset_s)
    deployments = DeploymentUseCases(store, mutations, views, clock, restarts)
    pools = ComputePoolManager(
        PoolUseCases(mutations, store.index, providers, managed, clock),
        NodeUseCases(store, mutations, providers, clock, interval),
        HeartbeatUseCase(store, providers, clock, interval),
        ProviderUseCases(providers),
    )
    models = ModelRegistry(ModelUseCases(mutations, store.index, clock))
    deploys = ModelDeployments(
        deployments,
        DeploymentChanges(mutations, views, clock, restarts),
        LogUseCases(store, parts.logs, providers, deployments.require),
        WatchUseCase(store),
        http_base,
    )
    return (
        partial(pools_grpc.add_ComputePoolManagerServiceServicer_to_server, pools),
        partial(models_grpc.add_ModelRegistryServiceServicer_to_server, models),
        partial(deployments_grpc.add_ModelDeploymentServiceServicer_to_server, deploys),
    )


@dataclass(frozen=True, slots=True)
class Controllers:
    """The controllers and the leases under which they work."""

    manager: ControllerManager
    shards: ShardLeases

    def start(self) -> None:
        """Begin to work."""
        self.manager.start(self.shards)

    async def close(self) -> None:
        """Stop working, and give the leases up."""
        await self.manager.close()
        await self.shards.close()


def build_controllers(parts: Parts, managed: ManagedNodes) -> Controllers:
    """All controllers, not started yet."""
    settings, store, providers, clock = parts.settings, parts.store, parts.providers, parts.clock
    leases = LeaseManager(store, clock=clock, is_dead=is_dead)
    shards = ShardLeases(leases, settings.lease_ttl_s, clock, metrics=LeaseMetrics(parts.metrics))
    guard = Guard(store, shards)
    manager = ControllerManager(
        store.index,
        parts.logs,
        DeploymentController(
            store.index,
            guard,
            clock,
            progress_deadline_s=settings.progress_deadline_s,
            moving=partial(leaving, store.index),
        ),
        _replica_controller(parts, shards, Transitions(guard, clock)),
        NodeController(store, shards, managed, _node_timing(settings), clock),
        ClusterNodeController(store, shards, providers, clock, interval_s=settings.nodes_interval_s),
        Reaper(store, shards, providers, clock, interval_s=_REAP_INTERVAL_S, grace_s=_REAP_GRACE_S),
        resync_s=settings.reconcile_interval_s,
        log_purge_grace_s=settings.log_purge_grace_s,
    )
    return Controllers(manager, shards)


def _replica_controller(parts: Parts, shards: ShardLeases, transitions: Transitions) -> ReplicaController:
    settings, store, providers = parts.settings, parts.store, parts.providers
    backoff = Backoff(settings.backoff_initial_s, settings.backoff_max_s)
    views = PoolViews(store.index, providers)
    ender = Ender(transitions, providers, parts.collector, backoff)
    health = HealthMonitor(parts.session, timeout_s=settings.probe_timeout_s, interval_s=settings.probe_interval_s)
    return ReplicaController(
        store.index,
        shards,
        transitions,
        Starter(transitions, views, providers, store.installation_id, backoff),
        ender,
        Leaver(transitions, health, parts.collector),
        Prober(transitions, ender, health, failures=settings.probe_failures),
        parts.collector,
        providers,
    )


def _node_timing(settings: Settings) -> NodeTiming:
    return NodeTiming(
        interval_s=settings.heartbeat_interval_s,
        suspect_after=settings.node_suspect_intervals,
        lost_after=settings.node_lost_intervals,
        brake_fraction=settings.brake_fraction,
        brake_minimum=settings.brake_minimum,
    )
