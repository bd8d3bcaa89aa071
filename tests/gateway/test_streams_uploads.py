"""Client streams that are posted as compressed lines, or slowly."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from orchestration.gateway import Gateway, GatewayConfig, InProcessUpstream, RequestError
from orchestration.gateway.unpacking import PIECE_BYTES, Unpacker
from tests.support.raw_http import connected
from tests.support.transcoding_client import Answer, Running, Transport, running
from tests.support.transcoding_service import SERVICE, Handlers, message, pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGET, LINES = "/v1/rooms/a/collect", "application/x-ndjson"
TWO = b'{"text":"x"}\n{"text":"y"}\n'
PACKED = gzip.compress(TWO, mtime=0)
HEAD = f"POST {TARGET} HTTP/1.1\r\nHost: a\r\nContent-Type: {LINES}\r\nTransfer-Encoding: chunked\r\n"


async def post(served: Running, body: bytes | AsyncIterator[bytes], coding: str) -> Answer:
    """Send a body that is compressed already, in chunks."""

    async def whole(data: bytes) -> AsyncIterator[bytes]:
        if data:
            yield data

    chunks = whole(body) if isinstance(body, bytes) else body
    headers = {"Content-Type": LINES, "Content-Encoding": coding}
    async with served.session.post(served.url(TARGET), data=chunks, headers=headers) as answer:
        return Answer(answer.status, answer.headers.copy(), await answer.read())


@pytest.mark.parametrize(
    ("coding", "body", "texts"),
    [
        pytest.param("gzip", PACKED, ["a/x", "/y"], id="T208"),
        pytest.param("GZIP", PACKED, ["a/x", "/y"], id="upper-case"),
        pytest.param("x-gzip", PACKED, ["a/x", "/y"], id="x-gzip"),
        pytest.param("deflate", zlib.compress(TWO), ["a/x", "/y"], id="deflate"),
        pytest.param("deflate", zlib.compress(TWO)[2:-4], ["a/x", "/y"], id="raw-deflate"),
        pytest.param("identity", TWO, ["a/x", "/y"], id="identity"),
        pytest.param("gzip", gzip.compress(TWO.strip(), mtime=0), ["a/x", "/y"], id="no-line-break-at-the-end"),
        pytest.param("gzip", gzip.compress(b"", mtime=0), [], id="no-messages"),
        pytest.param(
            "gzip",
            b"".join(gzip.compress(TWO[at : at + 5], mtime=0) for at in range(0, len(TWO), 5)),
            ["a/x", "/y"],
            id="members-that-end-within-lines",
        ),
        pytest.param("gzip", gzip.compress(b'{"text":"x"}\n', mtime=0) * 500, ["a/x", *["/x"] * 499], id="members"),
    ],
)
async def test_compressed_lines(served: Running, coding: str, body: bytes, texts: list[str]) -> None:
    assert (await post(served, body, coding)).json == {"count": len(texts), "texts": texts}


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        *(
            pytest.param("gzip", PACKED[:size], id=f"cut-{size}")
            for size in (1, 9, 12, len(PACKED) - 8, len(PACKED) - 1)
        ),
        pytest.param("gzip", b"", id="nothing-at-all"),
        pytest.param("gzip", PACKED + b"garbage", id="garbage-behind"),
        pytest.param("gzip", PACKED[:-8] + b"\0" * 8, id="checksum"),
        pytest.param("gzip", TWO, id="not-compressed"),
        pytest.param("gzip", random.Random(1).randbytes(5000), id="noise"),
        pytest.param("deflate", zlib.compress(TWO)[:-1], id="deflate-cut"),
        pytest.param("deflate", zlib.compress(TWO) * 2, id="deflate-twice"),
    ],
)
async def test_broken_ones_are_refused(served: Running, coding: str, body: bytes) -> None:
    answer = await post(served, body, coding)
    assert (answer.status, answer.reason) == (400, "INVALID_BODY"), answer.body
    assert answer.violations == {"body": f"cannot be read (Content-Encoding: {coding})"}


async def test_other_codings(served: Running) -> None:
    for coding in ("br", "gzip, gzip", "compress"):
        answer = await post(served, PACKED, coding)
        assert (answer.status, answer.reason) == (415, "UNSUPPORTED_ENCODING")
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"


async def test_a_bad_line_is_named(served: Running) -> None:
    answer = await post(served, gzip.compress(TWO + b'{"nope":1}\n'), "gzip")
    assert answer.status == 400
    assert answer.json["error"]["message"].startswith("message 3: ")


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
async def test_the_limit_is_that_of_a_line(transport: Transport, size: int, status: int) -> None:
    line = b'{"text":"' + b"a" * (size - 11) + b'"}'
    async with running(transport, config=GatewayConfig(max_body_bytes=1000)) as served:
        for body in (line, b"\n" + line + b"\n", TWO * 100 + line):
            assert (await post(served, gzip.compress(body), "gzip")).status == status


async def test_a_line_that_unpacks_to_very_much(transport: Transport) -> None:
    body = gzip.compress(b'{"text":"' + b"a" * 50_000_000, 1)
    async with running(transport) as served:
        answer = await post(served, body, "gzip")
        assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_pieces_are_small_however_much_comes_of_them(coding: str) -> None:
    """64 MB of one byte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    unpacker, most, total = Unpacker(coding), 0, 0
    for piece in unpacker.feed(body):
        most, total = max(most, len(piece)), total + len(piece)
    unpacker.end()
    assert (most, total) == (PIECE_BYTES, 64 << 20)


@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
async def test_pieces_together_are_the_whole(size: int) -> None:
    text = random.Random(2).randbytes(150_000) + bytes(150_000)
    body = gzip.compress(text) + gzip.compress(text)
    unpacker = Unpacker("gzip")
    pieces = [piece for at in range(0, len(body), size) for piece in unpacker.feed(body[at : at + size])]
    unpacker.end()
    assert b"".join(pieces) == text + text


@pytest.mark.parametrize("bits", [31, 15, -15])
async def test_no_end_is_missed_at_the_edge_of_a_piece(bits: int) -> None:
    """The last byte may be read while what it unpacks to has no room yet."""
    for size in range(PIECE_BYTES - 300, PIECE_BYTES + 300):
        packer = zlib.compressobj(9, zlib.DEFLATED, bits)
        body = packer.compress(bytes(size)) + packer.flush()
        unpacker = Unpacker("gzip" if bits == 31 else "deflate")
        assert sum(map(len, unpacker.feed(body))) == size
        unpacker.end()


async def test_what_comes_after_a_broken_part_is_not_read() -> None:
    with pytest.raises(RequestError):
        list(Unpacker("gzip").feed(PACKED + b"garbage"))


class Hearing(Handlers):
    """Tells of each message when it comes, and takes no more than it is let."""

    def __init__(self, lets: int = 1 << 30) -> None:
        super().__init__()
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.lets = asyncio.Semaphore(lets)

    async def on_collect(self, requests: Any, context: Any) -> Any:
        count = 0
        await self.lets.acquire()
        async for note in requests:
            count += 1
            await self.heard.put(note.text)
            await self.lets.acquire()
        return message("Summary")(count=count)


async def test_messages_reach_the_handler_before_the_body_ends(transport: Transport) -> None:
    handlers, more = Hearing(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        yield packer.compress(b'{"text":"one"}\n') + packer.flush(zlib.Z_SYNC_FLUSH)
        await more.wait()
        yield packer.compress(b'{"text":"two"}\n') + packer.flush()

    async with running(transport, handlers=handlers) as served:
        sending = asyncio.create_task(post(served, body(), "gzip"))
        assert await asyncio.wait_for(handlers.heard.get(), 30) == "one"
        more.set()
        assert (await asyncio.wait_for(sending, 30)).json["count"] == 2


async def test_a_slow_handler_holds_up_a_body_that_unpacks_to_much() -> None:
    """300 MB in 300 kB: what the handler does not take is not unpacked either."""
    line = json.dumps({"text": "a" * 100_000}).encode() + b"\n"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(line) for _ in range(3000)) + packer.flush()
    assert len(body) < 1_000_000
    handlers = Hearing(lets=3)
    async with running("in_process", handlers=handlers) as served:
        tracemalloc.start()
        try:
            sending = asyncio.create_task(post(served, body, "gzip"))
            for _ in range(2):
                assert len(await asyncio.wait_for(handlers.heard.get(), 60)) == 100_000
            for _ in range(200):  # rounds in which more could come
                await asyncio.sleep(0.005)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        sending.cancel()
        await asyncio.wait([sending])
    assert peak < 5_000_000


async def test_another_runner_reads_them_too() -> None:
    """aiohttp's own, which undoes bodies itself."""
    gateway = Gateway(InProcessUpstream([Handlers().register], (), pool()), [SERVICE])
    await gateway.start()
    app = web.Application()
    gateway.install(app)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            headers = {"Content-Type": LINES, "Content-Encoding": "gzip"}
            url = f"http://127.0.0.1:{runner.addresses[0][1]}{TARGET}"
            async with session.post(url, data=PACKED, headers=headers) as answer:
                assert (await answer.json())["count"] == 2
    finally:
        await runner.cleanup()


def chunk(data: str) -> str:
    return f"{len(data):x}\r\n{data}\r\n"


@pytest.mark.parametrize("begun", ["", '{"text":"x"}\n', '{"text":"x"}\n{"te', '{"te', "\n"])
async def test_a_line_that_never_comes(transport: Transport, begun: str) -> None:
    async with (
        running(transport, config=GatewayConfig(body_timeout_s=0.3)) as served,
        connected(served.base) as connection,
    ):
        await connection.send(HEAD + "\r\n" + (chunk(begun) if begun else ""))
        answer = await connection.answer()
        assert (answer.status, answer.reason, answer.all("Connection")) == (408, "REQUEST_TIMEOUT", ["close"])


async def test_a_line_that_comes_byte_by_byte(transport: Transport) -> None:
    """What counts is the time for the line, not that for a byte."""
    async with (
        running(transport, config=GatewayConfig(body_timeout_s=0.5)) as served,
        connected(served.base) as connection,
    ):
        await connection.send(HEAD + "\r\n")
        answering = asyncio.create_task(connection.answer())
        for _ in range(10_000):
            if answering.done():
                break
            await connection.send(chunk(" "))
            await asyncio.sleep(0.01)
        assert (await answering).reason == "REQUEST_TIMEOUT"


async def test_a_stream_may_last_longer_than_a_line() -> None:
    """Lines that come in time keep a stream going, blank ones too."""
    config = GatewayConfig(body_timeout_s=3.0)
    async with running("in_process", config=config) as served, connected(served.base) as connection:
        await connection.send(HEAD + "\r\n")
        for part in ('{"text":"x"}\n', "\n", "\n", '{"text":', '"y"}\n') * 4:
            await connection.send(chunk(part))
            await asyncio.sleep(0.2)
        await connection.send("0\r\n\r\n")
        assert (await connection.answer()).json["count"] == 8


async def test_the_time_of_a_slow_handler_does_not_count() -> None:
    handlers = Hearing(lets=1)
    config = GatewayConfig(body_timeout_s=0.3)
    async with running("in_process", handlers=handlers, config=config) as served, connected(served.base) as connection:
        lines = 200  # more than may wait
        await connection.send(HEAD + "\r\n" + chunk('{"text":"x"}\n') * lines + "0\r\n\r\n")
        assert await asyncio.wait_for(handlers.heard.get(), 30) == "x"
        await asyncio.sleep(0.5)
        for _ in range(lines):
            handlers.lets.release()
        assert (await connection.answer()).json["count"] == lines
