"""WebSocket clients that do what no browser does: each ends with its close code, and no memory grows with it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from orchestration.gateway import GatewayConfig
from tests.support.gateway import eventually
from tests.support.transcoding_client import Running, Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN, COMPRESSED = 0x80, 0x40


class RawSocket:
    """A WebSocket that sends the frames that it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self.writer = writer
        self.head = head

    def put(self, opcode: int, payload: bytes = b"", *, flags: int = FIN, claims: int | None = None) -> None:
        """Send a frame, masked; ``claims`` is a length that it merely says it has."""
        size = len(payload) if claims is None else claims
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = b"\xfe" + struct.pack(">H", size)
        else:
            length = b"\xff" + struct.pack(">Q", size)
        self.writer.write(bytes([flags | opcode]) + length + b"\0\0\0\0" + payload)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame."""
        async with asyncio.timeout(10):
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self._reader.readexactly(8))
            return first & 0x0F, await self._reader.readexactly(size)

    async def close_code(self) -> tuple[int, str]:
        """Code and reason of the close frame, which whatever comes before is skipped for."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return struct.unpack(">H", payload[:2])[0], payload[2:].decode()


@asynccontextmanager
async def opened(
    served: Running, target: str = "/v1/rooms/a/chat", headers: Mapping[str, str] | None = None
) -> AsyncGenerator[RawSocket, None]:
    host, port = served.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    given = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **(headers or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    writer.write(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        yield RawSocket(reader, writer, head)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Connection": "close"}, 400),
        ({"Sec-WebSocket-Version": "12"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": "AAAA"}, 400),
        ({"Sec-WebSocket-Protocol": "bearer, é"}, 400),
    ],
)
async def test_handshake_that_is_none(served: Running, headers: dict[str, str], status: int) -> None:
    async with opened(served, headers=headers) as socket:
        assert socket.head.startswith(f"HTTP/1.1 {status} ")
        assert "application/json" in socket.head
        assert ("sec-websocket-version: 13" in socket.head.lower()) == (status == 426)


async def test_message_in_fragments(served: Running) -> None:
    async with opened(served) as socket:
        text = b'{"text":"one"}'
        socket.put(TEXT, text[:1], flags=0)
        for byte in text[1:-1]:
            socket.put(0, bytes([byte]), flags=0)
            socket.put(PING, b"?")  # control frames may stand between
        socket.put(0, text[-1:])
        frames = [await socket.frame() for _ in range(len(text) - 1)]
        assert [json.loads(data)["result"]["text"] for opcode, data in frames if opcode == TEXT] == ["ONE"]
        assert [data for opcode, data in frames if opcode == PONG] == [b"?"] * (len(text) - 2)


@pytest.mark.parametrize("opcode", [0, 3, 11])
async def test_frames_out_of_order(served: Running, opcode: int) -> None:
    async with opened(served) as socket:
        socket.put(opcode, b"x")
        assert (await socket.close_code())[0] == 1002


@pytest.mark.parametrize("flags", [FIN | 0x20, FIN | COMPRESSED])
async def test_bits_that_mean_nothing(served: Running, flags: int) -> None:
    """Compression was not agreed upon, so that a compressed frame is none."""
    async with opened(served, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}) as socket:
        assert "permessage-deflate" not in socket.head
        socket.put(TEXT, b"{}", flags=flags)
        assert (await socket.close_code())[0] == 1002


async def test_control_frame_that_is_too_long(served: Running) -> None:
    async with opened(served) as socket:
        socket.put(PING, b"x" * 126)
        assert (await socket.close_code())[0] == 1002


async def test_text_that_is_not_utf8(served: Running) -> None:
    async with opened(served) as socket:
        socket.put(TEXT, b'{"text":"\xff"}')
        assert (await socket.close_code())[0] == 1007


async def test_reason_is_the_status(served: Running) -> None:
    async with opened(served) as socket:
        socket.put(TEXT, b"[]")
        assert await socket.close_code() == (1011, "INVALID_ARGUMENT")


@pytest.mark.asyncio(loop_scope="function")
class TestLimits:
    """One megabyte is enough."""

    @pytest_asyncio.fixture(loop_scope="function")
    async def limited(self, transport: Transport) -> AsyncGenerator[Running, None]:
        config = GatewayConfig(max_body_bytes=1024 * 1024, compress_sockets=True)
        async with running(transport, config=config) as served:
            yield served

    @pytest.mark.parametrize("claims", [1024 * 1024 + 1, 2**31, 2**62])
    async def test_frame_that_says_it_is_huge(self, limited: Running, claims: int) -> None:
        """Refused by its head, before any of it is read."""
        async with opened(limited) as socket:
            socket.put(TEXT, b"x", claims=claims)
            assert (await socket.close_code())[0] == 1009

    async def test_fragments_without_an_end(self, limited: Running) -> None:
        async with opened(limited) as socket:
            socket.put(TEXT, b"x", flags=0)
            for _ in range(40):
                socket.put(0, b"x" * 32 * 1024, flags=0)
            assert (await socket.close_code())[0] == 1009

    async def test_bomb(self, limited: Running) -> None:
        """The limit holds after decompression: 100 MB in 100 kB."""
        async with opened(limited, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}) as socket:
            assert "permessage-deflate" in socket.head
            packer = zlib.compressobj(wbits=-15)
            bomb = packer.compress(b" " * 100_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
            assert len(bomb) < 200_000
            socket.put(TEXT, bomb.removesuffix(b"\0\0\xff\xff"), flags=FIN | COMPRESSED)
            assert (await socket.close_code())[0] == 1009

    async def test_compressed_messages(self, limited: Running) -> None:
        async with limited.session.ws_connect(limited.url("/v1/rooms/a/chat"), compress=15) as socket:
            assert socket.compress
            await socket.send_str('{"text":"one"}')
            assert (await socket.receive_json(timeout=10))["result"]["text"] == "ONE"


async def test_flood_of_pings_is_held_up(served: Running) -> None:
    """A client that sends pings and reads no pongs can send no more at some point, rather than fill the memory."""
    async with opened(served) as socket:
        for _ in range(760):
            for _ in range(1000):
                socket.put(PING, b"x" * 125)
            try:
                await asyncio.wait_for(socket.writer.drain(), 2)
            except TimeoutError:
                return
        pytest.fail("100 MB of pings were taken")


async def test_pings_are_answered_while_the_rpc_reads_nothing(served: Running) -> None:
    async with opened(served) as socket:
        socket.put(TEXT, b'{"text":"wait"}')
        for _ in range(10):
            socket.put(TEXT, b'{"text":"x"}')
        socket.put(PING, b"there?")
        assert await socket.frame() == (PONG, b"there?")


@pytest.mark.asyncio(loop_scope="function")
class TestGoing:
    """However a client goes, its RPC is cancelled."""

    @pytest.mark.parametrize("how", ["close", "fin", "rst"])
    async def test_client_goes_while_frames_wait(self, transport: Transport, how: str) -> None:
        async with running(transport) as served, opened(served) as socket:
            socket.put(TEXT, b'{"text":"wait"}')
            for _ in range(10):
                socket.put(TEXT, b'{"text":"x"}')
            await asyncio.wait_for(served.handlers.started.wait(), 30)
            if how == "close":
                socket.put(CLOSE, struct.pack(">H", 1000))
            elif how == "fin":
                socket.writer.write_eof()
            else:
                socket.writer.transport.abort()
            await asyncio.wait_for(served.handlers.cancelled.wait(), 30)

    async def test_client_that_does_not_answer_pings(self, transport: Transport) -> None:
        config = GatewayConfig(keepalive_s=0.1)
        async with running(transport, config=config) as served, opened(served) as socket:
            socket.put(TEXT, b'{"text":"wait"}')
            await asyncio.wait_for(served.handlers.started.wait(), 30)
            await asyncio.wait_for(served.handlers.cancelled.wait(), 30)
            assert (await socket.frame())[0] == PING

    async def test_client_that_answers_pings_stays(self, transport: Transport) -> None:
        config = GatewayConfig(keepalive_s=0.1)
        async with running(transport, config=config) as served, served.socket("/v1/rooms/a/chat") as socket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.receive(), 1.5)
            assert not socket.closed

    async def test_slow_rpc_is_no_dead_client(self, transport: Transport) -> None:
        """A client whose frames wait for the RPC cannot be heard: it is not taken for gone."""
        config = GatewayConfig(keepalive_s=0.1)
        async with running(transport, config=config) as served, opened(served) as socket:
            socket.put(TEXT, b'{"text":"wait"}')
            for _ in range(1000):  # 20 MB: more than all that buffers may hold, those of a channel too
                socket.put(TEXT, b'{"text":"' + b"x" * 20_000 + b'"}')
            await asyncio.wait_for(served.handlers.started.wait(), 30)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(served.handlers.cancelled.wait(), 1.5)

    async def test_client_that_sends_nothing_where_a_request_must_come(self, transport: Transport) -> None:
        async with running(transport) as served, served.socket("/v1/ticks/from/7") as socket:
            await socket.send_str("")
            frame = await socket.receive_json(timeout=10)
            assert frame["error"]["details"][0]["reason"] == "MISSING_MESSAGE"


@pytest.mark.parametrize("spelling", ["bearer", "Bearer"])
async def test_token_is_neither_sent_back_nor_logged(
    served: Running, spelling: str, caplog: pytest.LogCaptureFixture
) -> None:
    """T217."""
    headers = {"Sec-WebSocket-Protocol": f"{spelling}, secret-token"}
    async with opened(served, "/v1/ticks?count=1", headers) as socket:
        assert f"Sec-WebSocket-Protocol: {spelling}\r\n" in socket.head
        assert "secret" not in socket.head
    assert "secret" not in caplog.text


async def test_half_open_sockets_end_with_the_application(transport: Transport) -> None:
    async with running(transport) as served, opened(served) as socket:
        socket.put(TEXT, b'{"text":"wait"}')
        await asyncio.wait_for(served.handlers.started.wait(), 30)
        ending = asyncio.create_task(served.gateway.end_streams())
        assert (await socket.close_code())[0] == 1001
        await asyncio.wait_for(ending, 10)


async def test_client_library_sees_the_reason(served: Running) -> None:
    async with served.socket("/v1/ticks?count=9&fail_after=1") as socket:
        frames = [await socket.receive(timeout=10) for _ in range(3)]
        assert [frame.type for frame in frames][2] is aiohttp.WSMsgType.CLOSE
        assert (frames[2].data, frames[2].extra) == (1011, "RESOURCE_EXHAUSTED")


async def test_nothing_is_left_running(served: Running) -> None:
    async def quiet() -> bool:
        names = [task.get_name() for task in asyncio.all_tasks()]
        return not any(name.startswith("stream ") for name in names)

    await eventually(quiet, within_s=15)
