"""Section M: streams over WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from orchestration.gateway import GatewayConfig
from tests.support.transcoding_client import Running, Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def frames(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """All that the server sends until it closes."""
    async with asyncio.timeout(30):
        return [json.loads(frame.data) async for frame in socket]


async def test_server_stream(served: Running) -> None:
    """T218: the query is the request."""
    async with served.socket("/v1/ticks?count=2") as socket:
        assert [frame["result"]["number"] for frame in await frames(socket)] == [1, 2]
        assert socket.close_code == 1000


async def test_frames_are_never_indented(served: Running) -> None:
    async with served.socket("/v1/ticks?count=1&$prettyPrint=true") as socket:
        assert "\n" not in await socket.receive_str(timeout=30)


async def test_server_stream_with_a_body(served: Running) -> None:
    """T218: the first frame is the request where the rule has a body; there is no second one."""
    async with served.socket("/v1/ticks/from/7") as socket:
        await socket.send_str('{"count":2}')
        assert [frame["result"]["number"] for frame in await frames(socket)] == [8, 9]
    async with served.socket("/v1/ticks/from/7") as socket:
        await socket.send_str('{"linger":true}')
        await socket.send_str("{}")
        assert (await frames(socket))[-1]["error"]["details"][0]["reason"] == "UNEXPECTED_MESSAGE"


async def test_error_is_the_last_frame(served: Running) -> None:
    """T215."""
    async with served.socket("/v1/ticks?count=9&fail_after=1") as socket:
        first, last = await frames(socket)
        assert first["result"]["number"] == 1
        assert last["error"]["status"] == "RESOURCE_EXHAUSTED"
        assert socket.close_code == 1011


async def test_conversation(served: Running) -> None:
    """T211: the path is bound to the first message only."""
    async with served.socket("/v1/rooms/lobby/chat") as socket:
        await socket.send_str('{"text":"one"}')
        assert await socket.receive_json(timeout=30) == {"result": {"room": "lobby", "text": "ONE"}}
        await socket.send_str('{"text":"two"}')
        assert await socket.receive_json(timeout=30) == {"result": {"room": "", "text": "TWO"}}
        await socket.send_str("")
        assert await frames(socket) == []
        assert socket.close_code == 1000


@pytest.mark.parametrize("end", ["", b""])
async def test_client_stream_ends_with_an_empty_frame(served: Running, end: str | bytes) -> None:
    """T214."""
    async with served.socket("/v1/rooms/a/collect") as socket:
        await socket.send_str('{"text":"x"}')
        await socket.send_str('{"text":"y"}')
        await (socket.send_str(end) if isinstance(end, str) else socket.send_bytes(end))
        assert await frames(socket) == [{"result": {"count": 2, "texts": ["a/x", "/y"]}}]
        assert socket.close_code == 1000


async def test_empty_client_stream(served: Running) -> None:
    """T209."""
    async with served.socket("/v1/rooms/a/collect") as socket:
        await socket.send_str("")
        assert await frames(socket) == [{"result": {"count": 0, "texts": []}}]


@pytest.mark.parametrize(
    ("frame", "field"),
    [('{"text":5}', "text"), ('{"nope":1}', "nope"), ("{", ""), ('{"room":"b"}', "room"), ("[]", "")],
)
async def test_bad_frame_ends_the_call(served: Running, frame: str, field: str) -> None:
    async with served.socket("/v1/rooms/a/chat") as socket:
        await socket.send_str(frame)
        (last,) = await frames(socket)
        assert last["error"]["code"] == 400
        assert last["error"]["details"][1]["field_violations"][0]["field"] == field
        assert socket.close_code == 1011


async def test_binary_frame_is_refused(served: Running) -> None:
    async with served.socket("/v1/rooms/a/chat") as socket:
        await socket.send_bytes(b"{}")
        assert (await frames(socket))[0]["error"]["status"] == "INVALID_ARGUMENT"


async def test_server_stream_takes_no_frames(served: Running) -> None:
    async with served.socket("/v1/ticks?linger=true") as socket:
        await socket.send_str("{}")
        assert (await frames(socket))[-1]["error"]["details"][0]["reason"] == "UNEXPECTED_MESSAGE"


async def test_unexpected_exception_tells_nothing(served: Running) -> None:
    async with served.socket("/v1/rooms/a/chat") as socket:
        await socket.send_str('{"text":"crash"}')
        (last,) = await frames(socket)
        assert last["error"]["code"] == 500
        assert "secret" not in json.dumps(last)


@pytest.mark.parametrize("target", ["/v1/rooms/a/chat", "/v1/rooms/a/collect"])
async def test_client_stream_needs_a_socket(served: Running, target: str) -> None:
    """T212."""
    answer = await served.get(target)
    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert answer.reason == "UPGRADE_REQUIRED"


async def test_bad_query_is_refused_before_the_socket_opens(served: Running) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with served.socket("/v1/ticks?nope=1"):
            pass
    assert caught.value.status == 400


async def test_unknown_path(served: Running) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with served.socket("/v1/nothing"):
            pass
    assert caught.value.status == 404


@pytest.mark.parametrize("transport", ["in_process", "channel"])
@pytest.mark.asyncio(loop_scope="function")
async def test_client_that_closes_cancels_the_call(transport: Transport) -> None:
    """T214."""
    async with running(transport) as served:
        async with served.socket("/v1/rooms/a/chat") as socket:
            await socket.send_str('{"text":"wait"}')
            await asyncio.wait_for(served.handlers.started.wait(), 30)
        await asyncio.wait_for(served.handlers.cancelled.wait(), 30)


class TestOrigin:
    """T217."""

    async def test_pages_of_others_are_refused(self, served: Running) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with served.socket("/v1/ticks", origin="https://evil.example"):
                pass
        assert caught.value.status == 403

    async def test_own_pages_are_let_in(self, served: Running) -> None:
        async with served.socket("/v1/ticks", origin=served.base) as socket:
            assert await frames(socket) == []

    async def test_own_pages_behind_a_proxy_are_let_in(self, transport: Transport) -> None:
        headers = {"X-Forwarded-Host": "app.example"}
        async with (
            running(transport, config=GatewayConfig(trusted_proxies=["127.0.0.0/8"])) as served,
            served.session.ws_connect(served.url("/v1/ticks"), origin="https://app.example", headers=headers) as socket,
        ):
            assert await frames(socket) == []

    async def test_a_stranger_is_no_proxy(self, served: Running) -> None:
        headers = {"X-Forwarded-Host": "evil.example"}
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with served.session.ws_connect(
                served.url("/v1/ticks"), origin="https://evil.example", headers=headers
            ):
                pass
        assert caught.value.status == 403

    async def test_listed_pages_are_let_in(self, transport: Transport) -> None:
        config = GatewayConfig(cors_origins=["https://page.example"])
        async with (
            running(transport, config=config) as served,
            served.socket("/v1/ticks", origin="https://page.example") as socket,
        ):
            assert await frames(socket) == []


async def test_token_in_the_subprotocol(served: Running) -> None:
    """T217: accepted, and never sent back."""
    async with served.socket("/v1/ticks?count=1", protocols=["bearer", "secret-token"]) as socket:
        assert socket.protocol == "bearer"
        assert len(await frames(socket)) == 1


async def test_message_over_the_limit(transport: Transport) -> None:
    async with (
        running(transport, config=GatewayConfig(max_body_bytes=100)) as served,
        served.socket("/v1/rooms/a/chat") as socket,
    ):
        await socket.send_str(json.dumps({"text": "x" * 200}))
        assert await frames(socket) == []
        assert socket.close_code == 1009
