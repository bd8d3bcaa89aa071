"""One log from hosts, results and IPFS: no line is given twice, and none is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiohttp import web

from orchestration.service.providers.base import InstanceState, LogRecord, ProviderError, ProviderUnavailableError
from orchestration.service.providers.nosana import node
from orchestration.service.providers.nosana.node import LogRequest, new_session, open_log
from tests.service.providers.nosana.test_nosana_life import reach
from tests.support.fake_nosana_process import NosanaHarness
from tests.support.provider_conformance import line, read
from tests.support.provider_processes import ended, gone


def messages(records: list[LogRecord]) -> list[str]:
    """What they say."""
    return [record.message for record in records]


@pytest.mark.parametrize("source", ["manager", "chain", "ipfs"])
async def test_live_lines_and_the_results_are_one_log(harness: NosanaHarness, source: str) -> None:
    harness.change(results=source)
    await harness.provider.create(harness.exiting("one", lines=300, delay_s=0.002))
    live = await line(harness.provider, "one", "line 20")
    await ended(harness.provider, "one")
    await harness.restart()
    rest = await read(harness.provider, "one", after=live.cursor, follow=True)
    assert messages(rest) == [f"line {n}" for n in range(21, 300)]
    assert messages(await read(harness.provider, "one")) == [f"line {n}" for n in range(300)]


async def test_equal_lines_at_the_same_time_are_all_given(harness: NosanaHarness) -> None:
    await harness.provider.create(harness.spec("one"))
    await reach(harness, "one", InstanceState.RUNNING)
    harness.change(say=["same", "same", "same", "other", "same", "", "tail\rend"])
    found = await read(harness.provider, "one")
    expected = ["same", "same", "same", "other", "same", "", "tail\rend"]
    assert messages(found) == expected
    for index, record in enumerate(found):
        assert messages(await read(harness.provider, "one", after=record.cursor)) == expected[index + 1 :]


async def test_a_host_that_has_only_the_last_lines(harness: NosanaHarness) -> None:
    await harness.provider.create(harness.exiting("one", lines=0))
    await ended(harness.provider, "one")
    await harness.provider.create(harness.spec("two"))
    await reach(harness, "two", InstanceState.RUNNING)
    harness.change(say=[f"line {n}" for n in range(10)])
    found = await read(harness.provider, "two")
    harness.change(replay_last=4)
    assert messages(await read(harness.provider, "two")) == [f"line {n}" for n in range(6, 10)]
    assert messages(await read(harness.provider, "two", after=found[7].cursor)) == ["line 8", "line 9"]


async def test_what_hosts_do_themselves_is_told_as_theirs(harness: NosanaHarness) -> None:
    harness.change(node_talks=True)
    await harness.provider.create(harness.serving("one"))
    await line(harness.provider, "one", "line 2")
    first, *rest = await read(harness.provider, "one")
    assert (first.stream, first.message) == ("stderr", "[nosana] pulling the image")
    assert messages(rest) == ["line 0", "line 1", "line 2"]
    assert await read(harness.provider, "one", after=rest[-1].cursor) == []


async def test_results_are_kept_before_a_deployment_is_deleted(harness: NosanaHarness) -> None:
    await harness.provider.create(harness.serving("one"))
    seen = await line(harness.provider, "one", "line 0")
    await line(harness.provider, "one", "line 2")
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    assert messages(await read(harness.provider, "one", after=seen.cursor)) == ["line 1", "line 2"]
    await harness.restart()
    assert messages(await read(harness.provider, "one")) == ["line 0", "line 1", "line 2"]


async def test_results_are_kept_no_longer_than_they_are_to_be(harness: NosanaHarness) -> None:
    await harness.provider.create(harness.exiting("one", lines=2))
    await ended(harness.provider, "one")
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    await harness.restart(results_kept_hours="0")
    async with asyncio.timeout(30):
        while await read(harness.provider, "one"):
            await asyncio.sleep(0.05)


async def test_followers_go_on_over_rotated_jobs(harness: NosanaHarness) -> None:
    await harness.restart(strategy="INFINITE", timeout_minutes="60")
    harness.change(minute_s=0.02)
    await harness.provider.create(harness.serving("one"))
    records = cast("AsyncGenerator[LogRecord]", harness.provider.logs("one", follow=True))
    seen: list[LogRecord] = []
    async with asyncio.timeout(60):
        async for record in records:
            seen.append(record)
            if len(seen) == 8:
                break
    await records.aclose()
    assert messages(seen) == ["line 0", "line 1", "line 2"] * 2 + ["line 0", "line 1"]
    assert len({record.cursor.partition(":")[0] for record in seen}) == 3


async def test_without_a_list_of_hosts_the_job_is_asked_for(harness: NosanaHarness) -> None:
    harness.change(nodes_told=False, streams=False)
    await harness.provider.create(harness.serving("one"))
    assert (await line(harness.provider, "one", "line 2")).stream == "stdout"


async def test_a_host_out_of_reach_is_told(harness: NosanaHarness) -> None:
    harness.change(node_down=True)
    await harness.provider.create(harness.serving("one"))
    await reach(harness, "one", InstanceState.RUNNING)
    with pytest.raises(ProviderUnavailableError, match="cannot be asked for the log"):
        await read(harness.provider, "one")


@asynccontextmanager
async def host(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncGenerator[str]:
    """A host that answers in its own way; its address."""
    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    name, port = runner.addresses[0][:2]
    try:
        yield f"http://{name}:{port}"
    finally:
        await runner.cleanup()


async def connect(url: str) -> None:
    """Open the log of a host, and leave it."""
    async with new_session() as session, open_log(session, LogRequest(url=url, job="j", signer="s", signature="m:s")):
        pass


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_host_sends_the_gateway_nowhere(status: int) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/internal"})

    async with host(answer) as url:
        with pytest.raises(ProviderUnavailableError, match="redirect"):
            await connect(url)
    assert asked == ["/flog"]


async def test_a_host_that_takes_a_connection_and_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(600)
        return web.Response()

    monkeypatch.setattr(node, "CONNECT_S", 0.3)
    async with host(answer) as url:
        with pytest.raises(ProviderUnavailableError, match="no answer in time"):
            async with asyncio.timeout(60):
                await connect(url)


@pytest.mark.parametrize("cursor", ["x", "a:b:c:d:e:f", "job:1:2", "../x:1:0:abc:1:1", "a:1:1::-1:0"])
async def test_a_cursor_of_another_log_is_refused(harness: NosanaHarness, cursor: str) -> None:
    await harness.provider.create(harness.serving("one"))
    with pytest.raises(ProviderError) as caught:
        await read(harness.provider, "one", after=cursor)
    assert caught.value.reason == "INVALID_CURSOR"
