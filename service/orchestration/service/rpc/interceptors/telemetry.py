"""Metrics and the access log: one count, one duration and one line for each call."""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Any

import grpc
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from orchestration.service.rpc.errors import failure_of
from orchestration.service.rpc.interceptors.base import Context, ScopedInterceptor

_LOGGER = "orchestration.access"
log = structlog.get_logger(_LOGGER)
_level = logging.getLogger(_LOGGER)
"""Whether a line goes anywhere: asking costs a fortieth of a line that is made and then dropped."""
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
        self._series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def scope(self, method: str, request: Any, context: Context) -> _Measured:
        """What measures the call."""
        return _Measured(self, method, context)

    def ended(self, method: str, code: str, seconds: float) -> None:
        """Count a call that took so long."""
        # Methods and codes are few and known: the label lookup, under a lock, is made once for each pair.
        series = self._series.get((method, code))
        if series is None:
            series = self.handled.labels(method, code), self.seconds.labels(method)
            self._series[method, code] = series
        self.in_flight.dec()
        series[0].inc()
        series[1].observe(seconds)


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
        self._interceptor.ended(self._method, code, seconds)
        if code != "OK":
            log.info("call", method=self._method, code=code, ms=round(seconds * 1000, 2), error=str(error))
        elif _level.isEnabledFor(logging.DEBUG):
            log.debug("call", method=self._method, code=code, ms=round(seconds * 1000, 2))


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
