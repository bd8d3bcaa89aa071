"""Probes do not stand in one another's way."""

from __future__ import annotations

import asyncio

from orchestration.service.controllers.health import HealthMonitor, probe_session

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
        health = HealthMonitor(session, timeout_s=2.0, interval_s=1.0)
        async with asyncio.TaskGroup() as group:
            for number in range(_HANGING):
                group.create_task(health.ask(f"hanging {number}", endpoint, "/hang", 0.0))
            await asyncio.sleep(0)  # let them all take their connections first
            healthy = group.create_task(health.ask("healthy", endpoint, "/health", 0.0))
            done, _ = await asyncio.wait({healthy}, timeout=1.5)
            ended.set()
    assert done, "the healthy engine was asked only when the others had timed out"
    assert healthy.result().ready
