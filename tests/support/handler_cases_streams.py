"""Handlers that read a stream, or write one, or both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import grpc

from tests.support.handler_cases import CODE, DEADLINE, Handler, Note, case, over, summary, text_of, tick


@case("Count")
def streams(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("served-by", "one"),))
        for number in range(3):
            yield tick(number)
        context.set_trailing_metadata((("cost", "3"),))

    return handle


@case("Count")
def writes(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> None:
        for number in range(3):
            await context.write(tick(number))

    return handle


@case("Count")
def writes_and_returns(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        await context.write(tick(1))
        return tick(2)

    return handle


@case("Count")
def writes_and_yields(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        await context.write(tick(1))
        try:
            await context.send_initial_metadata((("a", "b"),))
        except Exception as error:
            note(repr(error))
        yield tick(2)

    return handle


@case("Count")
def yields_nothing_in_between(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        await asyncio.sleep(0.1)  # so that the line is out before the error comes
        yield None
        yield tick(2)

    return handle


@case("Count")
def status_at_the_end(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        context.set_code(CODE.NOT_FOUND)
        context.set_details("gone")
        yield tick(2)

    return handle


@case("Count")
def stream_aborts(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        await context.abort(CODE.ABORTED, "stale")

    return handle


@case("Count")
def stream_catches_its_abort(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        try:
            await context.abort(CODE.ABORTED, "stale")
        except grpc.aio.AbortError:
            note("caught")
        yield tick(2)
        note("went on")

    return handle


@case("Count")
def stream_refuses(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("served-by", "one"),))
        await context.abort(CODE.PERMISSION_DENIED, "no", (("cost", "3"),))
        yield

    return handle


@case("Count")
def stream_raises(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        raise ValueError("secret")

    return handle


@case("Count", headers=DEADLINE)
def deadline_in_mid_stream(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield tick(1)
            await asyncio.sleep(60)
        finally:
            note(context.time_remaining() < 0.3)

    return handle


@case("Count", headers=DEADLINE)
def stream_does_not_heed_its_deadline(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("caught")

    return handle


@case("Count", leaves=2)
def cleans_up_slowly(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        context.add_done_callback(partial(over, note))
        try:
            yield tick(1)
            yield tick(2)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("cancelled")
            raise
        finally:
            await asyncio.sleep(0.1)
            note("cleaned up")

    return handle


@case("Count")
def thread_streams(note: Note) -> Handler:
    def handle(request: Any, context: Any) -> Iterator[Any]:
        yield tick(1)
        yield tick(2)

    return handle


@case("Count")
def thread_gives_a_list(note: Note) -> Handler:
    def handle(request: Any, context: Any) -> list[Any]:
        return [tick(1), tick(2)]

    return handle


@case("Count")
def thread_stream_aborts(note: Note) -> Handler:
    def handle(request: Any, context: Any) -> Iterator[Any]:
        yield tick(1)
        time.sleep(0.2)  # grpc's own server hangs when the status overtakes the message
        context.abort(CODE.ABORTED, "stale")

    return handle


@case("Collect")
def collects(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        return summary([each.text async for each in requests])

    return handle


@case("Collect")
def reads(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        texts = [(await context.read()).text]
        texts += [each.text async for each in requests]
        note((await context.read() is grpc.aio.EOF, await context.read() is grpc.aio.EOF))
        return summary(texts)

    return handle


@case("Collect")
def iterates_twice(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        first = [each.text async for each in requests]
        note([each.text async for each in requests])
        return summary(first)

    return handle


@case("Collect", sends=["a"] * 50)
def has_heard_enough(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        async for each in requests:
            return summary([each.text])
        return None

    return handle


@case("Collect", sends=())
def hears_nothing(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        return summary([each.text async for each in requests])

    return handle


@case("Collect")
def collects_and_returns_nothing(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        note([each.text async for each in requests])

    return handle


@case("Collect")
def collects_and_aborts(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> Any:
        await context.read()
        await context.abort(CODE.OUT_OF_RANGE, "enough")

    return handle


@case("Collect")
def thread_collects(note: Note) -> Handler:
    def handle(requests: Any, context: Any) -> Any:
        return summary([each.text for each in requests])

    return handle


@case("Chat")
def talks(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for each in requests:
            yield text_of(each.text * 2)

    return handle


@case("Chat")
def reads_and_writes(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> None:
        while (each := await context.read()) is not grpc.aio.EOF:
            await context.write(text_of(each.text * 2))

    return handle


@case("Chat", sends=["a"])
def talks_after_the_client_has_ended(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> AsyncIterator[Any]:
        note([each.text async for each in requests])
        yield text_of("x")
        await asyncio.sleep(0.05)
        yield text_of("y")

    return handle


@case("Chat")
def thread_talks(note: Note) -> Handler:
    def handle(requests: Any, context: Any) -> Iterator[Any]:
        for each in requests:
            yield text_of(each.text * 2)

    return handle


@case("Chat", leaves=1)
def talk_that_is_left(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> AsyncIterator[Any]:
        context.add_done_callback(partial(over, note))
        try:
            yield text_of("x")
            await asyncio.sleep(60)
        finally:
            note("left")

    return handle


@case("Chat", headers=DEADLINE)
def talk_that_takes_too_long(note: Note) -> Handler:
    async def handle(requests: Any, context: Any) -> AsyncIterator[Any]:
        yield text_of("x")
        await asyncio.sleep(60)

    return handle
