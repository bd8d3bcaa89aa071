"""What is no well-formed request: answered in the gateway's own words, and never served."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from orchestration.gateway import Gateway, InProcessUpstream
from tests.support.raw_http import connected, exchange
from tests.support.transcoding_client import Running, Transport, listening, running
from tests.support.transcoding_service import SERVICE, Handlers, pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "Host: a\r\n"
GET = f"GET /v1/things/x HTTP/1.1\r\n{HOST}"
POST = f"POST /v1/things HTTP/1.1\r\n{HOST}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain() -> AsyncIterator[Running]:
    async with running("in_process") as service:
        yield service


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        pytest.param(f"GET /{'a' * 70_000} HTTP/1.1\r\n{HOST}\r\n", 414, "URI_TOO_LONG", id="T074-target"),
        pytest.param(f"GET /v1/things?name={'a' * 70_000} HTTP/1.1\r\n{HOST}\r\n", 414, "URI_TOO_LONG", id="T074"),
        pytest.param(f"{GET}X-A: {'a' * 70_000}\r\n\r\n", 431, "HEADERS_TOO_LARGE", id="value"),
        pytest.param(f"{GET}{'a' * 70_000}: 1\r\n\r\n", 431, "HEADERS_TOO_LARGE", id="name"),
        pytest.param(
            GET + "".join(f"X-{n}: 1\r\n" for n in range(200)) + "\r\n", 431, "HEADERS_TOO_LARGE", id="many-headers"
        ),
        pytest.param(f"{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}", 400, "MALFORMED_REQUEST", id="CL.CL"),
        pytest.param(f"{POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}", 400, "MALFORMED_REQUEST", id="CL=CL"),
        pytest.param(
            f"{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "MALFORMED_REQUEST",
            id="CL.TE",
        ),
        pytest.param(
            f"{POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
            "MALFORMED_REQUEST",
            id="TE.CL",
        ),
        pytest.param(
            f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400, "MALFORMED_REQUEST", id="TE-not-last"
        ),
        pytest.param(f"{POST}Transfer-Encoding: gzip\r\n\r\n{{}}", 400, "MALFORMED_REQUEST", id="TE-other"),
        pytest.param(f"{POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "MALFORMED_REQUEST", id="TE-space"),
        pytest.param(f"{POST}Content-Length: +2\r\n\r\n{{}}", 400, "MALFORMED_REQUEST", id="CL-sign"),
        pytest.param(f"{POST}Content-Length: -2\r\n\r\n{{}}", 400, "MALFORMED_REQUEST", id="CL-negative"),
        pytest.param(f"{POST}Content-Length: 0x2\r\n\r\n{{}}", 400, "MALFORMED_REQUEST", id="CL-hex"),
        pytest.param(f"{GET}X-A: a\0b\r\n\r\n", 400, "MALFORMED_REQUEST", id="NUL-in-a-header"),
        pytest.param(f"{GET}X-A\0: a\r\n\r\n", 400, "MALFORMED_REQUEST", id="NUL-in-a-name"),
        pytest.param(f"GET /v1/things/a\0b HTTP/1.1\r\n{HOST}\r\n", 400, "MALFORMED_REQUEST", id="NUL-in-the-target"),
        pytest.param(f"{GET}X-A: a\r\n folded\r\n\r\n", 400, "MALFORMED_REQUEST", id="folded"),
        pytest.param(f"{GET}X-A: a\nX-B: b\r\n\r\n", 400, "MALFORMED_REQUEST", id="bare-LF"),
        pytest.param(f"{GET}X-A: a\rX-B: b\r\n\r\n", 400, "MALFORMED_REQUEST", id="bare-CR"),
        pytest.param("GET /v1/things/x HTTP/1.1\r\nX-A: a\r\n\r\n", 400, "MALFORMED_REQUEST", id="no-host"),
        pytest.param(f"{GET}Host: b\r\n\r\n", 400, "MALFORMED_REQUEST", id="two-hosts"),
        pytest.param(f"GET v1 HTTP/1.1\r\n{HOST}\r\n", 400, "MALFORMED_REQUEST", id="relative-target"),
        pytest.param(f"GET /v1/things/x HTTP/9.9\r\n{HOST}\r\n", 400, "MALFORMED_REQUEST", id="version"),
        pytest.param("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "MALFORMED_REQUEST", id="HTTP/2"),
        pytest.param("\x16\x03\x01\x02\x00\x01\x00\x01", 400, "MALFORMED_REQUEST", id="TLS"),
        pytest.param(f"BREW /v1/things/x HTTP/1.1\r\n{HOST}\r\n", 501, "METHOD_UNKNOWN", id="method"),
    ],
)
async def test_it_is_refused_in_json(plain: Running, data: str, status: int, reason: str) -> None:
    async with connected(plain.base) as connection:
        await connection.send(data)
        answer = await connection.answer()
        assert (answer.status, answer.reason) == (status, reason)
        assert answer.all("Content-Type") == ["application/json"]
        assert answer.json["error"]["code"] == status
        assert answer.all("X-Request-Id")[0]
        assert b"aiohttp" not in answer.body
        assert b"\\x" not in answer.body
        assert await connection.closed()


async def test_a_request_line_that_long_is_served(plain: Running) -> None:
    name = "a" * 60_000
    answer = await exchange(plain.base, f"GET /v1/things/{name} HTTP/1.1\r\n{HOST}\r\n")
    assert (answer.status, answer.json["name"]) == (200, name)


async def test_nothing_is_smuggled(plain: Running) -> None:
    """The second request stands where two lengths disagree: it must never be served."""
    inner = f"GET /v1/things/smuggled HTTP/1.1\r\n{HOST}\r\n"
    for lengths in (
        f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n",
        f"Content-Length: {len(inner)}\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ):
        async with connected(plain.base) as connection:
            await connection.send(f"{POST}{lengths}\r\n0\r\n\r\n{inner}")
            assert (await connection.answer()).status == 400
            assert await connection.closed()


@pytest.mark.parametrize("bad", ["zz\r\n{}\r\n0\r\n\r\n", "2;a=\0\r\n{}\r\n0\r\n\r\n", "-1\r\n{}\r\n0\r\n\r\n"])
async def test_broken_chunks(plain: Running, bad: str) -> None:
    async with connected(plain.base) as connection:
        await connection.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n{bad}")
        answer = await connection.answer()
        assert answer.status == 400
        assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
        assert await connection.closed()


async def test_chunks_are_a_body(plain: Running) -> None:
    chunks = '8\r\n{"name":\r\n4;x=y\r\n"ab"\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n'
    answer = await exchange(plain.base, f"{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}")
    assert (answer.status, answer.json["name"]) == (200, "ab")


@pytest.mark.parametrize(
    "target", ["http://other/v1/things/abc", "http://other:80/v1/things/abc", "HTTP://o/v1/things/abc"]
)
async def test_absolute_form(plain: Running, target: str) -> None:
    """T040."""
    answer = await exchange(plain.base, f"GET {target} HTTP/1.1\r\n{HOST}\r\n")
    assert (answer.status, answer.json["name"]) == (200, "abc")


@pytest.mark.parametrize("target", ["*", "http://other", "http://other?x=1"])
async def test_options_of_the_server_itself(plain: Running, target: str) -> None:
    """RFC 9112, 3.2.4: an absolute target without a path stands for it too."""
    answer = await exchange(plain.base, f"OPTIONS {target} HTTP/1.1\r\n{HOST}\r\n")
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("target", ["http://other", "http://other?x=1", "http://other:80", "http://other/"])
async def test_absolute_form_without_a_path(plain: Running, method: str, target: str) -> None:
    """RFC 9110, 4.2.3: it means ``/``."""
    answer = await exchange(plain.base, f"{method} {target} HTTP/1.1\r\n{HOST}\r\n")
    assert (answer.status, answer.reason) == (404, "ROUTE_NOT_FOUND")
    assert answer.json["error"]["message"] == "no method is served at /"
    assert answer.all("Content-Type") == ["application/json"]


async def test_a_route_at_the_root_is_found_without_a_path() -> None:
    app = web.Application()

    async def root(request: web.Request) -> web.Response:
        return web.Response(text=request.rel_url.raw_query_string)

    app.router.add_get("/", root)
    gateway = Gateway(InProcessUpstream([Handlers().register], (), pool()), [SERVICE])
    await gateway.start()
    async with listening(gateway, app) as base:
        answer = await exchange(base, f"GET http://other?x=%2F1 HTTP/1.1\r\n{HOST}\r\n")
        assert (answer.status, answer.body) == (200, b"x=%2F1")


@pytest.mark.parametrize("target", ["a:1", "a", "/", "/v1/things/x", "[::1]:443"])
async def test_no_tunnel_is_made(plain: Running, target: str) -> None:
    async with connected(plain.base) as connection:
        await connection.send(f"CONNECT {target} HTTP/1.1\r\n{HOST}\r\n" + f"{GET}\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.reason, answer.all("Allow")) == (405, "METHOD_NOT_ALLOWED", ["OPTIONS"])
        assert answer.json["error"]["message"] == "CONNECT is not served: this is no proxy"
        assert answer.all("Connection") == ["close"]
        assert await connection.closed()  # what follows is no request


async def test_a_bad_request_spoils_nothing(transport: Transport) -> None:
    async with running(transport) as service:
        for _ in range(3):
            assert (await exchange(service.base, "nonsense\r\n\r\n")).status in (400, 501)
        assert (await service.get("/v1/things/x")).status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(f"{GET}Accept: \xff\r\n\r\n", 406, id="Accept"),
        pytest.param(f"{POST}Content-Type: a\xff\r\nContent-Length: 2\r\n\r\n{{}}", 415, id="Content-Type"),
        pytest.param(f"{POST}Content-Encoding: \xff\r\nContent-Length: 2\r\n\r\n{{}}", 415, id="Content-Encoding"),
        pytest.param(f"{POST}Expect: \xff\r\nContent-Length: 2\r\n\r\n{{}}", 417, id="Expect"),
    ],
)
async def test_headers_that_are_no_utf8_are_told_of(plain: Running, data: str, status: int) -> None:
    answer = await exchange(plain.base, data)
    assert (answer.status, answer.json["error"]["code"]) == (status, status)
