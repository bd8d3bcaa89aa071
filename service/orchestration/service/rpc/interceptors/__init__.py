"""What surrounds every call, in one ordered list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from prometheus_client import CollectorRegistry

from orchestration.service.keys import Keys
from orchestration.service.rpc.interceptors.access import AuthenticationStage, AuthorisationStage
from orchestration.service.rpc.interceptors.base import Stage
from orchestration.service.rpc.interceptors.chain import CallInterceptor
from orchestration.service.rpc.interceptors.concurrency import ConcurrencyStage
from orchestration.service.rpc.interceptors.deadlines import DeadlineStage
from orchestration.service.rpc.interceptors.request_id import RequestIdStage
from orchestration.service.rpc.interceptors.requests import IdempotencyKeyStage, ValidationStage
from orchestration.service.rpc.interceptors.shutdown import ShutdownStage
from orchestration.service.rpc.interceptors.telemetry import TelemetryStage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that the stages keep."""

    max_unary: int = 1000
    max_streams: int = 10_000
    default_deadline_s: float = 30.0
    max_deadline_s: float = 300.0
    keys: Keys = field(default_factory=lambda: Keys({}))
    """Of the callers that are let in; without any, everybody is."""


def build_stages(limits: Limits, registry: CollectorRegistry, shutdown: ShutdownStage) -> Sequence[Stage]:
    """The list, outermost first. A call passes them in this order over every transport, and back."""
    return (
        RequestIdStage(),
        TelemetryStage(registry),
        DeadlineStage(limits.default_deadline_s, limits.max_deadline_s),
        AuthenticationStage(limits.keys),
        AuthorisationStage(),
        ConcurrencyStage(limits.max_unary, limits.max_streams),
        shutdown,
        IdempotencyKeyStage(),
        ValidationStage(),
    )


def build_interceptors(
    limits: Limits, registry: CollectorRegistry, shutdown: ShutdownStage
) -> Sequence[grpc.aio.ServerInterceptor]:
    """What a server is given: the stages, with error mapping around them."""
    return (CallInterceptor(build_stages(limits, registry, shutdown)),)
