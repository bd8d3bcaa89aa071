"""Calls of requests whose head came before that wait for something, in the ways in which a task can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.gateway import eventually
from tests.support.raw_http import connected
from tests.support.repeated_requests import GET, Told, ask, base, get, holds, serving, warm
from tests.support.transcoding_client import running


async def _sleeps(_: Any) -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def _times_out(_: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    async with asyncio.timeout(20):
        await asyncio.sleep(0.01)


async def _times_out_at_once(_: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(-1):
            await asyncio.sleep(0)


async def _groups(_: Any) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0.001, number)) for number in range(3)]
    assert [task.result() for task in tasks] == [0, 1, 2]


async def _is_a_task(_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    await asyncio.sleep(0)
    assert asyncio.current_task() is task


async def _cancels_a_part(_: Any) -> None:
    part = asyncio.create_task(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(part.cancel)
    with pytest.raises(asyncio.CancelledError):
        await part


async def _uses_a_thread(_: Any) -> None:
    assert await asyncio.to_thread(lambda: 3) == 3


WAYS = (_sleeps, _times_out, _times_out_at_once, _groups, _is_a_task, _cancels_a_part, _uses_a_thread)


@pytest.mark.parametrize("way", WAYS)
async def test_a_handler_may_wait_as_it_likes(way: Callable[[Any], Awaitable[None]]) -> None:
    handlers = Told()
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        handlers.does = way
        for _ in range(4):
            assert (await ask(connection)).status == 200
            assert (await ask(connection, get("x", "X-Request-Timeout: 20"))).status == 200


async def test_one_after_the_other_while_more_come() -> None:
    handlers = Told()
    handlers.does = _sleeps
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection)
        for _ in range(200):
            await connection.send(GET)
            await asyncio.sleep(0)
        for _ in range(200):
            assert (await connection.answer()).status == 200


async def test_a_deadline_that_is_over_while_the_handler_waits() -> None:
    handlers = Told()
    request = get("x", "X-Request-Timeout: 0.05")
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection, request)
        handlers.does = lambda _: asyncio.Event().wait()
        for _ in range(3):
            assert (await ask(connection, request)).status == 504
        handlers.does = None
        await warm(connection, request)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_connection_that_is_lost_in_the_moment_in_which_its_call_begins(waits: bool) -> None:
    handlers = Told()
    ended = asyncio.Event()
    async with serving(handlers) as runner, connected(base(runner)) as connection:
        await warm(connection)
        assert runner.server is not None
        (protocol,) = runner.server.connections
        inner = asyncio.get_running_loop().create_future()

        async def abort(_: Any) -> None:
            assert protocol.transport is not None
            protocol.transport.abort()
            if not waits:
                return
            try:
                await inner
            finally:
                ended.set()

        handlers.does = abort
        await connection.send(GET)
        assert await connection.closed()
        await eventually(lambda: holds(not runner.server.connections))  # type: ignore[union-attr]
        if waits:
            await eventually(lambda: holds(ended.is_set() and inner.cancelled()))
            assert handlers.cut == ["x"]


async def test_a_stop_cuts_off_a_call_that_does_not_end() -> None:
    handlers = Told()
    async with serving(handlers, shutdown_timeout_s=0.2) as runner, connected(base(runner)) as connection:
        await warm(connection)
        handlers.does = lambda _: asyncio.Event().wait()
        await connection.send(GET)
        await handlers.called(3)
        await runner.cleanup()
        assert await connection.closed()
        assert handlers.cut == ["x"]
