"""The shape that every interceptor of the gateway has: something entered before the handler and left after it."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import grpc
from grpc_interceptor.server import AsyncServerInterceptor

Context = grpc.aio.ServicerContext[Any, Any]


class ScopedInterceptor(AsyncServerInterceptor):
    """An interceptor that surrounds the handler, unary or streaming, with an asynchronous context manager."""

    @abc.abstractmethod
    def scope(self, method: str, request: Any, context: Context) -> AbstractAsyncContextManager[None]:
        """What surrounds the call. `request` is an iterator when the client streams."""

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Context, method_name: str
    ) -> Any:
        """Run the next in the chain within the scope."""
        response: Any = method(request_or_iterator, context)
        if hasattr(response, "__aiter__"):
            return self._stream(response, method_name, request_or_iterator, context)
        try:
            async with self.scope(method_name, request_or_iterator, context):
                return await response
        finally:
            response.close()  # a scope that raised on entry leaves the handler's coroutine unstarted

    async def _stream(
        self, responses: AsyncIterator[Any], method: str, request: Any, context: Context
    ) -> AsyncIterator[Any]:
        async with self.scope(method, request, context), aclosing(responses):  # type: ignore[type-var]
            async for response in responses:
                yield response
