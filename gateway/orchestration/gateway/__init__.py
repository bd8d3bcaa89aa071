"""A run-time transcoder: REST for any gRPC service whose methods are annotated with ``google.api.http``.

    gateway = Gateway(ChannelUpstream("localhost:50051"))
    await serve(gateway, "127.0.0.1", 8080)

It works from descriptors alone: those of this process, of reflection, or of a descriptor set.
"""

from __future__ import annotations

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.errors import GatewayError, RequestError, RuleError, UpstreamError
from orchestration.gateway.gateway import Gateway
from orchestration.gateway.openapi.config import OpenApiConfig
from orchestration.gateway.runner import GatewayRunner, serve
from orchestration.gateway.upstream import Call, Metadata, Reply, Rpc, Upstream
from orchestration.gateway.upstream.channel import ChannelUpstream
from orchestration.gateway.upstream.in_process import InProcessUpstream

__all__ = [
    "Call",
    "ChannelUpstream",
    "Gateway",
    "GatewayConfig",
    "GatewayError",
    "GatewayRunner",
    "InProcessUpstream",
    "Metadata",
    "OpenApiConfig",
    "Reply",
    "RequestError",
    "Rpc",
    "RuleError",
    "Upstream",
    "UpstreamError",
    "serve",
]
