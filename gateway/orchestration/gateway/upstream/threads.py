"""Synchronous handlers, such as the defaults of generated servicers, run in threads as `grpc.aio` runs them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, NoReturn

import grpc

from orchestration.gateway.upstream.context import InProcessContext

_END: Final = object()


class ThreadContext:
    """The context as a synchronous handler sees it: what ends the call does not have to be awaited."""

    def __init__(self, context: InProcessContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status: raises `grpc.aio.AbortError`."""
        self._context.end(code, details, trailing_metadata)

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status and its trailing metadata."""
        self._context.end(status.code, status.details, status.trailing_metadata or ())

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Metadata that goes before the messages."""
        self._context.keep_initial_metadata(initial_metadata)


def as_async(method: Callable[..., Any], *, streams: bool) -> Callable[..., Any]:
    """The method itself where it is asynchronous, else one that runs it in a thread.

    Args:
        method: A handler.
        streams: Whether it gives an iterator of responses.
    """
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        return method
    return _streaming(method) if streams else _unary(method)


def _unary(method: Callable[..., Any]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def call(request: Any, context: InProcessContext) -> Any:
        return await asyncio.to_thread(method, request, ThreadContext(context))

    return call


def _streaming(method: Callable[..., Any]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def call(request: Any, context: InProcessContext) -> AsyncIterator[Any]:
        responses: Iterator[Any] = iter(await asyncio.to_thread(method, request, ThreadContext(context)))
        while (response := await asyncio.to_thread(next, responses, _END)) is not _END:
            yield response

    return call
