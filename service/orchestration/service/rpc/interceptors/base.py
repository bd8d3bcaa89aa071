"""The shape of what surrounds every call: stages, each with something to do before the handler and something after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from orchestration.service.keys import Caller

Context = grpc.aio.ServicerContext[Any, Any]


class Deadline:
    """The end of a call's time: its task is cancelled then. What `asyncio.Timeout` is, without a context manager."""

    __slots__ = ("_cancelling", "_expired", "_task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False

    def expire(self) -> None:
        """The time is over."""
        self._expired = True
        self._task.cancel()

    def settle(self, error: BaseException | None) -> BaseException | None:
        """What the call ended with: TimeoutError where it was cancelled for its time alone. Call it once."""
        if not self._expired:
            return error
        alone = self._task.uncancel() <= self._cancelling
        return TimeoutError() if alone and isinstance(error, asyncio.CancelledError) else error


class RpcCall:
    """One call on its way through the stages."""

    __slots__ = ("caller", "context", "deadline", "method", "request", "scope", "started", "streaming", "waits")

    def __init__(self, method: str, request: Any, context: Context, *, streaming: bool) -> None:
        self.method = method
        """``/package.Service/Method``."""
        self.request = request
        """The message, or an iterator of messages when the client streams."""
        self.context = context
        self.streaming = streaming
        """Whether the server streams."""
        self.started = 0.0
        self.caller: Caller | None = None
        """Whose key it came with; None where nobody is asked for one."""
        self.waits: Callable[[], Deadline] | None = None
        """Called when a unary handler has to wait for something, which most never do; a stage may set it."""
        self.deadline: Deadline | None = None
        """Of the handler, since it waits."""
        self.scope: AbstractAsyncContextManager[Any] | None = None
        """What the handler runs within; a stage may set it."""


class Stage:
    """Something done before the handler of each call, or after it. Nothing here may wait."""

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """What it is for calls of this method, None for nothing; asked once for each method.

        Args:
            method: ``/package.Service/Method``.
            streaming: Whether the server streams.
        """
        return self

    def begin(self, call: RpcCall) -> None:
        """Before the handler. Raise to refuse the call: then no later stage begins, and those that began end."""

    def end(self, call: RpcCall, error: BaseException | None) -> None:
        """After the handler, or after a later stage has refused the call. Must not raise."""
