"""What interceptors are made of, for comparing the ways in which handlers can be served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from tests.support.handler_cases import Handler, Note
from tests.support.transcoding_service import SERVICE

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
Make = Callable[[Note], Sequence[grpc.aio.ServerInterceptor]]
Around = Callable[[Handler, Any, Any], AsyncIterator[Any]]


class Cases(dict[str, Make]):
    """What makes interceptors, by its name."""

    def add(self, make: Make) -> Make:
        """Add a case; what its interceptors note must be the same wherever they are."""
        self[make.__name__] = make
        return make


class Details(grpc.HandlerCallDetails):
    """Details of an interceptor's own."""

    def __init__(self, method: str, invocation_metadata: Any) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


class Intercept(grpc.aio.ServerInterceptor):
    """An interceptor of one function, which is not asked about reflection."""

    def __init__(self, intercept: Callable[[Continuation, Any], Awaitable[Any]]) -> None:
        self._intercept = intercept

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        if not handler_call_details.method.startswith(f"/{SERVICE}/"):
            return await continuation(handler_call_details)
        return await self._intercept(continuation, handler_call_details)


def method_of(handler: Any) -> Handler:
    """What a handler calls."""
    method = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    assert method is not None
    return method  # type: ignore[no-any-return]


_FACTORIES: Mapping[tuple[bool, bool], Any] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def handler_of(kind: tuple[bool, bool], method: Handler, **codecs: Any) -> Any:
    """A handler; its kind says whether the client streams, and whether the server does."""
    return _FACTORIES[kind](method, **codecs)


def rebuilt(handler: Any, method: Handler, **changes: Any) -> Any:
    """A handler of the same kind, with another method."""
    codecs = {"request_deserializer": handler.request_deserializer, "response_serializer": handler.response_serializer}
    return handler_of((handler.request_streaming, handler.response_streaming), method, **{**codecs, **changes})


async def answers_of(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
    """What a handler of any kind answers; one that writes by itself yields nothing."""
    result: Any = method_of(handler)(request, context)
    if hasattr(result, "__aiter__"):
        async with aclosing(result):
            response: Any
            async for response in result:
                yield response
    elif handler.response_streaming:
        await result
    else:
        yield await result


def wrapping(around: Around) -> Intercept:
    """Puts a generator around handlers of all kinds: it gets the handler, the request and the context."""

    async def intercept(continuation: Continuation, details: Any) -> Any:
        handler = await continuation(details)
        if handler.response_streaming:

            async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
                around_it: Any = around(handler, request, context)
                async with aclosing(around_it) as responses:
                    response: Any
                    async for response in responses:
                        yield response

            return rebuilt(handler, stream)

        async def unary(request: Any, context: Any) -> Any:
            answer = None
            async for response in around(handler, request, context):
                answer = response
            return answer

        return rebuilt(handler, unary)

    return Intercept(intercept)


def named(name: str, note: Note) -> Intercept:
    """Notes what happens, in its order."""

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        note(f"{name} begins")
        try:
            async for response in answers_of(handler, request, context):
                yield response
        except BaseException as error:
            note(f"{name}: {type(error).__name__}")
            raise
        note(f"{name} ends")

    return wrapping(around)
