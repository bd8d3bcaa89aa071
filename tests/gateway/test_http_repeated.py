"""Connections whose requests have the same headers again, and then others: each is answered by its own."""

from __future__ import annotations

import pytest
from aiohttp import web

from orchestration.gateway import Gateway, GatewayConfig, InProcessUpstream
from tests.support.raw_http import RawAnswer, RawConnection, connected, exchange
from tests.support.transcoding_client import listening, running
from tests.support.transcoding_service import SERVICE, Handlers, pool

HOST = "Host: a\r\n"


async def _ask(connection: RawConnection, headers: str = "", method: str = "GET") -> RawAnswer:
    await connection.send(f"{method} /v1/things/x HTTP/1.1\r\n{HOST}{headers}\r\n")
    return await connection.answer(head=method == "HEAD")


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ("Accept: text/html\r\n", 406),
        ("Grpc-Timeout: soon\r\n", 400),
        ("X-Request-Id: a b\r\n", 400),
        ("If-Match: *\r\n", 200),
        ("Grpc-Metadata-Grpc-Status: 1\r\n", 400),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", 200),
    ],
)
async def test_other_headers_count(other: str, status: int) -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        for headers, expected in (("", 200), ("", 200), (other, status), (other, status), ("", 200), ("", 200)):
            assert (await _ask(connection, headers)).status == expected


async def test_every_request_has_an_id_of_its_own_unless_it_brings_one() -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        ids = [(await _ask(connection)).all("X-Request-Id")[0] for _ in range(4)]
        assert len(set(ids)) == 4
        brought = [(await _ask(connection, "X-Request-Id: mine\r\n")).all("X-Request-Id") for _ in range(3)]
        assert brought == [["mine"]] * 3


async def test_the_same_headers_with_another_method() -> None:
    config = GatewayConfig(cors_origins=["https://a.example"])
    asked = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n"
    async with running("in_process", config=config) as served, connected(served.base) as connection:
        for _ in range(2):
            assert (await _ask(connection, asked)).status == 200
            assert (await _ask(connection, asked, "HEAD")).body == b""
            preflight = await _ask(connection, asked, "OPTIONS")
            assert (preflight.status, preflight.all("Access-Control-Allow-Origin")) == (204, ["https://a.example"])


async def test_deadlines_are_told_by_the_headers_again() -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        for _ in range(3):
            await connection.send(f"GET /v1/inspect HTTP/1.1\r\n{HOST}X-Request-Timeout: 5\r\n\r\n")
            assert 0 < (await connection.answer()).json["time_remaining"] <= 5


@pytest.mark.parametrize("coding", ["", "Content-Encoding: gzip\r\n"])
async def test_bodies_of_repeated_headers(coding: str) -> None:
    """The second is no gzip, though its headers were seen before, or is what it is held for."""
    body = '{"name":"x"}'
    request = f"POST /v1/things HTTP/1.1\r\n{HOST}{coding}Content-Length: {len(body)}\r\n\r\n{body}"
    async with running("in_process") as served:
        for _ in range(2):
            assert (await exchange(served.base, request)).status == (400 if coding else 200)
        async with connected(served.base) as connection:
            for _ in range(1 if coding else 3):
                await connection.send(request)
                assert (await connection.answer()).status == (400 if coding else 200)


async def test_a_body_may_come_after_headers_that_were_seen_before() -> None:
    body = '{"name":"x"}'
    head = f"POST /v1/things HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n\r\n"
    async with running("in_process") as served, connected(served.base) as connection:
        for _ in range(3):
            for piece in (head, body[:5], body[5:]):
                await connection.send(piece)
            assert (await connection.answer()).json["name"] == "x"


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n", "Accept: application/json\r\n"])
async def test_answers_sent_as_one_piece_are_those_of_aiohttp(headers: str) -> None:
    """An application that has to do with responses gets aiohttp's own; the two must not differ."""

    async def untouched(_: web.Request, __: web.StreamResponse) -> None:
        pass

    kinds: list[list[tuple[str, str]]] = []
    for touched in (False, True):
        app = web.Application()
        if touched:
            app.on_response_prepare.append(untouched)
        gateway = Gateway(InProcessUpstream([Handlers().register], (), pool()), [SERVICE])
        await gateway.start()
        async with listening(gateway, app) as base:
            answer = await exchange(base, f"GET /v1/things/x HTTP/1.1\r\n{HOST}X-Request-Id: i\r\n{headers}\r\n")
        assert answer.json["name"] == "x"
        kinds.append(sorted((name, "" if name == "Date" else value) for name, value in answer.headers))
    assert kinds[0] == kinds[1]
