"""Synchronous handlers, such as the defaults of generated servicers, run in threads as `grpc.aio` runs them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final, NoReturn, cast

import grpc

from orchestration.gateway.upstream.context import InProcessContext
from orchestration.gateway.upstream.handoff import BlockingMessages

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

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call this, without arguments, when the call is over. Gives False, and does not, when it is over already."""
        if self._context.done():
            return False

        def call_it(_: object) -> None:
            callback()

        self._context.add_done_callback(call_it)
        return True

    def is_active(self) -> bool:
        """Whether the call is still under way."""
        return not self._context.done()


def as_async(method: Callable[..., Any], *, takes_stream: bool, gives_stream: bool) -> Callable[..., Any]:
    """The method itself where it is asynchronous, else one that runs it in a thread.

    Args:
        method: A handler.
        takes_stream: Whether it gets an iterator of requests, which then is a synchronous one.
        gives_stream: Whether it gives an iterator of responses.
    """
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        return method
    if gives_stream:
        responses = _streaming(method)
        return _with_requests_streaming(responses) if takes_stream else responses
    response = _unary(method)
    return _with_requests(response) if takes_stream else response


def _unary(method: Callable[..., Any]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def call(request: Any, context: InProcessContext) -> Any:
        return await asyncio.to_thread(method, request, ThreadContext(context))

    return call


def _streaming(method: Callable[..., Any]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def call(request: Any, context: InProcessContext) -> AsyncIterator[Any]:
        responses: Iterator[Any] = iter(await asyncio.to_thread(method, request, ThreadContext(context)))
        try:
            while (response := await asyncio.to_thread(next, responses, _END)) is not _END:
                yield response
        except GeneratorExit:
            # Left between two responses, so that the thread is not in it. One that is in it ends with its thread.
            if inspect.isgenerator(responses):
                await asyncio.to_thread(responses.close)
            raise

    return call


def _with_requests(run: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def call(requests: AsyncIterator[Any], context: InProcessContext) -> Any:
        blocking = BlockingMessages(requests)
        try:
            return await run(blocking, context)
        finally:
            blocking.close()

    return call


def _with_requests_streaming(run: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def call(requests: AsyncIterator[Any], context: InProcessContext) -> AsyncIterator[Any]:
        blocking = BlockingMessages(requests)
        try:
            async with aclosing(cast("AsyncGenerator[Any, None]", run(blocking, context))) as responses:
                async for response in responses:
                    yield response
        finally:
            blocking.close()

    return call
