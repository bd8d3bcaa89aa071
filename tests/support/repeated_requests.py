"""Requests that come again on one connection, byte by byte, and a service that does what it is told with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from orchestration.gateway import Gateway, GatewayRunner, InProcessUpstream
from tests.support.gateway import eventually
from tests.support.raw_http import RawAnswer, RawConnection
from tests.support.transcoding_service import SERVICE, Handlers, message, pool

HOST = "Host: a\r\n"


def get(name: str, *headers: str) -> str:
    return f"GET /v1/things/{name} HTTP/1.1\r\n{HOST}" + "".join(f"{header}\r\n" for header in headers) + "\r\n"


def post(value: object, *headers: str) -> str:
    body = value if isinstance(value, str) else json.dumps(value)
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"POST /v1/things HTTP/1.1\r\n{HOST}{lines}Content-Length: {len(body)}\r\n\r\n{body}"


GET = get("x")


def told(answer: RawAnswer) -> tuple[int, list[tuple[str, str]], bytes]:
    """An answer but for what is new each time."""
    return answer.status, [each for each in answer.headers if each[0] not in ("Date", "X-Request-Id")], answer.body


async def ask(connection: RawConnection, request: str = GET) -> RawAnswer:
    await connection.send(request)
    return await connection.answer()


async def warm(connection: RawConnection, *requests: str) -> None:
    """Have the heads of requests known: the next one with such a head is answered by it."""
    for request in requests or (GET,):
        for _ in range(2):
            assert (await ask(connection, request)).status == 200


class Told(Handlers):
    """Does what it is told, and notes for whom."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.cut: list[str] = []
        self.does: Callable[[Any], Awaitable[object]] | None = None

    async def on_get(self, request: Any, context: Any) -> Any:
        self.asked.append(request.name)
        try:
            if self.does is not None:
                await self.does(context)
        except asyncio.CancelledError:
            self.cut.append(request.name)
            raise
        return message("Thing")(name=request.name)

    async def called(self, count: int) -> None:
        """Wait until so many calls have begun."""

        async def look() -> bool:
            return len(self.asked) == count

        await eventually(look, why=lambda: f"calls: {self.asked}")


async def holds(value: bool) -> bool:
    """A condition to wait for, as it is now."""
    return value


async def started(handlers: Handlers | None = None) -> Gateway:
    """A gateway of the test service in this process."""
    gateway = Gateway(InProcessUpstream([(handlers or Handlers()).register], (), pool()), [SERVICE])
    await gateway.start()
    return gateway


@asynccontextmanager
async def serving(
    handlers: Handlers,
    idle_s: float = 75.0,
    on_shutdown: Callable[[web.Application], Awaitable[None]] | None = None,
    shutdown_timeout_s: float = 5.0,
) -> AsyncGenerator[GatewayRunner]:
    """The test service behind a runner of its own, to be stopped by whoever wants to."""
    gateway = await started(handlers)
    app = web.Application()
    gateway.install(app)
    if on_shutdown is not None:
        app.on_shutdown.append(on_shutdown)
    runner = GatewayRunner(app, gateway, idle_s=idle_s, shutdown_timeout_s=shutdown_timeout_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner
    finally:
        await runner.cleanup()


def base(runner: GatewayRunner) -> str:
    """Where it listens."""
    return f"http://127.0.0.1:{runner.addresses[0][1]}"
