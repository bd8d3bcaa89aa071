"""Handlers that neither read nor write a stream: what they may do with their context, and how they may end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from tests.support.handler_cases import CODE, DEADLINE, Handler, Note, case, error_of


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
