"""Server-sent events of a deployment, in the forms in which they may come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from orchestration.service.providers.nosana.api import NosanaApi
from orchestration.service.providers.nosana.models import to_deployment, to_job
from orchestration.service.providers.nosana.states import Seen
from orchestration.service.providers.nosana.streams import Streams
from tests.support.provider_processes import until

ASKED = Seen(deployment=to_deployment({"id": "d", "name": "n", "status": "STARTING"}), jobs=[])
"""What a request told before anything was streamed."""
DEPLOYMENT = b'{"id": "d", "name": "n", "status": "RUNNING", "endpoints": [{"url": "https://e"}]}'
JOB = b'{"job": "j", "state": "RUNNING", "node": "n1", "time_start": 7, "created_at": 5}'


@asynccontextmanager
async def streaming(body: bytes, status: int = 200) -> AsyncGenerator[tuple[Streams, list[int]]]:
    """Streams that follow deployment ``d`` at a server that sends this again and again, as far as it is asked for."""
    asked: list[int] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append(1)
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        while status == 200:
            await answer.write(body)
            await asyncio.sleep(0.05)
        return answer

    app = web.Application()
    app.router.add_get("/api/deployments/d/stream", stream)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    api = NosanaApi(f"http://{host}:{port}", "nos_x")
    await api.start()
    streams = Streams()
    streams.follow(api, "d")
    try:
        yield streams, asked
    finally:
        await streams.close()
        await api.close()
        await runner.cleanup()


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def summary(seen: Seen | None) -> tuple[Any, ...] | None:
    """What matters of it."""
    if seen is None:
        return None
    jobs = [(job.address, job.state, job.node, job.started_at) for job in seen.jobs]
    return (seen.deployment.status, seen.deployment.endpoints, jobs)


@pytest.mark.parametrize(
    "body",
    [
        event(b'{"type": "deployment", "data": ' + DEPLOYMENT + b"}") + event(b'{"type": "job", "data": ' + JOB + b"}"),
        event(b'{"type": "job", "job": ' + JOB + b"}")
        + event(b'{"type": "deployment", "deployment": ' + DEPLOYMENT + b"}"),
        b": hello\r\n\r\nevent: x\r\n"
        + event(DEPLOYMENT[:-1] + b', "type": "deployment"}')
        + event(b"junk")
        + event(JOB[:-1] + b', "type": "job"}')
        + event(b'{"type": "task"}'),
        event(b'{"type": "deployment",\ndata: "data": ' + DEPLOYMENT + b"}")
        + event(b'{"type": "job", "data": ' + JOB + b"}")
        + event(b'{"type": "job", "data": {"job": "j", "state": 1}}')
        + event(b'{"type": "deployment", "data": {"id": "d", "status": "RUNNING"}}'),
    ],
)
async def test_what_is_told_is_seen(body: bytes) -> None:
    wanted = ("RUNNING", ("https://e",), [("j", "RUNNING", "n1", 7.0)])
    async with streaming(body) as (streams, _):
        await until(lambda: told(streams) == wanted, 30)


def told(streams: Streams, asked: Seen = ASKED) -> tuple[Any, ...] | None:
    """What the stream tells, after a request told something once."""
    if streams.seen("d") is None:
        streams.checked(asked, streams.mark("d"))
    return summary(streams.seen("d"))


async def test_nothing_is_known_until_a_request_has_told_all_of_it() -> None:
    """The stream's own beginning tells only of jobs that are not over."""
    body = event(b'{"type": "deployment", "data": ' + DEPLOYMENT + b"}") + event(
        b'{"type": "job", "data": ' + JOB + b"}"
    )
    ended = to_job({"job": "i", "state": "COMPLETED", "time_start": 3, "created_at": 2})
    async with streaming(body) as (streams, asked):
        await until(lambda: len(asked) == 1, 30)
        for _ in range(10):
            await asyncio.sleep(0.02)
            assert streams.seen("d") is None
        wanted = ("RUNNING", ("https://e",), [("i", "COMPLETED", "", 3.0), ("j", "RUNNING", "n1", 7.0)])
        await until(lambda: told(streams, replace(ASKED, jobs=[ended])) == wanted, 30)


async def test_what_was_asked_before_something_was_told_is_not_believed() -> None:
    async with streaming(event(b'{"type": "deployment", "status": "STOPPED"}')) as (streams, asked):
        early = streams.mark("d")
        await until(lambda: asked and streams.mark("d") > early + 1, 30)
        for mark in (early, streams.mark("d") - 1):
            streams.checked(ASKED, mark)
            assert streams.seen("d") is None


async def test_the_messages_of_the_deployment_manager_are_read() -> None:
    body = event(b'{"type": "deployment", "status": "RUNNING", "replicas": 1, "active_revision": 1}')
    body += event(b'{"job": "j", "state": "RUNNING", "node": "n1", "timeStart": 7, "timeEnd": 0}')
    before = time.time()
    async with streaming(body) as (streams, _):
        await until(lambda: told(streams) == ("RUNNING", (), [("j", "RUNNING", "n1", 7.0)]), 30)
        seen = streams.seen("d")
        assert seen is not None
        assert before <= seen.jobs[0].created_at <= time.time(), "a job that no request told of is the newest"


async def test_a_part_changes_what_is_known() -> None:
    body = event(b'{"type": "deployment", "data": ' + DEPLOYMENT + b"}")
    async with streaming(body + event(b'{"type": "deployment", "data": {"id": "d", "status": "STOPPED"}}')) as (
        streams,
        _,
    ):
        await until(lambda: told(streams) == ("STOPPED", ("https://e",), []), 30)


async def test_what_is_too_long_is_asked_for_instead() -> None:
    async with streaming(b"data: " + b"x" * 5_000_000) as (streams, asked):
        await until(lambda: bool(asked), 30)
        await until(lambda: "d" not in streams.followed, 30)
        assert streams.seen("d") is None


async def test_a_server_without_streams_is_not_asked_again() -> None:
    async with streaming(b"", 404) as (streams, asked):
        await until(lambda: "d" not in streams.followed, 30)
        streams.follow(NosanaApi("http://127.0.0.1:1", "nos_x"), "d")
        assert streams.followed == ()
        assert len(asked) == 1
