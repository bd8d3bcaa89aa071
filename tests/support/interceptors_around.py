"""Interceptors and what they do around a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from tests.support.handler_cases import CODE, Note, text_of, tick
from tests.support.interceptor_tools import Cases, answers_of, named, wrapping

CASES = Cases()
case = CASES.add


@case
def several(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    return [named(name, note) for name in ("one", "two", "three")]


@case
def aborts_before_the_handler(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("served-by", "guard"),))
        await context.abort(CODE.PERMISSION_DENIED, "no", (("why", "guard"), ("raw-bin", b"\xff")))
        yield

    return [named("outer", note), wrapping(around), named("inner", note)]


@case
def aborts_after_the_handler(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in answers_of(handler, request, context):
            yield response
        await context.abort(CODE.ABORTED, "after all")

    return [wrapping(around)]


@case
def raises_before_the_handler(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        context.set_trailing_metadata((("why", "broken"),))
        raise ValueError("secret")
        yield

    return [named("outer", note), wrapping(around)]


@case
def raises_after_the_handler(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in answers_of(handler, request, context):
            yield response
        raise ValueError("secret")

    return [wrapping(around)]


@case
def adds_metadata(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("served-by", "one"),))
        try:
            async for response in answers_of(handler, request, context):
                yield response
        finally:
            note((context.code(), context.details(), context.trailing_metadata()))
            context.set_trailing_metadata((*context.trailing_metadata(), ("x-request-id", "7")))

    return [wrapping(around), wrapping(around)]


@case
def trails_from_outside_in(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        context.set_trailing_metadata((*context.trailing_metadata(), ("x-request-id", "7")))
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around), wrapping(around)]


@case
def maps_errors(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in answers_of(handler, request, context):
                yield response
        except KeyError as error:
            await context.abort(CODE.OUT_OF_RANGE, str(error))

    return [wrapping(around)]


@case
def swallows_errors(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in answers_of(handler, request, context):
                yield response
        except Exception as error:
            note(repr(error) if not isinstance(error, TypeError) else "TypeError")

    return [named("outer", note), wrapping(around)]


@case
def aborts_what_was_aborted(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in answers_of(handler, request, context):
                yield response
        except grpc.aio.AbortError:
            note((context.code(), context.details(), context.trailing_metadata()))
            context.set_code(CODE.OK)
            context.set_details("changed")
            context.set_trailing_metadata((("changed", "x"),))
            note((context.code(), context.details(), context.trailing_metadata()))
            await context.abort(CODE.DATA_LOSS, "second")

    return [wrapping(around)]


@case
def forgives_a_status(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in answers_of(handler, request, context):
            yield response
        note((context.code(), context.details()))
        context.set_code(CODE.OK)

    return [wrapping(around)]


@case
def sets_a_status(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        context.set_code(CODE.ALREADY_EXISTS)
        context.set_details("there")
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around)]


@case
def reads_ahead(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """Looks at the first message before the handler begins."""

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        if handler.request_streaming:
            note(str(await anext(request)))
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around)]


@case
def reads_all_by_itself(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        while (each := await context.read()) is not grpc.aio.EOF:
            note(str(each))
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around)]


@case
def stops_reading_and_closes(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """The iterator of requests is an asynchronous generator, which ends when it is closed."""

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        if handler.request_streaming:
            async with aclosing(aiter(request)) as messages:
                async for each in messages:
                    note(str(each))
                    break
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around)]


@case
def wraps_the_requests(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def louder(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for each in requests:
            yield text_of(each.text.upper() + "!")
        note("no more requests")

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        given = louder(request) if handler.request_streaming else request
        async for response in answers_of(handler, given, context):
            yield response

    return [wrapping(around), wrapping(around)]


@case
def gives_another_context(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    class Wrapped:
        def __init__(self, context: Any) -> None:
            self._context = context

        def __getattr__(self, name: str) -> Any:
            return getattr(self._context, name)

        def invocation_metadata(self) -> Any:
            return (("who", "another"), ("added", "x"))

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in answers_of(handler, request, Wrapped(context)):
            yield response

    return [wrapping(around)]


@case
def runs_it_in_a_task(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async def collect() -> list[Any]:
            return [response async for response in answers_of(handler, request, context)]

        for response in await asyncio.create_task(collect()):
            yield response

    return [wrapping(around)]


@case
def sends_metadata_late(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in answers_of(handler, request, context):
            yield response
        try:
            await context.send_initial_metadata((("late", "x"),))
        except Exception as error:
            note(repr(error))

    return [wrapping(around)]


@case
def changes_the_answers(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """Each answer twice, where there may be several, and something of its own at the end."""

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        last = None
        async for response in answers_of(handler, request, context):
            last = type(response)()
            yield response
            yield response
        if last is not None:
            yield last

    return [named("outer", note), wrapping(around)]


@case
def drops_the_answers(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for _ in answers_of(handler, request, context):
            note("dropped")
        return
        yield

    return [wrapping(around)]


@case
def aborts_with_ok(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(CODE.OK, "fine")
        yield

    return [named("outer", note), wrapping(around)]


@case
def aborts_with_a_status(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    class Status(grpc.Status):
        code = CODE.NOT_FOUND
        details = "gone"
        trailing_metadata = (("grpc-status-details-bin", b"\x08\x05\x12\x04gone"), ("cost", "4"))

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in answers_of(handler, request, context):
            yield response
        await context.abort_with_status(Status())

    return [wrapping(around)]


@case
def keeps_something_on_the_context(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        context.user = "ann"
        note(context.user)
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around)]


@case
def raises_an_abort_by_hand(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        raise grpc.aio.AbortError("by hand")
        yield

    return [wrapping(around)]


@case
def raises_a_cancellation(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        raise asyncio.CancelledError
        yield

    return [wrapping(around)]


@case
def writes_by_itself(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        if handler.response_streaming:
            await context.write(tick(7) if not handler.request_streaming else text_of("seven"))
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around)]
