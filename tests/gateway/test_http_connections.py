"""Connections: kept alive, pipelined, slow, waiting for leave to send, and cut."""

from __future__ import annotations

import asyncio
import gzip
import json
import time

import pytest
from aiohttp import web

from orchestration.gateway import Gateway, GatewayConfig, GatewayRunner, InProcessUpstream
from tests.support.library_service import lending
from tests.support.raw_http import RawConnection, connected, exchange
from tests.support.transcoding_client import Transport, running
from tests.support.transcoding_service import SERVICE, Handlers, pool

HOST = "Host: a\r\n"


def get(name: str, *headers: str) -> str:
    return f"GET /v1/things/{name} HTTP/1.1\r\n{HOST}" + "".join(f"{header}\r\n" for header in headers) + "\r\n"


async def test_a_connection_is_kept() -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        for number in range(5):
            await connection.send(get(f"n{number}"))
            assert (await connection.answer()).json["name"] == f"n{number}"
        await connection.send(f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n")
        assert (await connection.answer()).status == 404
        await connection.send(get("last", "Connection: close"))
        assert (await connection.answer()).json["name"] == "last"
        assert await connection.closed()


@pytest.mark.parametrize(("header", "kept"), [("", False), ("Connection: keep-alive\r\n", True)])
async def test_old_http_closes_unless_asked(header: str, kept: bool) -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(f"GET /v1/things/x HTTP/1.0\r\n{header}\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.all("Connection")) == (200, ["keep-alive"] if kept else [])
        if not kept:
            assert await connection.closed()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send("".join(get(f"n{number}") for number in range(50)))
        for number in range(50):
            assert (await connection.answer()).json["name"] == f"n{number}"


@pytest.mark.parametrize("sizes", [[10] * 80, [100_000, 10, 200_000, 3_000, 10] * 4], ids=["small", "mixed"])
async def test_pipelined_bodies_are_answered_in_order(sizes: list[int]) -> None:
    """Some of them are more than the server reads before it looks at any: it stops reading, and goes on."""

    def post(number: int, size: int) -> str:
        body = json.dumps({"name": f"n{number}-" + "x" * size})
        return f"POST /v1/things HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n\r\n{body}"

    async with running("in_process") as served, connected(served.base) as connection:
        sending = asyncio.create_task(connection.send("".join(map(post, range(len(sizes)), sizes))))
        for number, size in enumerate(sizes):
            assert (await connection.answer()).json["name"] == f"n{number}-" + "x" * size
        await sending


async def test_an_error_between_pipelined_requests() -> None:
    body = '{"nope":1}'
    bad = f"POST /v1/things HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n\r\n{body}"
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(get("a") + bad + f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n" + get("b"))
        assert [(await connection.answer()).status for _ in range(4)] == [200, 400, 404, 200]


async def test_a_body_that_nobody_reads_does_not_become_a_request() -> None:
    """The body of a request that is refused early looks like another request."""
    inner = get("smuggled")
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(f"POST /nowhere HTTP/1.1\r\n{HOST}Content-Length: {len(inner)}\r\n\r\n{inner}" + get("b"))
        assert (await connection.answer()).status == 404
        assert (await connection.answer()).json["name"] == "b"


async def test_a_client_that_waits_for_leave(transport: Transport) -> None:
    """T142."""
    body = '{"name":"x"}'
    async with running(transport) as served, connected(served.base) as connection:
        await connection.send(
            f"POST /v1/things HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert (await connection.answer()).status == 100
        await connection.send(body)
        answer = await connection.answer()
        assert (answer.status, answer.json["name"]) == (200, "x")


async def test_a_body_too_large_is_not_even_sent() -> None:
    """T142, T140."""
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(
            f"POST /v1/things HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
        )
        answer = await connection.answer()
        assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")
        assert await connection.closed()


async def test_another_expectation() -> None:
    async with running("in_process") as served:
        request = f"POST /v1/things HTTP/1.1\r\n{HOST}Expect: a-miracle\r\nContent-Length: 2\r\n\r\n{{}}"
        answer = await exchange(served.base, request)
        assert (answer.status, answer.reason) == (417, "EXPECTATION_FAILED")


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (f"POST /v1/things HTTP/1.1\r\n{HOST}", "Content-Length: 50"),
        (f"POST /v1/things HTTP/1.1\r\n{HOST}", "Transfer-Encoding: chunked"),
        (f"GET /v1/things/x HTTP/1.1\r\n{HOST}", "Transfer-Encoding: chunked"),
    ],
)
async def test_a_body_that_never_comes(start: str, length: str) -> None:
    config = GatewayConfig(body_timeout_s=0.2)
    async with running("in_process", config=config) as served, connected(served.base) as connection:
        await connection.send(f"{start}{length}\r\n\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.reason) == (408, "REQUEST_TIMEOUT")
        assert answer.all("Connection") == ["close"]


async def test_a_slow_client_holds_up_nobody() -> None:
    """A body of one byte at a time, and a reader that does not read, while others are served."""
    async with lending() as served, connected(served.base) as slow, connected(served.base) as deaf:
        body = '{"text":"x"}'
        await slow.send(f"POST /v1/text HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n\r\n")
        served.library.book = {"text": "x" * 1_000_000}
        await deaf.send(f"GET /v1/books/1 HTTP/1.1\r\n{HOST}\r\n" * 20)
        for byte in body:
            await slow.send(byte)
            start = time.monotonic()
            assert (await served.get("/v1/text?text=y")).json == {"text": "y"}
            assert time.monotonic() - start < 5
        assert (await slow.answer()).json == {"text": "x"}
        # What the reader leaves unread holds up its own requests, so that memory stays bounded.
        assert len([asked for asked in served.library.asked if hasattr(asked, "name")]) < 20
        for _ in range(20):
            assert len((await deaf.answer()).json["text"]) == 1_000_000


async def test_a_header_that_never_ends() -> None:
    """The connection is closed when the time for a whole request is over."""
    gateway = Gateway(InProcessUpstream([Handlers().register], (), pool()), [SERVICE])
    await gateway.start()
    app = web.Application()
    gateway.install(app)
    runner = GatewayRunner(app, gateway, idle_s=0.3, shutdown_timeout_s=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        for start in ("", "GET /v1/things/x HTTP/1.1\r\nX-A: "):
            reader, writer = await asyncio.open_connection(host, port)
            connection = RawConnection(reader, writer)
            await connection.send(start)
            assert await connection.closed()
            writer.close()
    finally:
        await runner.cleanup()


async def test_a_compressed_body_is_limited_after_decompression(transport: Transport) -> None:
    """T139."""
    body = gzip.compress(b'{"name":"' + b"a" * 50_000_000 + b'"}', 1)
    async with running(transport) as served:
        head = f"POST /v1/things HTTP/1.1\r\n{HOST}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await exchange(served.base, head.encode() + body)
        assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")


async def test_requests_side_by_side_on_many_connections() -> None:
    async with running("in_process") as served:

        async def one(number: int) -> str:
            answer = await exchange(served.base, get(f"n{number}"))
            return str(json.loads(answer.body)["name"])

        assert await asyncio.gather(*(one(number) for number in range(100))) == [f"n{number}" for number in range(100)]


@pytest.mark.parametrize("header", ["Upgrade: websocket", "Upgrade: h2c", "Upgrade: TLS/1.0"])
async def test_an_upgrade_is_a_wish(header: str) -> None:
    """A method without streams answers as if it had not been asked for."""
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(get("x", header, "Connection: Upgrade"))
        answer = await connection.answer()
        assert (answer.status, answer.json["name"]) == (200, "x")
        await connection.send(get("y"))
        assert (await connection.answer()).json["name"] == "y"


@pytest.mark.parametrize("before", ["", get("a")])
async def test_what_comes_along_with_a_wish_for_another_protocol(before: str) -> None:
    """It is lost, or cut off: no answer follows, so that the client can send it again on another connection."""
    asked = get("x", "Upgrade: h2c", "Connection: Upgrade")
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(before + asked + get("y"))
        if before:
            assert (await connection.answer()).json["name"] == "a"
        answer = await connection.answer()
        assert (answer.json["name"], answer.all("Connection")) == ("x", ["close"])
        assert await connection.closed()


async def test_a_body_of_one_that_wishes_for_another_protocol() -> None:
    head = f"POST /v1/things HTTP/1.1\r\n{HOST}Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 12\r\n\r\n"
    async with running("in_process") as served, connected(served.base) as connection:
        for pieces in ([head + '{"name":"z"}'], [head, '{"name":"z"}']):
            for piece in pieces:
                await connection.send(piece)
                await asyncio.sleep(0.01)
            answer = await connection.answer()
            assert (answer.json["name"], answer.all("Connection")) == ("z", [])
        await connection.send(get("y"))
        assert (await connection.answer()).json["name"] == "y"


async def test_what_comes_along_with_a_wish_for_a_websocket_that_is_not_granted() -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        await connection.send(get("x", "Upgrade: websocket", "Connection: Upgrade") + get("y") + get("z"))
        assert [(await connection.answer()).json["name"] for _ in range(3)] == ["x", "y", "z"]
