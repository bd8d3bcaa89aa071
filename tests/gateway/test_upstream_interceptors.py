"""Interceptors of every kind around handlers of every form, in the process and on a real server: nobody can tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import grpc
import pytest

from orchestration.gateway import Upstream
from tests.support.gateway import eventually
from tests.support.handler_cases import CODE, Handler, Note, tick
from tests.support.interceptor_cases import CASES
from tests.support.interceptor_handlers import FORMS, KINDS
from tests.support.interceptor_tools import Intercept, Make, answers_of, named, wrapping
from tests.support.interceptors_forms import close_what_was_left
from tests.support.transcoding_client import Transport
from tests.support.upstream_calls import observe, upstream_of

_WAITS = "the caller of a server waits for ever"
DIFFERENT: Mapping[tuple[str, str, str], str] = {
    ("streams_two", "", "Get"): _WAITS,
    ("streams_two", "", "Collect"): _WAITS,
    ("aborts_with_ok", "", ""): _WAITS,
    ("raises_a_cancellation", "", ""): _WAITS,
    ("asks_twice_before_another", "", ""): "a server leaves the inner interceptors out when asked again",
    ("asks_for_another_method", "sets_a_status", "Count"): "a server sends an empty message before the status",
    ("asks_for_another_method", "sets_a_status", "Chat"): "a server sends an empty message before the status",
    ("of_the_library_mapping_errors", "threads", "Collect"): "the library tells the name of a class of grpc's",
}
"""Case, form and method, each of them any where it is empty -> why the answers differ."""
BROKEN_OFF = (13, "Internal error from Core", None)
"""What grpc's client makes of a good end that came while it was sending: https://github.com/grpc/grpc/issues/36066."""


async def compare(name: str, form: str) -> None:
    """Call each method twice, here and there, and see what comes back and what handlers and interceptors note."""
    notes_here: list[object] = []
    notes_there: list[object] = []
    handlers = FORMS[form](notes_here.append), FORMS[form](notes_there.append)
    async with (
        upstream_of("in_process", handlers[0], CASES[name](notes_here.append)) as here,
        upstream_of("channel", handlers[1], CASES[name](notes_there.append)) as there,
    ):
        for kind in handlers[0]:
            if DIFFERENT.keys() & {(name, "", ""), (name, "", kind), (name, form, kind)}:
                continue
            for _ in range(2):
                expected = await observe(here, kind)
                found = await _observe(there, kind, notes_there)
                await _told(notes_there, len(notes_here))
                assert (found, notes_there) == (expected, notes_here), (form, kind)
                notes_here.clear()
                notes_there.clear()


async def _observe(there: Upstream, kind: str, notes: list[object]) -> dict[str, object]:
    """Call a method of a server, again where grpc's client has broken off."""
    found = await observe(there, kind)
    for _ in range(10):
        if found.get("error") != BROKEN_OFF:
            break
        notes.clear()
        found = await observe(there, kind)
    return found


async def _told(notes: list[object], expected: int) -> None:
    """Wait for what is noted on the server after the caller has its answer, so that comparing shows what is missing."""

    async def all_told() -> bool:
        return len(notes) >= expected

    with suppress(AssertionError):
        await eventually(all_told, within_s=10)


@pytest.mark.parametrize("name", list(CASES))
async def test_interceptors_are_the_same_everywhere(name: str) -> None:
    for form in FORMS:
        await compare(name, form)
    close_what_was_left()


def hanging(note: Note) -> Mapping[str, Handler]:
    """Handlers that never end by themselves; those that stream say something before."""

    async def one(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            note("handler ends")

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        await one(request, context)

    return {"Get": one, "Count": stream, "Collect": one, "Chat": stream}


def waiting_when_asked(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def intercept(continuation: Any, details: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            note("cancelled when asked")
            raise

    return [Intercept(intercept)]


def waiting_before_the_handler(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        note(context.time_remaining() < 10)
        await asyncio.Event().wait()
        yield

    return [named("outer", note), wrapping(around)]


def waiting_after_the_deadline(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """Sees the end of the handler, and how little time is left."""

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in answers_of(handler, request, context):
                yield response
        finally:
            note(context.time_remaining() < 10)

    return [named("outer", note), wrapping(around), named("inner", note)]


def aborting_late(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in answers_of(handler, request, context):
                yield response
        except asyncio.CancelledError:
            note("cancelled")
            await context.abort(CODE.ABORTED, "too late")

    return [wrapping(around)]


def in_less_time(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    """A deadline of the interceptor's own, before the caller's."""

    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        note(20 < context.time_remaining() < 31)
        try:
            async with asyncio.timeout(1.0):
                async for response in answers_of(handler, request, context):
                    yield response
        except TimeoutError:
            await context.abort(CODE.DEADLINE_EXCEEDED, "in less time")

    return [named("outer", note), wrapping(around)]


async def timed_outcome(transport: Transport, kind: str, make: Make, timeout: float) -> tuple[object, object]:
    notes: list[object] = []
    async with upstream_of(transport, hanging(notes.append), make(notes.append)) as upstream:
        return await observe(upstream, kind, timeout=timeout), notes


@pytest.mark.parametrize(
    ("make", "timeout"),
    [
        (waiting_when_asked, 1.5),
        (waiting_before_the_handler, 1.5),
        (waiting_after_the_deadline, 1.5),
        (aborting_late, 1.5),
        (in_less_time, 30.0),
    ],
)
async def test_deadlines_are_the_same_to_interceptors(make: Make, timeout: float) -> None:
    transports: tuple[Transport, ...] = ("in_process", "channel")
    calls = [timed_outcome(transport, kind, make, timeout) for kind in KINDS for transport in transports]
    outcomes = await asyncio.gather(*calls)
    assert outcomes[::2] == outcomes[1::2]


def leaving(note: Note) -> Sequence[grpc.aio.ServerInterceptor]:
    async def around(handler: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        def over(_: object) -> None:
            note("over")

        context.add_done_callback(over)
        note("begun")
        async for response in answers_of(handler, request, context):
            yield response

    return [wrapping(around), named("inner", note)]


@pytest.mark.parametrize("kind", KINDS)
async def test_callers_who_leave_are_noticed_alike(kind: str) -> None:
    seen: list[list[object]] = []
    for transport in ("in_process", "channel"):
        notes: list[object] = []
        begun = asyncio.Event()

        def note(what: object, notes: list[object] = notes, begun: asyncio.Event = begun) -> None:
            notes.append(what)
            if what == "begun":
                begun.set()

        async def over(notes: list[object] = notes) -> bool:
            return {"over", "inner: CancelledError", "handler ends"} <= set(notes)

        async with upstream_of(transport, hanging(note), leaving(note)) as upstream:
            await observe(upstream, kind, leaves=1 if kind in ("Count", "Chat") else begun)
            await eventually(over, within_s=30)
        seen.append(notes)
    assert seen[0] == seen[1]
