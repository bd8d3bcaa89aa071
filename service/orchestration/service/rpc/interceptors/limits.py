"""Bounds on what one gateway does at once, and on how long a unary call may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, cast

from orchestration.service.errors import ExhaustedError
from orchestration.service.rpc.interceptors.base import Context, ScopedInterceptor


class DeadlineInterceptor(ScopedInterceptor):
    """Gives a unary call the default deadline when the caller set none, and cuts longer ones to the maximum.

    Streams live as long as both ends want. The caller's own deadline is kept by the server beneath.
    """

    def __init__(self, default_s: float, maximum_s: float) -> None:
        self._default_s = default_s
        self._maximum_s = maximum_s

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Context, method_name: str
    ) -> Any:
        """Run the next in the chain within the deadline."""
        response: Any = method(request_or_iterator, context)
        if hasattr(response, "__aiter__"):
            return response
        async with self.scope(method_name, request_or_iterator, context):
            return await response

    def scope(self, method: str, request: Any, context: Context) -> AbstractAsyncContextManager[Any]:
        """A timeout."""
        # The stubs leave out that there may be none.
        remaining = cast("float | None", context.time_remaining())
        return asyncio.timeout(self._default_s if remaining is None else min(remaining, self._maximum_s))


class ConcurrencyInterceptor(ScopedInterceptor):
    """Refuses a call when as many are being served as this gateway takes; unary calls and streams are counted apart."""

    def __init__(self, max_unary: int, max_streams: int) -> None:
        self._unary = _Slots("calls", max_unary)
        self._streams = _Slots("streams", max_streams)

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Context, method_name: str
    ) -> Any:
        """Run the next in the chain when there is room."""
        response: Any = method(request_or_iterator, context)
        if hasattr(response, "__aiter__"):
            return self._stream(response, method_name, request_or_iterator, context)
        try:
            async with self._unary:
                return await response
        finally:
            response.close()

    def scope(self, method: str, request: Any, context: Context) -> _Slots:
        """A place among the streams; unary calls never come here."""
        return self._streams


class _Slots:
    def __init__(self, what: str, maximum: int) -> None:
        self._what = what
        self._maximum = maximum
        self._used = 0

    async def __aenter__(self) -> None:
        if self._used >= self._maximum:
            message = f"this gateway serves {self._maximum} {self._what} at once and all are taken; try again later"
            raise ExhaustedError("TOO_MANY_CALLS", message, {"limit": str(self._maximum)})
        self._used += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._used -= 1
