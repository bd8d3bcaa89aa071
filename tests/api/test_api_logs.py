"""Logs of a deployment: pages, where to follow, and the tail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.caller import Caller, moment
from tests.support.faces import ApiError, face_of
from tests.support.gateway import Api, eventually, running_gateway

LINES = [f"line {number}" for number in range(20)]


async def with_lines(api: Caller, **fields: Any) -> str:
    """A running deployment whose every replica has printed LINES."""
    deployment_id = await api.running("--lines", str(len(LINES)), **fields)
    replicas = len((await api.status(deployment_id))["replica_statuses"])

    async def collected() -> bool:
        answer = await api.call("GetDeploymentLogs", deployment_id=deployment_id, tail=5000)
        return texts(answer["logs"]).count(LINES[-1]) == replicas

    await eventually(collected, within_s=30)
    return deployment_id


async def lines(api: Caller, deployment_id: str, **fields: Any) -> list[dict[str, Any]]:
    """The lines of one page."""
    return list((await api.call("GetDeploymentLogs", deployment_id=deployment_id, **fields))["logs"])


def texts(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["message"] for entry in entries]


async def test_a_line_has_all_that_is_known_of_it(api: Caller) -> None:
    deployment_id = await with_lines(api)
    (replica,) = (await api.status(deployment_id))["replica_statuses"]
    entries = await lines(api, deployment_id)
    assert texts(entries)[1:] == LINES
    assert texts(entries)[0].startswith("engine pid")
    assert {entry["stream"] for entry in entries} == {"stdout"}
    assert {entry["replica_id"] for entry in entries} == {replica["replica_id"]}
    assert len({entry["cursor"] for entry in entries}) == len(entries)
    printed = [moment(entry["time"]) for entry in entries]
    assert printed == sorted(printed)
    assert abs(datetime.now(UTC) - printed[-1]) < timedelta(seconds=30)


async def test_what_goes_to_the_standard_error_is_told_apart(api: Caller) -> None:
    deployment_id = await api.running("--say", "careful")

    async def said() -> list[dict[str, Any]]:
        return [entry for entry in await lines(api, deployment_id) if entry["message"] == "careful"]

    (entry,) = await eventually(said, within_s=30)
    assert entry["stream"] == "stderr"


@pytest.mark.parametrize("provider", ["nosana", "local"])
async def test_no_lines_are_an_empty_list(api: Caller, provider: str) -> None:
    deployment_id = await api.deploy(await api.make_pool(provider=provider), replicas=0)
    answer = await api.call("GetDeploymentLogs", deployment_id=deployment_id)
    assert answer == {"deployment_id": deployment_id, "logs": [], "next_page_token": ""}


async def test_the_last_lines(api: Caller) -> None:
    deployment_id = await with_lines(api)
    assert texts(await lines(api, deployment_id, tail=3)) == LINES[-3:]
    assert await lines(api, deployment_id, tail=0) == []
    assert len(await lines(api, deployment_id, tail=5000)) == 21


async def test_a_wrong_number_of_lines_is_refused(api: Caller) -> None:
    for tail in (-1, 5001):
        assert str(tail) in await api.invalid("tail", "GetDeploymentLogs", deployment_id="any", tail=tail)


async def test_pages_go_on_from_where_the_last_ended(api: Caller) -> None:
    deployment_id = await with_lines(api)
    whole = await lines(api, deployment_id)
    read: list[dict[str, Any]] = whole[:1]
    token = whole[0]["cursor"]
    while True:
        answer = await api.call("GetDeploymentLogs", deployment_id=deployment_id, page_token=token, tail=6)
        if not answer["logs"]:
            break
        assert len(answer["logs"]) <= 6
        read += answer["logs"]
        token = answer["next_page_token"]
    assert read == whole
    assert answer["next_page_token"] == token, "the end gives a token to read on from, once there is more"


async def test_the_first_page_gives_a_token_to_read_on(api: Caller) -> None:
    deployment_id = await with_lines(api)
    answer = await api.call("GetDeploymentLogs", deployment_id=deployment_id, tail=5)
    assert answer["next_page_token"] == answer["logs"][-1]["cursor"]
    after = await api.call(
        "GetDeploymentLogs", deployment_id=deployment_id, page_token=answer["next_page_token"], tail=100
    )
    assert after["logs"] == []


async def test_lines_since_a_time(api: Caller) -> None:
    deployment_id = await with_lines(api)
    whole = await lines(api, deployment_id)
    since = whole[10]["time"]
    expected = [entry for entry in whole if moment(entry["time"]) >= moment(since)]
    assert await lines(api, deployment_id, since=since) == expected
    assert await lines(api, deployment_id, since="2999-01-01T00:00:00Z") == []


async def test_lines_of_one_replica(api: Caller) -> None:
    deployment_id = await with_lines(api, replicas=2)
    for replica in (await api.status(deployment_id))["replica_statuses"]:
        entries = await lines(api, deployment_id, replica_id=replica["replica_id"])
        assert {entry["replica_id"] for entry in entries} == {replica["replica_id"]}
        assert texts(entries)[1:] == LINES
    assert await lines(api, deployment_id, replica_id="another") == []


async def test_what_is_no_cursor_is_refused(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(), replicas=0)
    for token in ("nonsense", "!!!", "é"):
        await api.invalid("page_token", "GetDeploymentLogs", deployment_id=deployment_id, page_token=token)
        with pytest.raises(ApiError) as caught:
            await read(api, deployment_id=deployment_id, cursor=token)
        assert list(caught.value.violations) == ["cursor"]


async def test_a_cursor_of_another_deployment_is_refused(api: Caller) -> None:
    first = await with_lines(api)
    cursor = (await lines(api, first))[0]["cursor"]
    second = await api.deploy((await api.status(first))["pool_id"], replicas=0)
    await api.invalid("page_token", "GetDeploymentLogs", deployment_id=second, page_token=cursor)


async def test_logs_outlive_their_replica(api: Caller) -> None:
    deployment_id = await with_lines(api)
    before = await lines(api, deployment_id)
    await api.terminate(deployment_id)
    assert (await lines(api, deployment_id))[: len(before)] == before
    await api.call("StartDeployment", deployment_id=deployment_id)
    await api.reach(deployment_id, "RUNNING")

    async def twice() -> bool:
        return texts(await lines(api, deployment_id, tail=5000)).count(LINES[-1]) == 2

    await eventually(twice, within_s=30)


async def read(api: Caller, count: int = 10_000, **fields: Any) -> list[dict[str, Any]]:
    """The first lines of a tail, at most `count`."""
    entries: list[dict[str, Any]] = []
    async with api.stream("TailDeploymentLogs", **fields) as stream:
        async for entry in stream:
            entries.append(entry)
            if len(entries) == count:
                break
    return entries


async def test_the_tail_has_the_same_lines_in_the_same_order(api: Caller) -> None:
    deployment_id = await with_lines(api, replicas=2)
    whole = await lines(api, deployment_id)
    assert await read(api, deployment_id=deployment_id, follow=False) == whole
    assert await read(api, deployment_id=deployment_id, follow=False, tail=5) == whole[-5:]
    assert await read(api, len(whole), deployment_id=deployment_id) == whole


async def test_the_tail_goes_on_with_new_lines(api: Caller) -> None:
    deployment_id = await with_lines(api)
    async with api.stream("TailDeploymentLogs", deployment_id=deployment_id, tail=1) as stream:
        reading = aiter(stream)
        assert (await anext(reading))["message"] == LINES[-1]
        await api.call("ScaleDeployment", deployment_id=deployment_id, replicas=2)
        more = [(await anext(reading))["message"] for _ in range(1 + len(LINES))]
    assert more[1:] == LINES


async def test_a_cursor_resumes_without_loss_or_repetition(api: Caller) -> None:
    deployment_id = await with_lines(api)
    whole = await lines(api, deployment_id)
    for number, line in enumerate(whole, start=1):
        rest = await read(api, deployment_id=deployment_id, cursor=line["cursor"], follow=False)
        assert rest == whole[number:]


async def test_the_tail_selects_like_the_page(api: Caller) -> None:
    deployment_id = await with_lines(api, replicas=2)
    whole = await lines(api, deployment_id)
    replica = whole[0]["replica_id"]
    expected = [entry for entry in whole if entry["replica_id"] == replica]
    assert await read(api, deployment_id=deployment_id, follow=False, replica_id=replica) == expected
    since = whole[20]["time"]
    expected = [entry for entry in whole if moment(entry["time"]) >= moment(since)]
    assert await read(api, deployment_id=deployment_id, follow=False, since=since) == expected


async def test_a_cursor_and_a_number_of_lines_do_not_go_together(api: Caller) -> None:
    deployment_id = await with_lines(api)
    cursor = (await lines(api, deployment_id))[0]["cursor"]
    with pytest.raises(ApiError) as caught:
        await read(api, deployment_id=deployment_id, cursor=cursor, tail=1)
    assert list(caught.value.violations) == ["tail"]


async def test_the_tail_of_an_unknown_deployment_is_not_found(api: Caller) -> None:
    with pytest.raises(ApiError) as caught:
        await read(api, deployment_id="nothing")
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "DEPLOYMENT_NOT_FOUND")


async def test_the_stream_s_address_works_as_it_is(api: Caller) -> None:
    deployment_id = await with_lines(api)
    whole = await lines(api, deployment_id)
    info = await api.call("GetLogStreamInfo", deployment_id=deployment_id)
    assert (info["supported"], info["provider"]) == (True, "local")
    assert info["subscription"] == {"deployment_id": deployment_id, "cursor": whole[-1]["cursor"]}
    session = api.gateway.rest.session
    async with session.ws_connect(info["ws_url"]) as socket:
        frames = [await socket.receive_json(timeout=30) for _ in whole]
    assert frames == [{"result": entry} for entry in whole]
    async with session.get(info["sse_url"], headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert (await answer.content.readuntil(b"\n\n")).startswith(b"retry: ")
        event = [(await answer.content.readline()).decode().rstrip() for _ in range(2)]
    assert sorted(event)[1] == f"id: {whole[0]['cursor']}"
    assert json.loads(sorted(event)[0].removeprefix("data: ")) == whole[0]


async def test_the_stream_s_address_works_through_a_proxy(tmp_path: Path) -> None:
    """A proxy that says by which name it was called, in front of a gateway that believes it."""
    async with running_gateway(tmp_path, trusted_proxies=("127.0.0.0/8",)) as gateway, proxied(gateway) as base:
        api = Caller(face_of("rest", gateway), gateway)
        deployment_id = await with_lines(api)
        info = await gateway.rest.ok("GET", f"/deployment/logs/{deployment_id}/stream")
        async with gateway.rest.session.get(f"{base}/deployment/logs/{deployment_id}/stream") as answer:
            through = await answer.json()
        assert through["ws_url"] == info["ws_url"].replace(gateway.rest.base[7:], base[7:])
        async with gateway.rest.session.ws_connect(through["ws_url"]) as socket:
            assert (await socket.receive_json(timeout=10))["result"]["message"].startswith("engine pid")
        await api.clean_up()


@asynccontextmanager
async def proxied(gateway: Api) -> AsyncGenerator[str, None]:
    """A proxy that adds its own name to each connection's first request, and passes on bytes; its base."""
    host, port = gateway.rest.base.removeprefix("http://").split(":")
    tasks: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above_reader, above = await asyncio.open_connection(host, int(port))
        line = await reader.readline()
        own = ":".join(str(each) for each in writer.get_extra_info("sockname"))
        above.write(line + f"X-Forwarded-Host: {own}\r\nX-Forwarded-Proto: http\r\n".encode())
        tasks.update({asyncio.create_task(relay(reader, above)), asyncio.create_task(relay(above_reader, writer))})

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield "http://" + ":".join(str(each) for each in server.sockets[0].getsockname())
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_log_that_has_no_lines_has_an_empty_cursor(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(provider="nosana"), replicas=0)
    info = await api.call("GetLogStreamInfo", deployment_id=deployment_id)
    assert info["provider"] == "nosana"
    assert info["subscription"] == {"deployment_id": deployment_id, "cursor": ""}


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [(("127.0.0.0/8",), "wss://api.example.org"), ((), "ws://{address}")],
    ids=["by a trusted proxy", "by anybody else"],
)
async def test_the_stream_s_address_is_that_of_the_proxy(
    tmp_path: Path, trusted: tuple[str, ...], expected: str
) -> None:
    forwarded = {"X-Forwarded-Host": "api.example.org", "X-Forwarded-Proto": "https"}
    async with running_gateway(tmp_path, trusted_proxies=trusted) as gateway:
        api = Caller(face_of("rest", gateway), gateway)
        deployment_id = await api.deploy(await api.make_pool(), replicas=0)
        info = await api.call("GetLogStreamInfo", headers=forwarded, deployment_id=deployment_id)
        address = gateway.rest.base.removeprefix("http://")
        assert info["ws_url"] == f"{expected.format(address=address)}/deployment/logs/{deployment_id}/tail"
