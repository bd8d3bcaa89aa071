"""Metrics and the access log: one count, one duration and one line for each call."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

import grpc
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from orchestration.service.rpc.errors import failure_of
from orchestration.service.rpc.interceptors.base import Context, ScopedInterceptor

log = structlog.get_logger("orchestration.access")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class TelemetryInterceptor(ScopedInterceptor):
    """Counts calls by method and code, measures them, and logs them: failures at info, the others at debug."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "code")
        self.handled = Counter("orchestration_rpc_handled", "Calls by method and code.", labels, registry=registry)
        self.seconds = Histogram(
            "orchestration_rpc_seconds", "Time of a call.", ("method",), registry=registry, buckets=_BUCKETS
        )
        self.in_flight = Gauge("orchestration_rpc_in_flight", "Calls being served, streams too.", registry=registry)

    def scope(self, method: str, request: Any, context: Context) -> _Measured:
        """What measures the call."""
        return _Measured(self, method, context)


class _Measured:
    __slots__ = ("_context", "_interceptor", "_method", "_started")

    def __init__(self, interceptor: TelemetryInterceptor, method: str, context: Context) -> None:
        self._interceptor = interceptor
        self._method = method
        self._context = context
        self._started = 0.0

    async def __aenter__(self) -> None:
        self._started = time.perf_counter()
        self._interceptor.in_flight.inc()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        code = _code(error, self._context)
        self._interceptor.in_flight.dec()
        self._interceptor.handled.labels(self._method, code).inc()
        self._interceptor.seconds.labels(self._method).observe(seconds)
        if code == "OK":
            log.debug("call", method=self._method, code=code, ms=round(seconds * 1000, 2))
        else:
            log.info("call", method=self._method, code=code, ms=round(seconds * 1000, 2), error=str(error))


def _code(error: BaseException | None, context: Context) -> str:
    match error:
        case None | GeneratorExit():
            return "OK"
        case asyncio.CancelledError():
            return "CANCELLED"
        case grpc.aio.AbortError():
            return context.code().name
        case Exception():
            failure = failure_of(error)
            return failure.code.name if failure else "INTERNAL"
        case _:
            return "INTERNAL"
