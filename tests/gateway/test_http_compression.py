"""Compressed answers."""

from __future__ import annotations

import gzip
import zlib

import pytest
from aiohttp import web

from orchestration.gateway import Gateway, GatewayConfig, InProcessUpstream
from orchestration.gateway.compression import Packer, accepts_gzip
from tests.support.library_service import SERVICE, Lending, Library, descriptors, lending
from tests.support.raw_http import RawAnswer, exchange
from tests.support.transcoding_client import Answer, Transport, running

LONG = "long " * 2000


async def send(served: Lending, accept: str | None, text: str = LONG, method: str = "POST") -> Answer:
    headers = {} if accept is None else {"Accept-Encoding": accept}
    body = {"text": text} if method == "POST" else None
    async with served.session.request(
        method, served.url("/v1/text" if body else f"/v1/text?text={text}"), json=body, headers=headers,
        skip_auto_headers=("Accept-Encoding",),
    ) as response:  # fmt: skip
        return Answer(response.status, response.headers.copy(), await response.read())


async def test_long_answers_are_compressed(transport: Transport) -> None:
    async with lending(transport) as served:
        answer = await send(served, "gzip")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert len(answer.body) < 500
        plain = await send(served, None)
        assert gzip.decompress(answer.body) == plain.body
        assert "Content-Encoding" not in plain.headers
        assert plain.headers["Vary"] == "Accept-Encoding"


async def test_short_answers_are_not(transport: Transport) -> None:
    async with lending(transport) as served:
        answer = await send(served, "gzip", "short")
        assert "Content-Encoding" not in answer.headers
        assert "Vary" not in answer.headers


async def test_very_long_answers_are_too(transport: Transport) -> None:
    async with lending(transport) as served:
        answer = await send(served, "gzip", "x" * 600_000)
        assert len(gzip.decompress(answer.body)) == 600_000 + len('{"text":""}')


async def test_head_says_what_get_would() -> None:
    async with lending() as served:
        get, head = await send(served, "gzip", "y" * 5000, "GET"), await send(served, "gzip", "y" * 5000, "HEAD")
        assert head.body == b""
        for name in ("Content-Encoding", "Content-Length", "Vary", "Content-Type"):
            assert head.headers[name] == get.headers[name]


async def test_compressed_bytes_have_a_tag_of_their_own() -> None:
    async with lending() as served:
        served.library.book = {"etag": "v1", "text": LONG}
        plain = await served.send("GET", "/v1/books/1", headers={"Accept-Encoding": "identity"})
        packed = await served.send("GET", "/v1/books/1", headers={"Accept-Encoding": "gzip"})
        assert (plain.headers["ETag"], packed.headers["ETag"]) == ('"v1"', '"v1--gzip"')
        headers = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
        unchanged = await served.send("GET", "/v1/books/1", headers=headers)
        assert (unchanged.status, unchanged.headers["Vary"]) == (304, "Accept-Encoding")
        assert unchanged.headers["ETag"] == packed.headers["ETag"]
        headers["Accept-Encoding"] = "identity"
        assert (await served.send("GET", "/v1/books/1", headers=headers)).headers["ETag"] == '"v1"'
        await served.send("DELETE", "/v1/books/1", headers={"If-Match": packed.headers["ETag"]})
        assert served.library.asked[-1].etag == "v1"


async def test_other_origins_vary_too() -> None:
    async with lending(config=GatewayConfig(cors_origins=["https://a.example"])) as served:
        assert (await send(served, "gzip")).headers["Vary"] == "Origin, Accept-Encoding"


async def test_it_can_be_off_or_start_earlier() -> None:
    async with lending(config=GatewayConfig(compress_min_bytes=None)) as served:
        answer = await send(served, "gzip")
        assert "Content-Encoding" not in answer.headers
        assert "Vary" not in answer.headers
    async with lending(config=GatewayConfig(compress_min_bytes=1)) as served:
        assert (await send(served, "gzip", "s")).headers["Content-Encoding"] == "gzip"


async def test_streams_never_are() -> None:
    async with running("in_process", config=GatewayConfig(compress_min_bytes=1)) as served:
        answer = await served.get("/v1/ticks?count=3&padding=5000", Accept_Encoding="gzip")
        assert "Content-Encoding" not in answer.headers
        assert len(answer.lines) == 3


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5, br", True),
        ("*", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("br, deflate", False),
        ("identity", False),
        ("", False),
        ("notgzip", False),
    ],
)
def test_accept_encoding(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


PACKED = gzip.compress(b'{"text":"abc"}', mtime=0)


class TestBodies:
    """Compressed bodies of requests."""

    @pytest.mark.parametrize(
        ("coding", "body"),
        [
            ("gzip", PACKED),
            ("GZIP", PACKED),
            ("x-gzip", PACKED),
            ("gzip", gzip.compress(b'{"text":', mtime=0) + gzip.compress(b'"abc"}', mtime=0)),
            ("deflate", zlib.compress(b'{"text":"abc"}')),
            ("deflate", zlib.compress(b'{"text":"abc"}')[2:-4]),
            ("identity", b'{"text":"abc"}'),
        ],
    )
    async def test_they_are_read(self, coding: str, body: bytes) -> None:
        async with lending() as served:
            answer = await post(served.base, coding, body)
            assert (answer.status, answer.json) == (200, {"text": "abc"})

    @pytest.mark.parametrize(
        ("coding", "body"),
        [
            *(("gzip", PACKED[:size]) for size in (1, 3, 10, 12, len(PACKED) - 8, len(PACKED) - 1)),
            ("gzip", PACKED + b"garbage"),
            ("gzip", PACKED[:-8] + b"\0" * 8),
            ("gzip", b'{"text":"abc"}'),
            ("gzip", gzip.compress(b"", mtime=0) * 200 + PACKED),
            ("deflate", zlib.compress(b'{"text":"abc"}')[:-1]),
            ("deflate", b"zz"),
        ],
    )
    async def test_broken_ones_are_refused(self, coding: str, body: bytes) -> None:
        """One that is cut off, too, whatever could be read of it."""
        async with lending() as served:
            answer = await post(served.base, coding, body)
            assert (answer.status, answer.reason) == (400, "INVALID_BODY")
            assert not served.library.asked

    async def test_other_codings(self) -> None:
        async with lending() as served:
            for coding in ("br", "zstd", "gzip, gzip", "compress"):
                answer = await post(served.base, coding, b"{}")
                assert (answer.status, answer.reason) == (415, "UNSUPPORTED_ENCODING")
                assert answer.all("Accept-Encoding") == ["gzip, deflate"]

    @pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
    async def test_the_limit_is_exact(self, size: int, status: int) -> None:
        body = b'{"text":"' + b"a" * (size - 11) + b'"}'
        async with lending(config=GatewayConfig(max_body_bytes=1000)) as served:
            for coding, sent in (
                ("identity", body),
                ("gzip", gzip.compress(body, mtime=0)),
                ("deflate", zlib.compress(body)),
            ):
                assert (await post(served.base, coding, sent)).status == status

    async def test_another_runner_reads_them_too(self) -> None:
        library = Library()
        gateway = Gateway(InProcessUpstream([library.register], (), descriptors()), [SERVICE])
        await gateway.start()
        app = web.Application()
        gateway.install(app)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            head = (
                f"POST /v1/text HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {len(PACKED)}\r\n\r\n"
            )
            answer = await exchange(f"http://127.0.0.1:{runner.addresses[0][1]}", head.encode() + PACKED)
            assert (answer.status, answer.json) == (200, {"text": "abc"})
        finally:
            await runner.cleanup()


async def post(base: str, coding: str, body: bytes) -> RawAnswer:
    head = f"POST /v1/text HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return await exchange(base, head.encode() + body)


@pytest.mark.parametrize("size", [10, 20_000, 300_000, 2_000_000])
async def test_bodies_that_take_turns(size: int) -> None:
    packer, one, other = Packer(), b"1" * size, b"2" * size
    for body in (one, one, other, other, one, bytes(bytearray(one))):
        assert gzip.decompress(await packer.pack(body)) == body
