"""What streams cost a gateway process: a reader that does not read, and a thousand clients that go."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from dataclasses import dataclass

import aiohttp
import psutil
import pytest

from tests.support.gateway import eventually
from tests.support.streaming_process import gateway_process

STREAM = "count=2000&padding=100000"
"""200 MB."""
MOST_MB = {"in_process": 12.0, "channel": 32.0}
"""How far the memory of a gateway may grow by a stream that nobody reads. gRPC's own window makes the difference."""
FORMATS = ("application/x-ndjson", "application/json", "text/event-stream", "websocket")


@dataclass
class Measured:
    """A gateway process."""

    pid: int
    port: int

    def rss_mb(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6

    async def stats(self) -> dict[str, int]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/stats") as response:
            return dict(await response.json())

    async def open(self, query: str, form: str) -> socket.socket:
        """A connection that has asked for a stream, and reads nothing by itself."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", self.port))
        lines = [f"GET /v1/ticks?{query} HTTP/1.1", "Host: x"]
        if form == "websocket":
            key = base64.b64encode(os.urandom(16)).decode()
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines += [f"Sec-WebSocket-Key: {key}"]
        else:
            lines.append(f"Accept: {form}")
        await loop.sock_sendall(connection, ("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection


async def first_bytes(connection: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 4096), 30)


@pytest.fixture(params=["in_process", "channel"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
async def test_stream_that_nobody_reads_takes_little_memory(transport: str) -> None:
    async with gateway_process(transport) as (pid, port):
        measured = Measured(pid, port)
        with await measured.open("count=200&padding=100000", FORMATS[0]) as connection:
            await first_bytes(connection)  # what the first stream ever costs is no buffer
        await settled(measured)
        for form in FORMATS:
            before = await settled(measured)
            made = (await measured.stats())["made"]
            with await measured.open(STREAM, form) as connection:
                assert b" 200 " in (head := await first_bytes(connection)) or b" 101 " in head
                after = await settled(measured)
                stats = await measured.stats()
            grown = after - before
            print(f"{transport}, {form}: {grown:.1f} MB of 200 MB; message {stats['made']}, {made} before")
            assert grown < MOST_MB[transport], form
            assert stats["made"] < 1000, "the handler went on"
            await idle(measured, stats["tasks"] - 1)


async def settled(measured: Measured) -> float:
    """The process's memory in MB, once it does not change."""
    seen = [measured.rss_mb()]
    async with asyncio.timeout(60):
        while len(seen) < 8 or max(seen[-8:]) - min(seen[-8:]) > 0.3:
            await asyncio.sleep(0.15)
            seen.append(measured.rss_mb())
    return seen[-1]


PHASES = {
    "before the first message": "linger=true",
    "between two messages": "count=1&linger=true",
    "while it writes": "count=1000&padding=100000",
}
ROUND = 84
"""Streams of one format and phase in one round; three rounds of twelve are some 3,000, a third of them to warm up."""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_clients_that_go_leave_nothing(transport: str) -> None:
    async with gateway_process(transport) as (pid, port):
        measured = Measured(pid, port)
        base = (await measured.stats())["tasks"]
        rss: list[float] = []
        objects: list[int] = []
        for _ in range(3):
            for form in FORMATS:
                for phase, query in PHASES.items():
                    await open_and_drop(measured, query, form, reads=phase != "before the first message")
            await idle(measured, base)
            rss.append(await settled(measured))
            objects.append((await measured.stats())["objects"])
        print(f"{transport}: {ROUND * 12} streams a round; MB after each round {rss}, objects {objects}")
        assert objects[2] - objects[1] < ROUND, "something is kept of each stream"
        assert rss[2] - rss[1] < 8


async def idle(measured: Measured, base: int) -> None:
    """Wait until no more tasks are left than there were."""

    async def look() -> bool:
        return (await measured.stats())["tasks"] <= base

    await eventually(look, within_s=60, why=lambda: f"there are still more than {base} tasks")


async def open_and_drop(measured: Measured, query: str, form: str, *, reads: bool) -> None:
    """Open many streams, and cut the connections."""
    connections = [await measured.open(query, form) for _ in range(ROUND)]
    if reads:
        await asyncio.gather(*(first_bytes(each) for each in connections))
    for each in connections:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # closes with RST
        each.close()


async def test_statistics_are_those_of_the_process() -> None:
    """The figures above would say nothing if a stream that is open did not show."""
    async with gateway_process("in_process") as (pid, port):
        measured = Measured(pid, port)
        before = await measured.stats()
        with await measured.open("count=1&linger=true", FORMATS[0]) as connection:
            assert b" 200 " in await first_bytes(connection)
            assert (await measured.stats())["tasks"] > before["tasks"]
