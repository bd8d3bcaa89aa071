"""Requests of a connection run one after the other, and are apart: of their variables, and of others' turns."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from tests.support.gateway import eventually
from tests.support.raw_http import connected
from tests.support.transcoding_client import running
from tests.support.transcoding_service import Handlers, message

ASK = "GET /v1/things/x HTTP/1.1\r\nHost: a\r\n\r\n"
_caller: ContextVar[str] = ContextVar("_caller", default="nobody")


class Noting(Handlers):
    """Notes what the variable held, and sets it; waits or fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.found: list[str] = []
        self.waits = False
        self.fails = False

    async def on_get(self, request: Any, context: Any) -> Any:
        self.asked.append(request.name)
        self.found.append(_caller.get())
        _caller.set("somebody")
        if self.waits:
            await asyncio.sleep(0)
            await asyncio.to_thread(lambda: None)
            self.found.append(f"still {_caller.get()}")
        if self.fails:
            raise RuntimeError("wrong")
        return message("Thing")(name="x")


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_request_sets_the_next_one_does_not_see(fails: bool) -> None:
    handlers = Noting()
    handlers.fails = fails
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        for waits in (False, True, True, False):
            handlers.waits = waits
            await connection.send(ASK)
            assert (await connection.answer()).status == (500 if fails else 200)
    assert handlers.found == ["nobody", "nobody", "still somebody", "nobody", "still somebody", "nobody"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="aiohttp itself begins each request at once from 3.12 on")
async def test_many_requests_sent_at_once_let_others_have_their_turn() -> None:
    handlers, count = Noting(), 500  # in one piece of what a connection reads
    async with (
        running("in_process", handlers=handlers) as served,
        connected(served.base) as many,
        connected(served.base) as other,
    ):
        await many.send(ASK.replace("things/x", "things/many") * count)
        await other.send(ASK.replace("things/x", "things/other"))
        assert (await other.answer()).status == 200
        for _ in range(count):
            assert (await many.answer()).status == 200
    assert len(handlers.asked) == count + 1
    assert handlers.asked[-1] == "many"


class Waiting(Handlers):
    """Goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.begun = asyncio.Event()
        self.held: weakref.ref[Any] | None = None

    async def on_get(self, request: Any, context: Any) -> Any:
        held = Noting()
        self.held = weakref.ref(held)
        self.begun.set()
        await self.go_on.wait()
        return message("Thing")(name="x")

    async def on_count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield message("Tick")(number=1)
        self.begun.set()
        await self.go_on.wait()


async def test_the_end_of_streams_leaves_alone_what_comes_after_them_on_a_connection() -> None:
    handlers = Waiting()
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await connection.send("GET /v1/ticks HTTP/1.1\r\nHost: a\r\n\r\n")
        await handlers.begun.wait()
        ending = asyncio.create_task(served.gateway.end_streams())
        await asyncio.sleep(0)  # it has looked at what is open
        handlers.go_on.set()
        assert (await connection.answer()).status == 200
        handlers.go_on.clear()
        handlers.begun.clear()
        await connection.send(ASK)
        await handlers.begun.wait()
        await ending
        handlers.go_on.set()
        assert (await connection.answer()).status == 200


async def test_a_request_that_was_cancelled_leaves_nothing_to_collect() -> None:
    handlers = Waiting()
    async with running("in_process", handlers=handlers) as served:
        gc.collect()
        gc.disable()
        try:
            async with connected(served.base) as connection:
                await connection.send(ASK)
                await handlers.begun.wait()

            async def gone() -> bool:
                assert handlers.held is not None
                return handlers.held() is None

            await eventually(gone)
        finally:
            gc.enable()
