"""How long a unary call may take."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestration.service.rpc.interceptors.base import Deadline, RpcCall, Stage


class DeadlineStage(Stage):
    """Gives a unary call the default deadline when the caller set none, and cuts longer ones to the maximum.

    Streams live as long as both ends want. The caller's own deadline is kept by the server beneath.
    """

    def __init__(self, default_s: float, maximum_s: float) -> None:
        self._maximum_s = maximum_s
        self._defaults = EqualDeadlines(default_s)

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """Itself for unary calls."""
        return None if streaming else self

    def begin(self, call: RpcCall) -> None:
        """Bound the time that the handler waits."""
        context: Any = call.context  # its stubs leave out that there may be none
        remaining: float | None = context.time_remaining()
        if remaining is None:
            call.waits = self._defaults.start
        elif remaining > self._maximum_s:
            call.scope = asyncio.timeout(self._maximum_s)

    def end(self, call: RpcCall, error: BaseException | None) -> None:
        """The time no longer matters."""
        if call.deadline is not None:
            self._defaults.stop(call.deadline)


class EqualDeadlines:
    """Deadlines that are all equally far away, so that they come in the order in which they began: one timer does.

    A timer for each call, which is nearly always taken back, costs more than all else that is done for its deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Deadline, float] = {}
        """When each comes, by the loop's clock; the first one comes first."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> Deadline:
        """A deadline of the current task."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a timer of a loop that is gone never comes
            self._loop, self._timer = loop, None
            self._running.clear()
        task = asyncio.current_task(loop)
        assert task is not None
        deadline = Deadline(task)
        at = self._running[deadline] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(at, self._expire)
        return deadline

    def stop(self, deadline: Deadline) -> None:
        """It is no longer needed."""
        self._running.pop(deadline, None)

    def _expire(self) -> None:
        """End those that are due, and come back when the next one is."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._running:
            deadline, at = next(iter(self._running.items()))
            if at > loop.time():
                self._timer = loop.call_at(at, self._expire)
                return
            del self._running[deadline]
            deadline.expire()
