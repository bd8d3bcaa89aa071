"""Handlers that do all that handlers may do with their context, for comparing the ways in which they can be served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc

from tests.support.transcoding_service import message

Note = Callable[[object], None]
Handler = Callable[..., Any]
CODE = grpc.StatusCode
DEADLINE = {"X-Request-Timeout": "0.5"}


@dataclass(frozen=True)
class Case:
    """A handler, and how it is called."""

    kind: str
    """Name of the method that it serves."""
    make: Callable[[Note], Handler]
    """Makes the handler; what it notes must be the same however it is served."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sends: Sequence[str] = ("a", "b")
    """Texts of the client's messages, where it streams."""
    leaves: int | None = None
    """After how many messages the client goes; None: it reads to the end."""


CASES: dict[str, Case] = {}


def case(kind: str, **options: Any) -> Callable[[Callable[[Note], Handler]], None]:
    """Add what makes a handler of a method."""

    def add(make: Callable[[Note], Handler]) -> None:
        CASES[f"{kind}-{make.__name__}"] = Case(kind, make, **options)

    return add


def tick(number: int) -> Any:
    """A message of Count."""
    return message("Tick")(number=number)


def text_of(text: str) -> Any:
    """A message of Chat."""
    return message("Note")(text=text)


def summary(texts: Sequence[str]) -> Any:
    """The answer of Collect."""
    return message("Summary")(count=len(texts), texts=texts)


def error_of(call: Callable[[], object]) -> str:
    """The type of what a call raises."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "none"


def _over(note: Note, _: object) -> None:
    note("over")


@case("Get")
def answers(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        return request

    return handle


@case("Get", headers={"X-Request-Timeout": "30", "Grpc-Metadata-Who": "me", "Grpc-Metadata-Raw-Bin": "AAH/"})
def context_is_read(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        note(sorted((key, value) for key, value in context.invocation_metadata() if key in ("who", "raw-bin")))
        note((context.peer_identities(), context.peer_identity_key()))
        note(20 < context.time_remaining() < 31)
        note((context.code(), context.details(), context.trailing_metadata(), context.done(), context.cancelled()))
        note(type(context.invocation_metadata()).__name__)
        return request

    return handle


@case("Get")
def no_deadline(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        note(context.time_remaining())
        return request

    return handle


@case("Get")
def metadata_before_and_after(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        context.disable_next_message_compression()
        context.set_trailing_metadata([("cost", "3"), ("raw-bin", b"\x00\x01")])
        note(context.trailing_metadata())
        await context.send_initial_metadata((("served-by", "one"), ("more-bin", b"\xff")))
        return request

    return handle


@case("Get")
def metadata_twice(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("a", "b"),))
        try:
            await context.send_initial_metadata((("a", "c"),))
        except Exception as error:
            note(repr(error))
        note(error_of(lambda: context.set_compression(grpc.Compression.Gzip)))
        return request

    return handle


@case("Get")
def metadata_that_is_none(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        for bad in (5, [("a", 1)], "ab", {"a": "b"}, [("a", "b", "c")]):
            note(error_of(lambda bad=bad: context.set_trailing_metadata(bad)))  # type: ignore[misc]
        return request

    return handle


@case("Get")
def aborts(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("served-by", "one"),))
        await context.abort(CODE.ABORTED, "stale: é 100%", (("cost", "3"),))

    return handle


@case("Get")
def aborts_with_what_was_set(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_details("set before")
        context.set_trailing_metadata((("cost", "3"),))
        await context.abort(CODE.ABORTED)

    return handle


@case("Get")
def aborts_with_a_list(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        await context.abort(CODE.ABORTED, "x", [("cost", "3")])

    return handle


@case("Get")
def aborts_with_status(note: Note) -> Handler:
    class Status(grpc.Status):
        code = CODE.NOT_FOUND
        details = "gone"
        trailing_metadata = (("grpc-status-details-bin", b"\x08\x05\x12\x04gone"), ("cost", "3"))

    async def handle(request: Any, context: Any) -> Any:
        await context.abort_with_status(Status())

    return handle


@case("Get")
def abort_that_was_caught(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        try:
            await context.abort(CODE.NOT_FOUND, "one")
        except grpc.aio.AbortError:
            note("caught")
        return request

    return handle


@case("Get")
def abort_that_became_another_error(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        try:
            await context.abort(CODE.NOT_FOUND, "one")
        except grpc.aio.AbortError as error:
            raise ValueError("secret") from error

    return handle


@case("Get")
def aborts_twice(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        try:
            await context.abort(CODE.NOT_FOUND, "one")
        except grpc.aio.AbortError:
            context.set_code(CODE.INTERNAL)
        try:
            await context.abort(CODE.ABORTED, "two")
        except Exception as error:
            note(repr(error))
            raise

    return handle


@case("Get")
def status_without_abort(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_code(CODE.NOT_FOUND)
        context.set_details("gone")
        note((context.code(), context.details()))
        return request

    return handle


@case("Get")
def number_as_status(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_code(5)
        note(context.code())

    return handle


@case("Get")
def nonsense_as_status(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_code("x")
        return request

    return handle


@case("Get")
def details_alone(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_details("of nothing")
        return request

    return handle


@case("Get")
def raises(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("cost", "3"),))
        raise ValueError("secret")

    return handle


@case("Get")
def raises_after_a_status(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_code(CODE.NOT_FOUND)
        context.set_details("secret?")
        raise ValueError("secret")

    return handle


@case("Get")
def not_implemented(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        context.set_code(CODE.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")

    return handle


@case("Get")
def returns_nothing(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        return None

    return handle


@case("Get")
def returns_something_else(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        return "text"

    return handle


@case("Get")
def reads_of_a_unary_call(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        note(await context.read() is grpc.aio.EOF)
        return request

    return handle


@case("Get")
def callback_that_raises(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        def over(done: Any) -> None:
            note(done.done())

        def fail(done: Any) -> None:
            raise ValueError("secret")

        context.add_done_callback(over)
        context.add_done_callback(fail)
        return request

    return handle


@case("Get", headers=DEADLINE)
def deadline_passes(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            note(context.time_remaining() < 0.3)

    return handle


@case("Get", headers=DEADLINE)
def deadline_is_not_heeded(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return request

    return handle


@case("Get", headers=DEADLINE)
def aborts_after_the_deadline(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await context.abort(CODE.ABORTED, "too late")

    return handle


@case("Get", headers={"X-Request-Timeout": "30"})
def timeout_of_its_own(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    return handle


@case("Get")
def deadline_status_of_its_own(note: Note) -> Handler:
    async def handle(request: Any, context: Any) -> Any:
        await context.abort(CODE.DEADLINE_EXCEEDED, "Deadline Exceeded at the database")

    return handle


@case("Get")
def thread_answers(note: Note) -> Handler:
    def handle(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("cost", "3"),))
        context.send_initial_metadata((("served-by", "one"),))
        note(context.time_remaining())
        return request

    return handle


@case("Get")
def thread_aborts(note: Note) -> Handler:
    def handle(request: Any, context: Any) -> Any:
        context.abort(CODE.ABORTED, "stale", (("cost", "3"),))

    return handle


@case("Get")
def thread_raises(note: Note) -> Handler:
    def handle(request: Any, context: Any) -> Any:
        raise ValueError("secret")

    return handle


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
        context.add_done_callback(partial(_over, note))
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
        context.add_done_callback(partial(_over, note))
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
