"""Interceptors and what they do when they are asked for a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from tests.support.handler_cases import CODE, Note
from tests.support.interceptor_handlers import SET_OUTSIDE
from tests.support.interceptor_tools import Cases, Continuation, Details, Intercept, handler_of, method_of, named
from tests.support.transcoding_service import SERVICE

CASES = Cases()
case = CASES.add


@case
def passes_on(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        note(("asked", details.method))
        return await continuation(details)

    return [Intercept(intercept)]


@case
def looks_at_the_metadata(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        note([(key, value) for key, value in details.invocation_metadata if key == "who"])
        return await continuation(details)

    return [Intercept(intercept)]


@case
def needs_metadata(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """What is asked for with no metadata at all would be refused."""

    async def intercept(continuation: Continuation, details: Any) -> Any:
        note(dict(details.invocation_metadata)["who"])
        return await continuation(details)

    return [Intercept(intercept)]


@case
def changes_the_metadata(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return await continuation(type(details)(details.method, (("added", "x"),)))

    async def inner(continuation: Continuation, details: Any) -> Any:
        note(details.invocation_metadata)
        return await continuation(details)

    return [Intercept(intercept), Intercept(inner)]


@case
def asks_for_another_method(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return await continuation(type(details)(f"/{SERVICE}/Collect", details.invocation_metadata))

    return [Intercept(intercept)]


@case
def asks_for_no_method(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return await continuation(type(details)("/no.Such/Method", details.invocation_metadata))

    return [Intercept(intercept)]


@case
def passes_on_details_of_its_own(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return await continuation(Details(details.method, details.invocation_metadata))

    return [Intercept(intercept)]


@case
def gives_none(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return None

    return [Intercept(intercept)]


@case
def gives_nonsense(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return "no handler"

    return [Intercept(intercept)]


@case
def gives_what_is_false(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        return ()

    return [Intercept(intercept)]


@case
def raises_when_asked(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        raise KeyError("secret")

    return [Intercept(intercept)]


@case
def inner_raises_and_outer_catches(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def outer(continuation: Continuation, details: Any) -> Any:
        try:
            return await continuation(details)
        except KeyError as error:
            note(repr(error))
            return None

    return [Intercept(outer), *raises_when_asked(note)]


@case
def is_no_coroutine(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    class Plain(Intercept):
        def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
            if handler_call_details.method.startswith(f"/{SERVICE}/"):
                return None
            return continuation(handler_call_details)

    async def unused(continuation: Continuation, details: Any) -> Any:
        return None

    return [Plain(unused)]


@case
def refuses_with_a_unary_handler(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """The usual way to refuse: one handler for methods of all kinds."""

    async def refuse(request: Any, context: Any) -> Any:
        note(type(request).__name__)
        await context.abort(CODE.UNAUTHENTICATED, "who are you?", (("why", "no token"),))

    async def intercept(continuation: Continuation, details: Any) -> Any:
        return handler_of((False, False), refuse)

    return [Intercept(intercept)]


@case
def refuses_every_second_call(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    calls = 0

    async def refuse(request: Any, context: Any) -> Any:
        await context.abort(CODE.RESOURCE_EXHAUSTED, "not so fast")

    async def intercept(continuation: Continuation, details: Any) -> Any:
        nonlocal calls
        calls += 1
        note(calls)
        return await continuation(details) if calls % 2 else handler_of((False, False), refuse)

    return [Intercept(intercept)]


@case
def sets_a_context_variable(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        note(SET_OUTSIDE.get())
        SET_OUTSIDE.set("set")
        return await continuation(details)

    return [Intercept(intercept)]


@case
def takes_its_time(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        await asyncio.sleep(0.01)
        return await continuation(details)

    return [Intercept(intercept)]


@case
def asks_twice(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Continuation, details: Any) -> Any:
        first = await continuation(details)
        second = await continuation(details)
        note(method_of(first) == method_of(second))
        return second

    return [Intercept(intercept)]


@case
def asks_twice_before_another(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [*asks_twice(note), named("inner", note)]


@case
def gives_a_handler_of_its_own(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def answer(request: Any, context: Any) -> Any:
        note(request)
        return b""

    async def intercept(continuation: Continuation, details: Any) -> Any:
        return handler_of((False, False), answer)

    return [Intercept(intercept)]


@case
def streams_where_nobody_streams(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def answer(requests: Any, context: Any) -> AsyncIterator[Any]:
        note([each async for each in requests])
        yield b""

    async def intercept(continuation: Continuation, details: Any) -> Any:
        return handler_of((True, True), answer)

    return [Intercept(intercept)]


@case
def streams_nothing(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
        return
        yield

    async def intercept(continuation: Continuation, details: Any) -> Any:
        return handler_of((False, True), answer)

    return [Intercept(intercept)]


@case
def streams_two(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
        yield b""
        yield b""

    async def intercept(continuation: Continuation, details: Any) -> Any:
        return handler_of((False, True), answer)

    return [Intercept(intercept)]


@case
def handler_is_not_grpcs(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """Anything with the attributes of a handler is one."""

    class Mine:
        def __init__(self, handler: Any) -> None:
            self._handler = handler

        def __getattr__(self, name: str) -> Any:
            return getattr(self._handler, name)

    async def intercept(continuation: Continuation, details: Any) -> Any:
        return Mine(await continuation(details))

    return [Intercept(intercept)]
