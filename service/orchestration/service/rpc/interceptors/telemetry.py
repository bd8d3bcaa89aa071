"""Metrics and the access log: one count, one duration and one line for each call."""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import grpc
import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestration.service.rpc.errors import failure_of
from orchestration.service.rpc.interceptors.base import Context, RpcCall, Stage

_LOGGER = "orchestration.access"
log = structlog.get_logger(_LOGGER)
_level = logging.getLogger(_LOGGER)
"""Whether a line goes anywhere: asking costs a fortieth of a line that is made and then dropped."""
_LABELS = ("method", "code")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BOUNDS = (*(str(float(bound)) for bound in _BUCKETS), "+Inf")


class TelemetryStage(Stage):
    """Counts calls by method and code, measures them, and logs them: failures at info, the others at debug."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts = CallCounts()
        registry.register(self._counts)
        self._in_flight = 0
        # Asked for when somebody looks, instead of two steps under a lock for each call.
        Gauge("orchestration_rpc_in_flight", "Calls being served, streams too.", registry=registry).set_function(
            lambda: self._in_flight
        )

    def begin(self, call: RpcCall) -> None:
        """Look at the clock."""
        call.started = time.perf_counter()
        self._in_flight += 1

    def end(self, call: RpcCall, error: BaseException | None) -> None:
        """Count the call, and log it."""
        self._in_flight -= 1
        seconds = time.perf_counter() - call.started
        code = "OK" if error is None else _code(error, call.context)
        self._counts.add(call.method, code, seconds)
        if code != "OK":
            log.info("call", method=call.method, code=code, ms=round(seconds * 1000, 2), error=str(error))
        elif _level.isEnabledFor(logging.DEBUG):
            log.debug("call", method=call.method, code=code, ms=round(seconds * 1000, 2))


class CallCounts(Collector):
    """How many calls there were by method and code, and how long they took.

    Kept as numbers of the event loop's thread, and made into metrics when somebody looks: a counter and a histogram of
    the library's own take two locks a call.
    """

    def __init__(self) -> None:
        self._handled: dict[tuple[str, str], int] = {}
        self._spread: dict[str, list[int]] = {}
        """By method, how many calls took as long as each bucket says; the last takes longer ones."""
        self._seconds: dict[str, float] = {}

    def add(self, method: str, code: str, seconds: float) -> None:
        """Count a call."""
        self._handled[method, code] = self._handled.get((method, code), 0) + 1
        spread = self._spread.get(method)
        if spread is None:
            spread = self._spread[method] = [0] * (len(_BUCKETS) + 1)
            self._seconds[method] = 0.0
        spread[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds[method] += seconds

    def collect(self) -> Iterator[Metric]:
        """The metrics, as the registry asks for them."""
        handled = CounterMetricFamily("orchestration_rpc_handled", "Calls by method and code.", labels=_LABELS)
        for labels, count in list(self._handled.items()):
            handled.add_metric(labels, count)
        yield handled
        took = HistogramMetricFamily("orchestration_rpc_seconds", "Time of a call.", labels=_LABELS[:1])
        for method, spread in list(self._spread.items()):
            sums = list(accumulate(spread))
            buckets = list(zip(_BOUNDS, sums, strict=True))
            took.add_metric((method,), buckets, self._seconds[method])
        yield took


def _code(error: BaseException, context: Context) -> str:
    match error:
        case GeneratorExit():
            return "OK"
        case asyncio.CancelledError():
            # The server cancels what has run out of its caller's time, too.
            return "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
        case grpc.aio.AbortError():
            status: Any = context.code()
            return "UNKNOWN" if status is None else str(status.name)
        case Exception():
            failure = failure_of(error)
            return failure.code.name if failure else "INTERNAL"
        case _:
            return "INTERNAL"
