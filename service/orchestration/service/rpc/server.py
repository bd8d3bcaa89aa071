"""The gRPC server: three services, health, reflection, and the interceptors around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection as reflection_v1alpha

from orchestration.service.errors import StartError
from orchestration.service.rpc import reflection as reflection_v1
from orchestration.v1 import compute_pools_pb2, model_deployments_pb2, model_registry_pb2

SERVICES = (
    compute_pools_pb2.DESCRIPTOR.services_by_name["ComputePoolManagerService"].full_name,
    model_registry_pb2.DESCRIPTOR.services_by_name["ModelRegistryService"].full_name,
    model_deployments_pb2.DESCRIPTOR.services_by_name["ModelDeploymentService"].full_name,
)
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

Registrar = Callable[[Any], None]
"""Adds one service's handlers to a server, or to whatever collects them like one."""


def server_options(max_message_bytes: int) -> list[tuple[str, Any]]:
    """Channel arguments of the server; their meaning stands in grpc_types.h."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


class GrpcServer:
    """A grpc.aio server on one address."""

    def __init__(
        self,
        registrars: Sequence[Registrar],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        *,
        max_message_bytes: int,
    ) -> None:
        self._server = grpc.aio.server(interceptors=interceptors, options=server_options(max_message_bytes))
        self.health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (*SERVICES, _HEALTH, reflection_v1alpha.SERVICE_NAME, reflection_v1.SERVICE_NAME)
        reflection_v1alpha.enable_server_reflection(names, self._server)
        reflection_v1.add_reflection_v1(names, self._server)
        for register in registrars:
            register(self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port that was really bound. Raises `StartError` when the address cannot be had."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartError(f"gRPC cannot listen on {address}: it is taken or not ours ({error})") from error
        await self._server.start()
        return bound

    async def set_serving(self, serving: bool) -> None:
        """Tell health clients whether the gateway can do its work."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self.health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, let those under way end within the grace, then cancel them."""
        await self.health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
