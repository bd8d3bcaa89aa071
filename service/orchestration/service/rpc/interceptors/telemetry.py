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
        # Asked for when somebody looks, instead of two steps under a lock for each call.
        Gauge("orchestration_rpc_in_flight", "Calls being served, streams too.", registry=registry).set_function(
            self._counts.in_flight
        )

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """What counts the calls of this method."""
        return _MethodStage(self._counts.of(method))


class _MethodStage(Stage):
    def __init__(self, counts: MethodCounts) -> None:
        self._counts = counts

    def begin(self, call: RpcCall) -> None:
        """Look at the clock."""
        call.started = time.perf_counter()
        self._counts.in_flight += 1

    def end(self, call: RpcCall, error: BaseException | None) -> None:
        """Count the call, and log it."""
        seconds = time.perf_counter() - call.started
        code = "OK" if error is None else _code(error, call.context)
        self._counts.add(code, seconds)
        if code != "OK":
            log.info("call", method=call.method, code=code, ms=round(seconds * 1000, 2), error=str(error))
        elif _level.isEnabledFor(logging.DEBUG):
            log.debug("call", method=call.method, code=code, ms=round(seconds * 1000, 2))


class MethodCounts:
    """Calls of one method: how many by code, and how long they took."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.handled: dict[str, int] = {}
        """By code."""
        self.spread = [0] * (len(_BUCKETS) + 1)
        """How many took as long as each bucket says; the last takes longer ones."""
        self.seconds = 0.0

    def add(self, code: str, seconds: float) -> None:
        """Count a call that is over."""
        self.in_flight -= 1
        self.handled[code] = self.handled.get(code, 0) + 1
        self.spread[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds


class CallCounts(Collector):
    """How many calls there were by method and code, and how long they took.

    Kept as numbers of the event loop's thread, and made into metrics when somebody looks: a counter and a histogram of
    the library's own take two locks a call.
    """

    def __init__(self) -> None:
        self._methods: dict[str, MethodCounts] = {}

    def of(self, method: str) -> MethodCounts:
        """Those of a method."""
        return self._methods.setdefault(method, MethodCounts())

    def in_flight(self) -> int:
        """Calls being served, of all methods."""
        return sum(counts.in_flight for counts in list(self._methods.values()))

    def collect(self) -> Iterator[Metric]:
        """The metrics, as the registry asks for them."""
        handled = CounterMetricFamily("orchestration_rpc_handled", "Calls by method and code.", labels=_LABELS)
        called = [(method, counts) for method, counts in list(self._methods.items()) if counts.handled]
        for method, counts in called:
            for code, count in list(counts.handled.items()):
                handled.add_metric((method, code), count)
        yield handled
        took = HistogramMetricFamily("orchestration_rpc_seconds", "Time of a call.", labels=_LABELS[:1])
        for method, counts in called:
            sums = list(accumulate(counts.spread))
            buckets = list(zip(_BOUNDS, sums, strict=True))
            took.add_metric((method,), buckets, counts.seconds)
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
