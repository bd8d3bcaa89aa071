"""Probes do not stand in one another's way."""

from __future__ import annotations

import asyncio
import json

from orchestration.service.controllers.health import MODEL_EVERY, HealthMonitor, probe_session
from orchestration.service.engines.readiness import ServedModel

_HANGING = 120
"""More than the connections that an HTTP client opens at once unless told otherwise."""


async def test_engines_that_hang_do_not_make_a_healthy_one_look_sick() -> None:
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/hang" in await reader.readline():
            await ended.wait()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, probe_session() as session:
        health = HealthMonitor(session, timeout_s=60.0, interval_s=1.0)
        async with asyncio.TaskGroup() as group:
            for number in range(_HANGING):
                group.create_task(health.ask(f"hanging {number}", endpoint, "/hang", 0.0))
            await asyncio.sleep(0)  # let them all take their connections first
            healthy = group.create_task(health.ask("healthy", endpoint, "/health", 0.0))
            done, _ = await asyncio.wait({healthy}, timeout=20)
            ended.set()
    assert done, "the healthy engine was asked only when the others had timed out"
    assert healthy.result().ready


class Listing:
    """An engine that is well, and lists what it is told to."""

    def __init__(self) -> None:
        self.models = ["demo"]
        self.asked: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked.append(path)
        body = json.dumps({"data": [{"id": name} for name in self.models]}) if path == "/v1/models" else "well"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


async def test_the_model_is_asked_for_at_first_now_and_then_and_until_it_is_back() -> None:
    engine = Listing()
    server = await asyncio.start_server(engine.answer, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    model = ServedModel("/v1/models", "demo")
    async with server, probe_session() as session:
        health = HealthMonitor(session, timeout_s=5.0, interval_s=1.0)

        async def ask() -> bool:
            return (await health.ask("r", endpoint, "/health", 0.0, model)).ready

        assert [await ask() for _ in range(MODEL_EVERY + 1)] == [True] * (MODEL_EVERY + 1)
        assert engine.asked == ["/health", "/v1/models", *["/health"] * MODEL_EVERY, "/v1/models"]
        engine.models = []
        told = [await ask() for _ in range(MODEL_EVERY + 2)]
        assert told == [True] * (MODEL_EVERY - 1) + [False] * 3
        assert health.failures("r") == 3
        engine.models = ["demo"]
        assert await ask()
        assert health.failures("r") == 0
