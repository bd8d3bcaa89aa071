"""Handlers of all four kinds in every form that gRPC takes, for interceptors to stand before."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import grpc

from tests.support.handler_cases import CODE, Handler, Note, summary, text_of, tick

KINDS = ("Get", "Count", "Collect", "Chat")
"""A method of each kind: unary, server's stream, client's stream, both."""
SET_OUTSIDE: contextvars.ContextVar[str] = contextvars.ContextVar("SET_OUTSIDE", default="unset")
"""Set by interceptors; handlers tell what they see of it."""
TRAILING = (("cost", "3"), ("raw-bin", b"\x00\x01"))


def _seen(note: Note, context: Any) -> None:
    metadata = [(key, value) for key, value in context.invocation_metadata() if key in ("who", "added")]
    note(("handler", metadata, SET_OUTSIDE.get()))


def _yields(note: Note) -> Mapping[str, Handler]:
    async def get(request: Any, context: Any) -> Any:
        _seen(note, context)
        context.set_trailing_metadata(TRAILING)
        return request

    async def count(request: Any, context: Any) -> AsyncIterator[Any]:
        _seen(note, context)
        for number in range(3):
            yield tick(number)
        context.set_trailing_metadata(TRAILING)

    async def collect(requests: Any, context: Any) -> Any:
        _seen(note, context)
        context.set_trailing_metadata(TRAILING)
        return summary([each.text async for each in requests])

    async def chat(requests: Any, context: Any) -> AsyncIterator[Any]:
        _seen(note, context)
        context.set_trailing_metadata(TRAILING)
        async for each in requests:
            yield text_of(each.text * 2)

    return {"Get": get, "Count": count, "Collect": collect, "Chat": chat}


def _writes(note: Note) -> Mapping[str, Handler]:
    async def count(request: Any, context: Any) -> None:
        _seen(note, context)
        await context.send_initial_metadata((("served-by", "writer"),))
        for number in range(3):
            await context.write(tick(number))

    async def collect(requests: Any, context: Any) -> Any:
        _seen(note, context)
        await context.send_initial_metadata((("served-by", "reader"),))
        texts: list[str] = []
        while (each := await context.read()) is not grpc.aio.EOF:
            texts.append(each.text)
        return summary(texts)

    async def chat(requests: Any, context: Any) -> None:
        _seen(note, context)
        while (each := await context.read()) is not grpc.aio.EOF:
            await context.write(text_of(each.text * 2))

    return {"Count": count, "Collect": collect, "Chat": chat}


def _aborts(note: Note) -> Mapping[str, Handler]:
    async def one(request: Any, context: Any) -> Any:
        _seen(note, context)
        await context.abort(CODE.NOT_FOUND, "gone", TRAILING)

    async def count(request: Any, context: Any) -> AsyncIterator[Any]:
        _seen(note, context)
        yield tick(1)
        await context.abort(CODE.NOT_FOUND, "gone", TRAILING)

    async def chat(requests: Any, context: Any) -> AsyncIterator[Any]:
        _seen(note, context)
        async for each in requests:
            yield text_of(each.text)
            await context.abort(CODE.NOT_FOUND, "gone", TRAILING)

    return {"Get": one, "Count": count, "Collect": one, "Chat": chat}


def _raises(note: Note) -> Mapping[str, Handler]:
    async def one(request: Any, context: Any) -> Any:
        _seen(note, context)
        context.set_trailing_metadata(TRAILING)
        raise KeyError("secret")

    async def count(request: Any, context: Any) -> AsyncIterator[Any]:
        _seen(note, context)
        yield tick(1)
        raise KeyError("secret")

    async def chat(requests: Any, context: Any) -> AsyncIterator[Any]:
        _seen(note, context)
        async for each in requests:
            yield text_of(each.text)
            raise KeyError("secret")

    return {"Get": one, "Count": count, "Collect": one, "Chat": chat}


def _sets_a_status(note: Note) -> Mapping[str, Handler]:
    def fail(context: Any) -> None:
        _seen(note, context)
        context.set_code(CODE.FAILED_PRECONDITION)
        context.set_details("not yet")

    async def one(request: Any, context: Any) -> Any:
        fail(context)

    async def count(request: Any, context: Any) -> AsyncIterator[Any]:
        yield tick(1)
        fail(context)

    async def chat(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for each in requests:
            yield text_of(each.text)
        fail(context)

    return {"Get": one, "Count": count, "Collect": one, "Chat": chat}


def _threads(note: Note) -> Mapping[str, Handler]:
    def get(request: Any, context: Any) -> Any:
        context.set_trailing_metadata(TRAILING)
        return request

    def count(request: Any, context: Any) -> Iterator[Any]:
        yield tick(1)
        yield tick(2)

    def collect(requests: Any, context: Any) -> Any:
        return summary([each.text for each in requests])

    def chat(requests: Any, context: Any) -> Iterator[Any]:
        for each in requests:
            yield text_of(each.text * 2)

    return {"Get": get, "Count": count, "Collect": collect, "Chat": chat}


def _unimplemented(note: Note) -> Mapping[str, Handler]:
    """What generated servicers have where nothing was written."""

    def default(request: Any, context: Any) -> Any:
        context.set_code(CODE.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")

    return dict.fromkeys(KINDS, default)


FORMS: Mapping[str, Callable[[Note], Mapping[str, Handler]]] = {
    "yields": _yields,
    "writes": _writes,
    "aborts": _aborts,
    "raises": _raises,
    "sets_a_status": _sets_a_status,
    "threads": _threads,
    "unimplemented": _unimplemented,
}
"""Name -> what makes the handlers, by method."""
