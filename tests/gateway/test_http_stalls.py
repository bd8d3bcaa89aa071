"""Clients that read nothing, or send their request a byte at a time: their connections end."""

from __future__ import annotations

import asyncio
import base64
import os
import select
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from aiohttp import web

from orchestration.gateway import Gateway, GatewayConfig, GatewayRunner, InProcessUpstream
from tests.support.gateway import eventually
from tests.support.raw_http import RawConnection, connected
from tests.support.transcoding_client import Transport, running
from tests.support.transcoding_service import SERVICE, Handlers, message, pool

FORMS = ("application/x-ndjson", "application/json", "text/event-stream", "websocket")
LARGE = 16_000_000
"""More than the buffers of both ends of a connection take."""


class Large(Handlers):
    """Answers much, and notices when a stream is given up."""

    def __init__(self, size: int = LARGE) -> None:
        super().__init__()
        self.size = size
        self.given_up = asyncio.Event()

    async def on_get(self, request: Any, context: Any) -> Any:
        return message("Thing")(name="x" * self.size)

    async def on_count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield message("Tick")(padding="x" * 100_000)
        finally:
            self.given_up.set()


@dataclass
class Listening:
    """A gateway in this process, whose connections can be looked at."""

    runner: GatewayRunner

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    @property
    def connections(self) -> list[web.RequestHandler]:
        assert self.runner.server is not None
        return list(self.runner.server.connections)

    async def asked(self, count: int) -> None:
        """Wait until so many requests have come."""
        server = self.runner.server
        assert server is not None
        deadline = asyncio.get_running_loop().time() + 60
        while server.requests_count < count:
            assert asyncio.get_running_loop().time() < deadline, f"{server.requests_count} requests came"
            await asyncio.sleep(0)

    async def empty(self) -> None:
        """Wait until no connection is left."""

        async def look() -> bool:
            return not self.connections

        await eventually(look, within_s=60, why=lambda: f"{len(self.connections)} connections are left")


@asynccontextmanager
async def serving(handlers: Handlers, *, idle_s: float = 75.0, **config: Any) -> AsyncGenerator[Listening]:
    """The test service behind a runner of its own."""
    gateway = Gateway(InProcessUpstream([handlers.register], (), pool()), [SERVICE], GatewayConfig(**config))
    await gateway.start()
    app = web.Application()
    gateway.install(app)
    runner = GatewayRunner(app, gateway, idle_s=idle_s, shutdown_timeout_s=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Listening(runner)
    finally:
        await runner.cleanup()


async def deaf(base: str, *lines: str) -> socket.socket:
    """A connection that has sent a request, and reads nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    host, port = base.removeprefix("http://").split(":")
    await loop.sock_connect(connection, (host, int(port)))
    await loop.sock_sendall(connection, "\r\n".join([*lines, "Host: a", "", ""]).encode())
    return connection


async def cut_off(connection: socket.socket) -> None:
    """Wait until the other side has reset the connection."""
    poll = select.poll()
    poll.register(connection, 0)

    async def look() -> bool:
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    await eventually(look, within_s=60, why=lambda: "the connection is open")


async def test_an_answer_that_nobody_reads() -> None:
    async with serving(Large(), write_timeout_s=0.3) as service:
        with await deaf(service.base, "GET /v1/things/x HTTP/1.1") as connection:
            await cut_off(connection)
            await service.empty()


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_that_nobody_reads(transport: Transport, form: str) -> None:
    """The RPC ends with the connection."""
    handlers = Large()
    lines = ["GET /v1/ticks HTTP/1.1"]
    if form == "websocket":
        key = base64.b64encode(os.urandom(16)).decode()
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    else:
        lines.append(f"Accept: {form}")
    config = GatewayConfig(write_timeout_s=0.3, keepalive_s=0.05)  # signs of life are no progress
    async with running(transport, config=config, handlers=handlers) as served:
        with await deaf(served.base, *lines) as connection:
            await cut_off(connection)
            await asyncio.wait_for(handlers.given_up.wait(), 60)


@pytest.mark.parametrize("ended_by", ["Connection: close", "Connection: keep-alive"])
async def test_the_rest_of_an_answer_that_nobody_reads(ended_by: str) -> None:
    """So little that nobody waits for it to be sent: the handler has ended, and the connection is to be closed."""
    async with serving(Large(16_384), idle_s=2.0, write_timeout_s=1.0) as service:
        with await deaf(service.base, "GET /v1/things/x HTTP/1.1") as connection:
            loop = asyncio.get_running_loop()
            waiting = 0
            for number in range(2, 5000):
                request = "GET /v1/things/x HTTP/1.1\r\nHost: a\r\n\r\n"
                await loop.sock_sendall(connection, request.encode())
                await service.asked(number)
                (protocol,) = service.connections
                assert protocol.transport is not None
                waiting = protocol.transport.get_write_buffer_size()
                if waiting:
                    break
            assert 0 < waiting < 65536
            await loop.sock_sendall(connection, f"GET /v1/things/x HTTP/1.1\r\nHost: a\r\n{ended_by}\r\n\r\n".encode())
            await service.empty()


async def test_a_slow_reader_gets_everything() -> None:
    """It takes many times the limit, and something in every part of it."""
    async with serving(Large(), write_timeout_s=1.0) as service:
        with await deaf(service.base, "GET /v1/things/x HTTP/1.1", "Connection: close") as connection:
            loop = asyncio.get_running_loop()
            begun, size = loop.time(), 0
            while data := await loop.sock_recv(connection, 200_000):
                size += len(data)
                await asyncio.sleep(0.012)
            assert size > LARGE
            assert loop.time() - begun > 1.0


async def test_no_limit() -> None:
    async with serving(Large(), write_timeout_s=None) as service:
        with await deaf(service.base, "GET /v1/things/x HTTP/1.1", "Connection: close") as connection:
            await asyncio.sleep(0.5)
            size = 0
            while data := await asyncio.get_running_loop().sock_recv(connection, 1 << 20):
                size += len(data)
            assert size > LARGE


@pytest.mark.parametrize("before", [0, 1])
async def test_a_head_that_comes_byte_by_byte(before: int) -> None:
    """The time is that of the whole head, of the first request and of a later one."""
    async with serving(Handlers(), idle_s=1.0) as service, connected(service.base) as connection:
        for _ in range(before):
            await connection.send("GET /v1/things/x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await connection.answer()).status == 200
        ending = asyncio.create_task(connection.closed())
        await connection.send("GET /v1/things/x HTTP/1.1\r\nX-A: ")
        await _trickle(connection, ending)
        assert await ending


async def test_a_body_that_comes_byte_by_byte() -> None:
    async with serving(Handlers(), body_timeout_s=0.5) as service, connected(service.base) as connection:
        answering = asyncio.create_task(connection.answer())
        await connection.send("POST /v1/things HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        await _trickle(connection, answering)
        assert (await answering).status == 408


async def _trickle(connection: RawConnection, until: asyncio.Task[Any]) -> None:
    """Send a byte again and again until something has happened."""
    for _ in range(10_000):
        if until.done():
            return
        try:
            await connection.send("a")
        except ConnectionError:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the connection is still served")


def test_the_event_loop_that_gateways_run_on() -> None:
    """It is another one than that of the tests, with transports of its own."""

    async def each() -> None:
        await test_an_answer_that_nobody_reads()
        await test_a_stream_that_nobody_reads("in_process", "websocket")
        await test_the_rest_of_an_answer_that_nobody_reads("Connection: keep-alive")
        await test_a_slow_reader_gets_everything()
        await test_a_head_that_comes_byte_by_byte(1)

    uvloop.run(each())


def test_the_limit_is_checked() -> None:
    with pytest.raises(ValueError, match="write_timeout_s"):
        GatewayConfig(write_timeout_s=0)
