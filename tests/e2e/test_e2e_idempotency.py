"""One request id, many callers, two gateways, and gateways that die before they have answered."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.caller import Caller
from tests.support.faces import ApiError, face_of
from tests.support.gateway import Api, GatewayProcess, end_engines, eventually, tiny

CALLERS = 50


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[list[Api]]:
    """Two gateway processes on one database."""
    processes = [GatewayProcess(tmp_path / "data"), GatewayProcess(tmp_path / "data")]
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(process.api()) for process in processes]
        yield apis
    for process in processes:
        await process.stop()
    end_engines(tmp_path / "data")


def callers(gateways: list[Api]) -> list[Caller]:
    """By both faces of each gateway, so many as there are to be."""
    kinds = [Caller(face_of(face, api), api) for api in gateways for face in ("grpc", "rest")]
    return [kinds[number % len(kinds)] for number in range(CALLERS)]


async def outcomes(calls: list[Awaitable[dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[ApiError]]:
    """The answers, and the errors."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, ApiError):
            raise each
    return [each for each in found if isinstance(each, dict)], [each for each in found if isinstance(each, ApiError)]


async def test_fifty_callers_of_two_gateways_make_one_deployment(gateways: list[Api]) -> None:
    pool_id = await gateways[0].make_pool()
    request = tiny(pool_id, replicas=0, request_id="once", org_id="acme")
    await _both_know(gateways, pool_id)
    answers, errors = await outcomes([caller.call("DeployModel", **request) for caller in callers(gateways)])
    assert errors == []
    assert len(answers) == CALLERS
    assert all(answer == answers[0] for answer in answers)
    other = {**request, "replicas": 1}
    answers, errors = await outcomes([caller.call("DeployModel", **other) for caller in callers(gateways)])
    assert answers == []
    assert {(error.code, error.reason) for error in errors} == {("ALREADY_EXISTS", "REQUEST_ID_REUSED")}
    for api in gateways:
        listed = await api.rest.ok("GET", "/deployment/deployments")
        assert listed["total_size"] == 1


async def test_of_fifty_updates_with_one_etag_one_wins(gateways: list[Api]) -> None:
    pool_id = await gateways[0].make_pool()
    await _both_know(gateways, pool_id)
    deployment_id = await gateways[0].deploy(pool_id, replicas=0)
    etag = (await gateways[0].status(deployment_id))["etag"]
    answers, errors = await outcomes(
        [
            caller.call("UpdateDeployment", deployment_id=deployment_id, etag=etag, labels={"caller": str(number)})
            for number, caller in enumerate(callers(gateways))
        ]
    )
    assert len(answers) == 1
    assert {(error.code, error.reason) for error in errors} == {("ABORTED", "ETAG_MISMATCH")}
    assert len(errors) == CALLERS - 1
    assert (await gateways[0].status(deployment_id))["labels"] == answers[0]["labels"]


async def _both_know(gateways: list[Api], pool_id: str) -> None:
    async def known() -> bool:
        found = [await api.rest.call("GET", f"/deployment/pool/{pool_id}") for api in gateways]
        return all(status == 200 for status, _ in found)

    await eventually(known)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(tmp_path / "data")
    yield process
    await process.stop()
    end_engines(process.data_dir)


async def send_and_not_listen(api: Api, body: dict[str, Any]) -> asyncio.StreamWriter:
    """Send a deploy request and leave its answer unread."""
    address = urlsplit(api.rest.base)
    content = json.dumps(body).encode()
    head = f"POST /deployment/deploy HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    await writer.drain()
    return writer


def committed(data_dir: Path) -> list[str]:
    """Ids of the deployments that are on disk."""
    with closing(sqlite3.connect(f"file:{data_dir / 'orchestration.db'}?mode=ro", uri=True)) as database:
        return [row[0] for row in database.execute("SELECT id FROM deployments ORDER BY id")]


async def test_what_was_committed_and_not_answered_is_answered_after_the_crash(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        request = tiny(await api.make_pool(), replicas=0, request_id="once")
        writer = await send_and_not_listen(api, request)

        async def on_disk() -> list[str]:
            return committed(gateway.data_dir)

        made = await eventually(on_disk)
        await gateway.kill()
        writer.close()
    async with gateway.api() as api:
        answer = await api.rest.ok("POST", "/deployment/deploy", request)
        assert [answer["deployment_id"]] == made
        assert answer["status"] == "DEPLOYING"
        assert committed(gateway.data_dir) == made


@pytest.mark.slow
async def test_a_crash_at_any_moment_of_a_request_leaves_one_deployment(gateway: GatewayProcess) -> None:
    """Killed some milliseconds after the request was sent; sent again until it is answered."""
    seed = random.randrange(1_000_000)
    dice = random.Random(seed)
    pool_id = ""
    made: list[str] = []
    for number in range(6):
        async with gateway.api() as api:
            pool_id = pool_id or await api.make_pool()
            request = tiny(pool_id, replicas=0, request_id=f"key-{number}")
            writer = await send_and_not_listen(api, request)
            await asyncio.sleep(dice.uniform(0.0, 0.03))
            await gateway.kill()
            writer.close()
        async with gateway.api() as api:
            answer = await api.rest.ok("POST", "/deployment/deploy", request)
            made.append(answer["deployment_id"])
            assert await api.rest.ok("POST", "/deployment/deploy", request) == answer
            assert sorted(made) == committed(gateway.data_dir), f"seed {seed}"
            await gateway.kill()


async def test_the_same_request_is_safe_to_send_while_the_gateway_is_away(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        pool_id = await api.make_pool()
        await gateway.kill()
        with pytest.raises(aiohttp.ClientError):
            await api.deploy(pool_id, replicas=0, request_id="k")
    async with gateway.api() as api:
        first = await api.deploy(pool_id, replicas=0, request_id="k")
        assert await api.deploy(pool_id, replicas=0, request_id="k") == first
