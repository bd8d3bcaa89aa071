"""Calls of requests whose head came before on their connection: what comes meanwhile, who goes, and what ends them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import web

from orchestration.gateway import Call, GatewayRunner
from tests.support.gateway import eventually
from tests.support.raw_http import connected
from tests.support.repeated_requests import GET, HOST, Told, ask, base, get, holds, post, serving, started, warm
from tests.support.transcoding_client import Transport, running
from tests.support.transcoding_service import Handlers, message


async def test_what_comes_meanwhile_is_answered_after_it() -> None:
    handlers, let = Told(), asyncio.Event()
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection)
        handlers.does = lambda _: let.wait()
        await connection.send(GET)
        await handlers.called(3)
        await connection.send(get("y") + get("z")[:30])
        await connection.send(get("z")[30:] + GET)
        let.set()
        assert [(await connection.answer()).json["name"] for _ in range(4)] == ["x", "y", "z", "x"]


async def test_much_that_comes_meanwhile_is_not_kept_in_memory() -> None:
    handlers, let = Told(), asyncio.Event()
    large = post({"name": "l" * 3_000_000})
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection)
        handlers.does = lambda _: let.wait()
        await connection.send(GET)
        await handlers.called(3)
        sending = asyncio.create_task(connection.send(large * 10))
        done, _ = await asyncio.wait([sending], timeout=0.5)
        assert not done, "the server went on reading"
        let.set()
        assert (await connection.answer()).json["name"] == "x"
        for _ in range(10):
            assert len((await connection.answer()).json["name"]) == 3_000_000
        await sending
        await warm(connection)


async def test_a_large_request_that_comes_meanwhile_has_a_known_head_too() -> None:
    """As large as what the server reads before it stops until it has answered: it goes on then."""
    handlers, let = Told(), asyncio.Event()
    large = post({"name": "l" * (2**18 - len(post({"name": ""})) - 4)})  # four digits more tell its length
    assert len(large) == 2**18
    async with serving(handlers) as runner, connected(base(runner)) as connection:
        await warm(connection, GET, large)
        handlers.does = lambda _: let.wait()
        await connection.send(GET)
        await handlers.called(3)
        sending = asyncio.create_task(connection.send(large))
        assert runner.server is not None
        (protocol,) = runner.server.connections
        transport = protocol.transport
        assert transport is not None
        await eventually(lambda: holds(not transport.is_reading()))
        let.set()
        for request in (GET, large, large):
            assert (await connection.answer()).status == 200
            await connection.send(request)
        await sending


async def test_who_reads_nothing_is_answered_no_more() -> None:
    handlers = Large(1)
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection)
        handlers.size = 1_000_000
        for _ in range(30):
            await connection.send(GET)
            assert (await served.get("/v1/things/other")).status == 200  # the request has come by then
        assert handlers.asked.count("x") < 20
        for _ in range(30):
            assert len((await connection.answer()).json["name"]) == 1_000_000


class Large(Handlers):
    """Answers as much as it is told, to those that ask for x."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.asked: list[str] = []

    async def on_get(self, request: Any, context: Any) -> Any:
        self.asked.append(request.name)
        return message("Thing")(name="x" * (self.size if request.name == "x" else 1))


@pytest.mark.parametrize("meanwhile", ["", get("y")])
async def test_a_call_ends_when_its_client_goes(transport: Transport, meanwhile: str) -> None:
    handlers = Told()
    async with running(transport, handlers=handlers) as served:
        async with connected(served.base) as connection:
            await warm(connection)
            handlers.does = lambda _: asyncio.Event().wait()
            await connection.send(GET)
            await handlers.called(3)
            await connection.send(meanwhile)
        await eventually(lambda: holds(handlers.cut == ["x"]))
    assert handlers.asked == ["x"] * 3


async def test_a_client_that_goes_leaves_nothing_to_collect() -> None:
    handlers = Told()
    held: list[weakref.ref[Told]] = []

    async def hold(_: Any) -> None:
        local = Told()
        held.append(weakref.ref(local))
        await asyncio.Event().wait()

    async with running("in_process", handlers=handlers) as served:
        gc.collect()
        gc.disable()
        try:
            async with connected(served.base) as connection:
                await warm(connection)
                handlers.does = hold
                await connection.send(GET)
                await handlers.called(3)
            await eventually(lambda: holds(held[0]() is None))
        finally:
            gc.enable()


async def test_a_call_that_is_cancelled_gives_its_answer_to_no_other() -> None:
    """By the end of the channel to the service, while another request waits."""
    handlers = Told()
    async with running("channel", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection)
        handlers.does = lambda _: asyncio.Event().wait()
        await connection.send(GET)
        await handlers.called(3)
        await connection.send(f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n")
        await served.gateway.close()
        assert await connection.closed()


async def test_a_handler_that_cancels_itself_ends_the_connection() -> None:
    def admit(_: str, __: Call) -> None:
        if cancels:
            raise asyncio.CancelledError

    cancels = False
    async with running("in_process", admit=admit) as served, connected(served.base) as connection:
        await warm(connection)
        cancels = True
        await connection.send(GET)
        assert await connection.closed()


async def test_a_stop_waits_for_the_call_under_way() -> None:
    handlers, let = Told(), asyncio.Event()
    async with serving(handlers) as runner, connected(base(runner)) as connection:
        await warm(connection)
        handlers.does = lambda _: let.wait()
        await connection.send(GET)
        await handlers.called(3)
        stopping = asyncio.create_task(runner.cleanup())
        done, _ = await asyncio.wait([stopping], timeout=0.1)
        assert not done
        let.set()
        assert (await connection.answer()).status == 200
        assert await connection.closed()
        await stopping


async def test_idle_connections_end_and_those_with_a_call_do_not() -> None:
    idle_s, handlers = 2.0, Told()
    async with serving(handlers, idle_s) as runner, connected(base(runner)) as connection:
        await warm(connection)
        for _ in range(6):
            await asyncio.sleep(idle_s / 5)  # less than the connection may be idle
            assert (await ask(connection)).status == 200
        handlers.does = lambda _: asyncio.sleep(1.5 * idle_s)
        assert (await ask(connection)).status == 200
        handlers.does = None
        assert (await ask(connection)).status == 200
        assert await connection.closed()


async def test_connections_that_may_not_be_idle_at_all() -> None:
    async with serving(Told(), 0.0) as runner, connected(base(runner)) as connection:
        assert (await ask(connection)).status == 200
        assert await connection.closed()


async def test_a_connection_ends_with_its_answer_when_the_server_is_to_stop() -> None:
    """Though something else keeps it from stopping."""
    handlers, let, stopping, stop = Told(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def linger(_: web.Application) -> None:
        stopping.set()
        await stop.wait()

    async with serving(handlers, on_shutdown=linger) as runner, connected(base(runner)) as connection:
        await warm(connection)
        handlers.does = lambda _: let.wait()
        await connection.send(GET)
        await handlers.called(3)
        stopped = asyncio.create_task(runner.cleanup())
        await stopping.wait()
        let.set()
        assert (await connection.answer()).status == 200
        assert await connection.closed()
        assert not stopped.done()
        stop.set()
        await stopped


async def test_requests_are_counted() -> None:
    async with serving(Told()) as runner, connected(base(runner)) as connection:
        await warm(connection, GET, post({"name": "a"}))
        await warm(connection)
        assert runner.server is not None
        assert runner.server.requests_count == 6


class Guard:
    """Lets callers in until it does not."""

    def __init__(self) -> None:
        self.asked = 0
        self.lets = True

    def check(self) -> None:
        self.asked += 1
        if not self.lets:
            raise web.HTTPForbidden

    @web.middleware
    async def around(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.check()
        answer: web.StreamResponse = await handler(request)
        return answer


async def is_guarded(runner: GatewayRunner, guard: Guard) -> None:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with connected(base(runner)) as connection:
        assert [(await ask(connection)).status for _ in range(5)] == [200] * 5
        guard.lets = False
        assert [(await ask(connection)).status for _ in range(3)] == [403] * 3
    assert guard.asked == 8


async def test_a_handler_around_the_gateway_is_asked_each_time() -> None:
    gateway, guard, app = await started(), Guard(), web.Application()

    async def guarded(request: web.Request) -> web.StreamResponse:
        guard.check()
        return await gateway.handle(request)

    app.router.add_get("/v1/things/x", guarded)
    gateway.install(app)
    runner = GatewayRunner(app, gateway, shutdown_timeout_s=1.0)
    try:
        await is_guarded(runner, guard)
    finally:
        await runner.cleanup()


async def test_a_middleware_around_the_gateway_is_asked_each_time() -> None:
    """Though the gateway serves another application without one."""
    gateway, guard = await started(), Guard()
    apps = web.Application(middlewares=[guard.around]), web.Application()
    for app in apps:
        gateway.install(app)
    runners = [GatewayRunner(app, gateway, shutdown_timeout_s=1.0) for app in apps]
    try:
        await runners[1].setup()
        await is_guarded(runners[0], guard)
    finally:
        for runner in runners:
            await runner.cleanup()
