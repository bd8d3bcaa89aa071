"""The interceptors of every call, in one ordered list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from prometheus_client import CollectorRegistry

from orchestration.service.rpc.interceptors.limits import ConcurrencyInterceptor, DeadlineInterceptor
from orchestration.service.rpc.interceptors.recovery import RecoveryInterceptor
from orchestration.service.rpc.interceptors.request_id import RequestIdInterceptor
from orchestration.service.rpc.interceptors.requests import IdempotencyKeyInterceptor, ValidationInterceptor
from orchestration.service.rpc.interceptors.shutdown import ShutdownInterceptor
from orchestration.service.rpc.interceptors.telemetry import TelemetryInterceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that the interceptors keep."""

    max_unary: int = 1000
    max_streams: int = 10_000
    default_deadline_s: float = 30.0
    max_deadline_s: float = 300.0


def build_interceptors(
    limits: Limits, registry: CollectorRegistry, shutdown: ShutdownInterceptor
) -> Sequence[grpc.aio.ServerInterceptor]:
    """The list, outermost first. A call passes them in this order over every transport."""
    return (
        RecoveryInterceptor(),
        RequestIdInterceptor(),
        TelemetryInterceptor(registry),
        DeadlineInterceptor(limits.default_deadline_s, limits.max_deadline_s),
        ConcurrencyInterceptor(limits.max_unary, limits.max_streams),
        shutdown,
        IdempotencyKeyInterceptor(),
        ValidationInterceptor(),
    )
