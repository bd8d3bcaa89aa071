"""Interceptors that are made otherwise: with other codecs, with plain functions, with a library."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import grpc
from grpc_interceptor import AsyncServerInterceptor
from grpc_interceptor.exception_to_status import AsyncExceptionToStatusInterceptor
from grpc_interceptor.exceptions import AlreadyExists

from tests.support.handler_cases import CODE, Handler, Note
from tests.support.interceptor_tools import (
    Cases,
    Continuation,
    Intercept,
    answers_of,
    method_of,
    named,
    rebuilt,
    wrapping,
)
from tests.support.transcoding_service import SERVICE

CASES = Cases()
case = CASES.add


def _with(**changes: Any) -> Intercept:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        handler = await continuation(details)
        return rebuilt(handler, method_of(handler), **changes)

    return Intercept(intercept)


def _fails(data: Any) -> Any:
    raise ValueError("secret")


@case
def cannot_read(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [_with(request_deserializer=_fails)]


@case
def cannot_read_and_goes_on(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        if handler.request_streaming:
            for read in (request.__anext__, request.__anext__, context.read, context.read):
                try:
                    note(str(await read()))
                except (ValueError, StopAsyncIteration) as error:
                    note(repr(error))
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around), _with(request_deserializer=_fails)]


@case
def cannot_write(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [named("outer", note), _with(response_serializer=_fails)]


@case
def writes_text(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    def as_text(response: Any) -> Any:
        return "text"

    return [_with(response_serializer=as_text)]


@case
def neither_reads_nor_writes(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [_with(request_deserializer=None, response_serializer=None)]


@case
def answers_numbers_as_they_are(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        yield 3

    return [wrapping(around), _with(response_serializer=None)]


_LEFT: list[Coroutine[Any, Any, Any]] = []


def _kept(result: Any) -> Any:
    """A handler's result, which nobody awaits if it is a coroutine."""
    if asyncio.iscoroutine(result):
        _LEFT.append(result)
    return result


def close_what_was_left() -> None:
    """End the coroutines that nobody has awaited."""
    while _LEFT:
        _LEFT.pop().close()


def _directly(call: Callable[[Any], Handler]) -> Intercept:
    """Puts a function around handlers, whatever they are."""

    async def intercept(continuation: Continuation, details: Any) -> Any:
        handler = await continuation(details)
        return rebuilt(handler, call(handler))

    return Intercept(intercept)


@case
def function_around(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """A plain function, as interceptors of synchronous servers have it."""

    def call(handler: Any) -> Handler:
        def wrapped(request: Any, context: Any) -> Any:
            return _kept(method_of(handler)(request, context))

        return wrapped

    return [_directly(call)]


@case
def coroutine_around(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    def call(handler: Any) -> Handler:
        async def wrapped(request: Any, context: Any) -> Any:
            return await method_of(handler)(request, context)

        return wrapped

    return [_directly(call)]


@case
def coroutine_that_gives_the_stream(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    def call(handler: Any) -> Handler:
        async def wrapped(request: Any, context: Any) -> Any:
            result = method_of(handler)(request, context)
            return result if hasattr(result, "__aiter__") else await result

        return wrapped

    return [_directly(call)]


@case
def partial_around(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [_directly(lambda handler: functools.partial(method_of(handler)))]


@case
def object_around(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """What is called to give a coroutine, and is no coroutine function, is taken for synchronous."""

    class Wrapped:
        def __init__(self, handler: Any) -> None:
            self._method = method_of(handler)

        def __call__(self, request: Any, context: Any) -> Any:
            return _kept(self._call(request, context))

        async def _call(self, request: Any, context: Any) -> Any:
            return await self._method(request, context)

    return [_directly(Wrapped)]


class Library(AsyncServerInterceptor):
    """An interceptor of grpc-interceptor."""

    def __init__(self, note: Note) -> None:
        self._note = note

    async def intercept(self, method: Any, request_or_iterator: Any, context: Any, method_name: str) -> Any:
        if not method_name.startswith(f"/{SERVICE}/"):
            response = method(request_or_iterator, context)
            return response if hasattr(response, "__aiter__") else await response
        return await self.inside(method, request_or_iterator, context, method_name)

    async def inside(self, method: Any, request_or_iterator: Any, context: Any, method_name: str) -> Any:
        self._note(method_name)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response


@case
def of_the_library(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [Library(note), Library(note)]


@case
def of_the_library_refusing(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    class Refusing(Library):
        async def inside(self, method: Any, request_or_iterator: Any, context: Any, method_name: str) -> Any:
            await context.abort(CODE.UNAUTHENTICATED, "who are you?", (("why", "no token"),))

    return [Refusing(note)]


@case
def of_the_library_raising(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    class Raising(Library):
        async def inside(self, method: Any, request_or_iterator: Any, context: Any, method_name: str) -> Any:
            raise AlreadyExists("twice")

    return [AsyncExceptionToStatusInterceptor(), Raising(note)]


@case
def of_the_library_mapping_errors(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [AsyncExceptionToStatusInterceptor(CODE.INTERNAL), named("inner", note)]
