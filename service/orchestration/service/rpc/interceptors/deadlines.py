"""How long a unary call may take."""

from __future__ import annotations

import asyncio
from typing import cast

from orchestration.service.rpc.interceptors.base import RpcCall, Stage


class DeadlineStage(Stage):
    """Gives a unary call the default deadline when the caller set none, and cuts longer ones to the maximum.

    Streams live as long as both ends want. The caller's own deadline is kept by the server beneath.
    """

    def __init__(self, default_s: float, maximum_s: float) -> None:
        self._maximum_s = maximum_s
        self._defaults = EqualTimeouts(default_s)

    def begin(self, call: RpcCall) -> None:
        """Bound the handler's time."""
        if call.streaming:
            return
        # The stubs leave out that there may be none.
        remaining = cast("float | None", call.context.time_remaining())
        if remaining is None:
            call.scope = self._defaults.start()
        elif remaining > self._maximum_s:
            call.scope = asyncio.timeout(self._maximum_s)

    def end(self, call: RpcCall, error: BaseException | None) -> None:
        """The time no longer matters."""
        if call.scope is not None and not call.streaming:
            self._defaults.stop(call.scope)


class EqualTimeouts:
    """Timeouts that are all equally long, so that they end in the order in which they began: one timer serves them.

    A timer for each call, which is nearly always taken back, costs more than all else that is done for its deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[object, float] = {}
        """When each ends, by the loop's clock; the first one ends first."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> asyncio.Timeout:
        """A timeout that begins now."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a timer of a loop that is gone never comes
            self._loop, self._timer = loop, None
            self._running.clear()
        timeout = asyncio.timeout(None)
        ends_at = self._running[timeout] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(ends_at, self._expire)
        return timeout

    def stop(self, timeout: object) -> None:
        """It is no longer needed; one that is not of these is left alone."""
        self._running.pop(timeout, None)

    def _expire(self) -> None:
        """End those that are due, and come back when the next one is."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._running:
            timeout, ends_at = next(iter(self._running.items()))
            if ends_at > loop.time():
                self._timer = loop.call_at(ends_at, self._expire)
                return
            del self._running[timeout]
            if isinstance(timeout, asyncio.Timeout):
                timeout.reschedule(ends_at)
