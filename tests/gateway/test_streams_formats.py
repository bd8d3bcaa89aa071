"""Streams over plain HTTP: which format is sent to whom, how each ends, and bodies that are streams."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import grpc
import pytest

from orchestration.gateway import ChannelUpstream, Gateway, GatewayConfig
from orchestration.gateway.codec import Codec
from orchestration.gateway.responses import ResponseEncoder
from orchestration.gateway.systemparams import PLAIN
from tests.support.raw_http import exchange
from tests.support.transcoding_client import Answer, Running, Transport, listening, running
from tests.support.transcoding_service import SERVICE, Handlers, compile_protos, pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES, EVENTS, JSON = "application/x-ndjson", "text/event-stream", "application/json"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", LINES),
        ("application/*", LINES),
        (JSON, JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/json;q=0.5, */*", LINES),
        ("application/json, application/x-ndjson", LINES),
        ("application/json, text/event-stream", EVENTS),
        ("text/event-stream;q=0.1, application/json", JSON),
        ("text/*", EVENTS),
    ],
)
async def test_format_is_what_is_wanted_most(served: Running, accept: str, expected: str) -> None:
    answer = await served.get("/v1/ticks?count=1", Accept=accept)
    assert answer.headers["Content-Type"] == expected


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_array(served: Running, count: int) -> None:
    """T197: the messages as they are, without an envelope."""
    answer = await served.get(f"/v1/ticks?count={count}", Accept=JSON)
    assert [tick["number"] for tick in answer.json] == list(range(1, count + 1))


async def test_all_values_of_metadata_are_headers(transport: Transport) -> None:
    handlers = Handlers()
    count = handlers.on_count

    async def tell(request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("shelf", "a"), ("shelf", "b")))
        async for tick in count(request, context):
            yield tick

    handlers.on_count = tell  # type: ignore[method-assign]
    async with running(transport, handlers=handlers) as served:
        answer = await exchange(served.base, "GET /v1/ticks?count=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.all("Grpc-Metadata-Shelf") == ["a", "b"]


async def test_a_plain_style_costs_nothing() -> None:
    encoder = ResponseEncoder(pool().FindMessageTypeByName("gatewaytest.Tick"), "", Codec(compile_protos()))
    assert encoder.styled(replace(PLAIN, indented=False)) is encoder


async def test_array_by_configuration(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(stream_format="array")) as served:
        assert (await served.get("/v1/ticks?count=2", Accept="*/*")).json[1]["number"] == 2
        assert (await served.get("/v1/ticks?count=2", Accept=LINES)).lines[1]["result"]["number"] == 2
        assert (await served.get("/v1/ticks?count=2", Accept=EVENTS)).body.startswith(b"retry: ")


async def test_array_that_fails_is_never_whole(served: Running) -> None:
    """T202: the error can be read, and neither HTTP nor JSON takes the body for complete."""
    url = served.url("/v1/ticks?count=9&fail_after=2")
    async with served.session.get(url, headers={"Accept": JSON}) as response:
        assert response.status == 200
        body = bytearray()
        with pytest.raises(aiohttp.ClientPayloadError):
            await read_into(body, response)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    *ticks, last = json.loads(body + b"]")
    assert [tick["number"] for tick in ticks] == [1, 2]
    assert last["error"]["status"] == "RESOURCE_EXHAUSTED"


async def read_into(body: bytearray, response: aiohttp.ClientResponse) -> None:
    while chunk := await response.content.readany():
        body += chunk


async def test_array_error_before_the_first_message_has_its_status(served: Running) -> None:
    """T199."""
    assert (await served.get("/v1/ticks?fail_after=-1", Accept=JSON)).status == 404


async def test_chunks_that_fail_are_cut_off(transport: Transport) -> None:
    """T205."""
    handlers = Handlers()

    async def fail(request: object, context: grpc.aio.ServicerContext[object, object]) -> AsyncIterator[object]:
        async for chunk in Handlers().on_chunks(request, context):
            yield chunk
        await asyncio.sleep(0.1)
        await context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    handlers.on_chunks = fail  # type: ignore[method-assign]
    async with running(transport, handlers=handlers) as served:
        with pytest.raises(aiohttp.ClientPayloadError):
            await served.get("/v1/chunks")


async def test_event_stream_that_has_no_rest_is_not_asked_for_again(served: Running) -> None:
    """A browser reconnects after every end but 204."""
    assert (await served.get("/v1/ticks", Accept=EVENTS, Last_Event_ID="7")).status == 204
    assert (await served.get("/v1/ticks", Accept=EVENTS)).status == 200
    assert (await served.get("/v1/ticks", Accept=LINES, Last_Event_ID="7")).status == 200


async def test_retry_by_configuration(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(event_retry_s=0.25)) as served:
        assert (await served.get("/v1/ticks", Accept=EVENTS)).body.startswith(b"retry: 250\n\n")


async def test_message_over_the_channels_limit() -> None:
    """T206: what came before is there, and the error is too."""
    server = grpc.aio.server()
    Handlers().register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = (("grpc.max_receive_message_length", 1000),)
    upstream = ChannelUpstream(f"127.0.0.1:{port}", descriptor_set=compile_protos(), options=options)
    gateway = Gateway(upstream, [SERVICE])
    await gateway.start()
    try:
        async with listening(gateway) as base, aiohttp.ClientSession() as session:
            async with session.get(f"{base}/v1/ticks?count=1&padding=2000") as response:
                assert response.status == 429
            async with session.get(f"{base}/v1/ticks?count=1&padding=500") as response:
                assert response.status == 200
    finally:
        await server.stop(0)


class TestPostedStream:
    """T208 to T212."""

    async def post(self, served: Running, body: bytes, kind: str = LINES, target: str = "a/collect") -> Answer:
        return await served.send("POST", f"/v1/rooms/{target}", body=body, headers={"Content-Type": kind})

    @pytest.mark.parametrize("kind", [LINES, "application/ndjson", "application/jsonl; charset=utf-8"])
    async def test_lines(self, served: Running, kind: str) -> None:
        """T208, T211: the path is bound to the first message only."""
        answer = await self.post(served, b'{"text":"x"}\r\n\n{"text":"y"}', kind)
        assert answer.json == {"count": 2, "texts": ["a/x", "/y"]}

    async def test_array(self, served: Running) -> None:
        answer = await self.post(served, b'[{"text":"x"},{"text":"y"}]', JSON)
        assert answer.json == {"count": 2, "texts": ["a/x", "/y"]}

    @pytest.mark.parametrize(("body", "kind"), [(b"", LINES), (b"\n \n", LINES), (b"", JSON), (b"[]", JSON)])
    async def test_no_messages(self, served: Running, body: bytes, kind: str) -> None:
        """T209."""
        assert (await self.post(served, body, kind)).json == {"count": 0, "texts": []}

    @pytest.mark.parametrize("body", [b'{"text":"x"}', b'"x"', b"7", b'[{"text":"x"}', b'[{"text":"x","text":"y"}]'])
    async def test_what_is_no_array(self, served: Running, body: bytes) -> None:
        """T209."""
        answer = await self.post(served, body, JSON)
        assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")

    @pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    async def test_compressed_array(self, served: Running, coding: str, pack: Callable[[bytes], bytes]) -> None:
        headers = {"Content-Type": JSON, "Content-Encoding": coding}
        body = pack(b'[{"text":"x"},{"text":"y"}]')
        answer = await served.send("POST", "/v1/rooms/a/collect", body=body, headers=headers)
        assert answer.json == {"count": 2, "texts": ["a/x", "/y"]}

    async def test_array_with_half_a_character(self, served: Running) -> None:
        answer = await self.post(served, b'[{"text":"x"},{"text":"\\ud800"}]', JSON)
        assert answer.status == 400
        assert answer.json["error"]["message"].startswith("message 2: ")

    @pytest.mark.parametrize(
        ("line", "said"), [(b'{"text":5}', "text"), (b"{", "line 1"), (b'{"nope":1}', "nope"), (b"\xff", "UTF-8")]
    )
    async def test_bad_line_is_named(self, served: Running, line: bytes, said: str) -> None:
        answer = await self.post(served, b'{"text":"x"}\n' + line + b"\n")
        assert answer.status == 400
        assert answer.json["error"]["message"].startswith("message 2: ")
        assert said in answer.json["error"]["message"]

    async def test_other_bodies(self, served: Running) -> None:
        assert (await self.post(served, b"x", "text/plain")).status == 415

    async def test_line_over_the_limit(self, transport: Transport) -> None:
        async with running(transport, config=GatewayConfig(max_body_bytes=100)) as served:
            answer = await self.post(served, b'{"text":"' + b"x" * 200 + b'"}')
            assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")
            many = b'{"text":"x"}\n' * 50
            assert (await self.post(served, many)).json["count"] == 50

    async def test_messages_reach_the_handler_as_they_come(self, transport: Transport) -> None:
        handlers = Handlers()
        heard: asyncio.Queue[str] = asyncio.Queue()
        collect = handlers.on_collect

        async def listen(requests: AsyncIterator[object], context: object) -> object:
            async def each() -> AsyncIterator[object]:
                async for note in requests:
                    await heard.put(note.text)  # type: ignore[attr-defined]
                    yield note

            return await collect(each(), context)

        handlers.on_collect = listen  # type: ignore[method-assign]
        more = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'{"text":"one"}\n'
            await more.wait()
            yield b'{"text":"two"}\n'

        async with running(transport, handlers=handlers) as served:
            sending = asyncio.create_task(self._send(served, body()))
            assert await asyncio.wait_for(heard.get(), 10) == "one"
            more.set()
            assert (await asyncio.wait_for(sending, 10))["count"] == 2

    async def _send(self, served: Running, body: AsyncIterator[bytes]) -> dict[str, int]:
        url, headers = served.url("/v1/rooms/a/collect"), {"Content-Type": LINES}
        async with served.session.post(url, data=body, headers=headers) as response:
            return dict(await response.json())

    async def test_both_ways_needs_a_socket(self, served: Running) -> None:
        """T212."""
        answer = await self.post(served, b"{}", target="a/chat")
        assert (answer.status, answer.reason, answer.headers["Upgrade"]) == (426, "UPGRADE_REQUIRED", "websocket")
        assert "WebSocket" in answer.json["error"]["message"]
