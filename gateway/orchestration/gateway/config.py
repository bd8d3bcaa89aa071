"""What can be set on a gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestration.gateway.openapi.config import OpenApiConfig


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """Limits and choices of one gateway. Raises ValueError, naming the field, for a value out of range."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Longest request body and WebSocket frame, in bytes, counted after decompression."""
    default_timeout_s: float | None = None
    """Deadline of a unary call that names none, in seconds; None: no deadline."""
    max_timeout_s: float | None = None
    """Longest deadline that a call gets, in seconds; a longer one asked for is cut to it. Streams that name no
    deadline have none."""
    unknown_query: Literal["error", "ignore"] | frozenset[str] = "error"
    """What a query parameter that names no field meets: 400, or silence for all, or silence for those named here."""
    unknown_json: Literal["error", "ignore"] = "error"
    """What an unknown JSON field meets: 400 or silence (which then holds for unknown enum names too)."""
    max_query_parameters: int = 1000
    """Most parameters that a query may hold."""
    openapi: OpenApiConfig = field(default_factory=OpenApiConfig)
    """The OpenAPI document and the page that shows it."""
    error_format: Literal["envelope", "status"] = "envelope"
    """AIP-193's ``{"error": {...}}``, or a flat google.rpc.Status."""
    error_domain: str = "gateway"
    """Domain of the ErrorInfo in the gateway's own errors."""
    cors_origins: Sequence[str] = ()
    """Origins (``https://host[:port]``) that browsers may call from; ``*`` stands for all."""
    keepalive_s: float = 15.0
    """An idle stream gets a sign of life this often, in seconds."""
    stream_start_s: float = 1.0
    """How long the status line of a stream waits for the first message, in seconds. An error that comes within is
    answered with its own HTTP status; a later one stands in the stream."""
    allow_get_body: bool = False
    """Accept rules that give GET or DELETE a body."""
    trusted_proxies: Sequence[str] = ()
    """Networks in CIDR notation whose X-Forwarded-* headers are believed."""

    def __post_init__(self) -> None:
        positive = ("max_body_bytes", "default_timeout_s", "max_timeout_s", "max_query_parameters", "keepalive_s")
        for name in positive:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be greater than 0, not {value}")
        if self.stream_start_s < 0:
            raise ValueError(f"stream_start_s must not be negative, but is {self.stream_start_s}")
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {network!r} is no network such as 10.0.0.0/8: {error}") from error
