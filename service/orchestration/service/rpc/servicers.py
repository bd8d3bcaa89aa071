"""The three services: each method hands the request to its use case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from orchestration.service.rpc.errors import failure_of
from orchestration.service.rpc.validation import check
from orchestration.service.usecases.deployment_changes import DeploymentChanges
from orchestration.service.usecases.deployments import DeploymentUseCases
from orchestration.service.usecases.heartbeats import HeartbeatUseCase
from orchestration.service.usecases.logs import LogUseCases
from orchestration.service.usecases.models import ModelUseCases
from orchestration.service.usecases.nodes import NodeUseCases
from orchestration.service.usecases.pools import PoolUseCases
from orchestration.service.usecases.providers import ProviderUseCases
from orchestration.service.usecases.watches import WatchUseCase
from orchestration.v1 import compute_pools_pb2 as pools_pb
from orchestration.v1 import compute_pools_pb2_grpc as pools_grpc
from orchestration.v1 import model_deployments_pb2 as deployments_pb
from orchestration.v1 import model_deployments_pb2_grpc as deployments_grpc
from orchestration.v1 import model_registry_pb2_grpc as models_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class ComputePoolManager(pools_grpc.ComputePoolManagerServiceServicer):
    """Pools, nodes and providers."""

    def __init__(
        self, pools: PoolUseCases, nodes: NodeUseCases, heartbeats: HeartbeatUseCase, providers: ProviderUseCases
    ) -> None:
        self._heartbeats = heartbeats
        _serve(self, pools.register_pool, pools.get_pool, pools.list_pools, pools.update_pool, pools.delete_pool)
        _serve(self, pools.list_pool_inventory, nodes.register_node, heartbeats.heartbeat, nodes.list_nodes)
        _serve(self, providers.list_providers, providers.list_provider_resources)

    async def StreamHeartbeats(  # noqa: N802  the RPC's own name
        self, request_iterator: AsyncIterator[pools_pb.HeartbeatRequest], context: Context
    ) -> AsyncIterator[pools_pb.HeartbeatResponse]:
        """Answer each heartbeat in order; one that is refused does not end the stream."""
        async for request in request_iterator:
            try:
                check(request)
                yield await self._heartbeats.heartbeat(request)
            except Exception as error:
                failure = failure_of(error)
                if failure is None:
                    raise
                reason = getattr(failure.details[0], "reason", failure.code.name)
                yield pools_pb.HeartbeatResponse(status=reason, message=failure.message)


class ModelRegistry(models_grpc.ModelRegistryServiceServicer):
    """The model registry."""

    def __init__(self, models: ModelUseCases) -> None:
        _serve(self, models.register_model, models.get_model, models.list_models, models.delete_model)


class ModelDeployments(deployments_grpc.ModelDeploymentServiceServicer):
    """Deployments, their logs and events."""

    def __init__(
        self,
        deployments: DeploymentUseCases,
        changes: DeploymentChanges,
        logs: LogUseCases,
        watches: WatchUseCase,
        http_base: Callable[[], str],
    ) -> None:
        self._logs = logs
        self._watches = watches
        self._http_base = http_base
        _serve(self, deployments.deploy_model, deployments.get_deployment, deployments.list_deployments)
        _serve(self, deployments.list_deployment_events, logs.get_deployment_logs)
        _serve(self, changes.update_deployment, changes.scale_deployment, changes.start_deployment)
        _serve(self, changes.delete_deployment, changes.purge_deployment)

    async def GetLogStreamInfo(  # noqa: N802
        self, request: deployments_pb.GetLogStreamInfoRequest, context: Context
    ) -> deployments_pb.GetLogStreamInfoResponse:
        """Where the log can be followed, at the address by which the caller came."""
        return await self._logs.log_stream_info(request, _caller_base(context) or self._http_base())

    async def TailDeploymentLogs(  # noqa: N802
        self, request: deployments_pb.TailDeploymentLogsRequest, context: Context
    ) -> AsyncIterator[deployments_pb.LogEntry]:
        """Log lines as they come."""
        async for entry in self._logs.tail_deployment_logs(request):
            yield entry

    async def WatchDeployments(  # noqa: N802
        self, request: deployments_pb.WatchDeploymentsRequest, context: Context
    ) -> AsyncIterator[deployments_pb.WatchDeploymentsResponse]:
        """Deployments as they change."""
        async for message in self._watches.watch_deployments(request):
            yield message


def _serve(servicer: object, *use_cases: Callable[[Any], Any]) -> None:
    """Make each use case the servicer's method of the same name: ``register_pool`` serves ``RegisterPool``."""
    for use_case in use_cases:
        name = "".join(part.capitalize() for part in use_case.__name__.split("_"))
        if not hasattr(type(servicer), name):
            raise TypeError(f"{type(servicer).__name__} has no method {name}")
        setattr(servicer, name, _handler(use_case))


def _handler(use_case: Callable[[Any], Any]) -> Callable[[Any, Context], Any]:
    async def handle(request: Any, context: Context) -> Any:
        return await use_case(request)

    return handle


def _caller_base(context: Context) -> str:
    """The REST root by which a REST caller came, as the gateway tells it; empty for a gRPC caller."""
    told = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    host = told.get("x-forwarded-host", "")
    return f"{told.get('x-forwarded-proto', 'http')}://{host}" if host else ""
