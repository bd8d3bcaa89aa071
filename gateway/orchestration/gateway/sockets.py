"""Streams over WebSocket: one JSON message a text frame, both ways.

An empty frame ends the client's messages while the server's go on. The server closes with 1000 after an RPC that ended
well, and with 1011 after a last ``{"error": ...}`` frame. A client that closes cancels the RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Final

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from orchestration.gateway.errorbody import dump
from orchestration.gateway.errors import RequestError, UpstreamError, Violation, invalid
from orchestration.gateway.values import JsonValue

BEARER: Final = "bearer"
"""Subprotocol whose next name is a bearer token: browsers cannot set the Authorization header."""

ReadFrame = Callable[[bytes], bytes]
Tell = Callable[[RequestError | UpstreamError], dict[str, JsonValue]]


def is_upgrade(request: web.Request) -> bool:
    """Whether the client asks for a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def bearer_token(request: web.Request) -> str | None:
    """The token in ``Sec-WebSocket-Protocol: bearer, TOKEN``."""
    names = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if len(names) == 2 and names[0].lower() == BEARER and "Authorization" not in request.headers:
        return names[1]
    return None


class ClientFrames:
    """The client's messages, as the RPC reads them. One waits at most, so that a slow RPC holds up the client."""

    def __init__(self, read: list[ReadFrame], *, only: int | None) -> None:
        self._queue: Final[asyncio.Queue[bytes | None]] = asyncio.Queue(1)
        self._read = read
        self._left = only
        self._ended = False

    async def take(self, frame: bytes) -> None:
        """Take a frame. Raises `RequestError` for one that is no message, or one too many."""
        if not frame:
            await self.end()
            return
        if self._ended or self._left == 0:
            raise invalid("UNEXPECTED_MESSAGE", [Violation("", "no further message is expected")])
        read = self._read.pop(0) if len(self._read) > 1 else self._read[0]
        await self._queue.put(read(frame))
        if self._left is not None:
            self._left -= 1

    async def end(self) -> None:
        """No further messages."""
        if not self._ended:
            self._ended = True
            await self._queue.put(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._queue.get()) is not None:
            yield message


async def single(message: bytes) -> AsyncIterator[bytes]:
    """A stream of one message."""
    yield message


async def serve_socket(
    request: web.Request,
    socket: web.WebSocketResponse,
    messages: AsyncGenerator[bytes, None],
    frames: ClientFrames,
    encode: Callable[[bytes], str],
    tell: Tell,
) -> web.WebSocketResponse:
    """Run an RPC over a socket until either side ends."""
    await socket.prepare(request)
    sending = asyncio.create_task(_send(socket, messages, encode))
    receiving = asyncio.create_task(_receive(socket, frames))
    try:
        await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and receiving.exception() is None:
            return socket  # the client has closed
        error = (sending if sending.done() else receiving).exception()
    except asyncio.CancelledError:
        await _close(socket, WSCloseCode.GOING_AWAY)
        raise
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.wait([sending, receiving])
    await _finish(socket, error, tell)
    return socket


async def _finish(socket: web.WebSocketResponse, error: BaseException | None, tell: Tell) -> None:
    if error is None:
        await _close(socket, WSCloseCode.OK)
    elif isinstance(error, (RequestError, UpstreamError)):
        body = tell(error)
        with suppress(ConnectionError):
            await socket.send_str(dump(body if "error" in body else {"error": body}).decode())
        await _close(socket, WSCloseCode.INTERNAL_ERROR)
    elif not isinstance(error, ConnectionError):
        await _close(socket, WSCloseCode.INTERNAL_ERROR)
        raise error


async def _close(socket: web.WebSocketResponse, code: int) -> None:
    with suppress(ConnectionError):
        await socket.close(code=code)


async def _send(
    socket: web.WebSocketResponse, messages: AsyncGenerator[bytes, None], encode: Callable[[bytes], str]
) -> None:
    async with aclosing(messages):
        async for wire in messages:
            await socket.send_str(f'{{"result":{encode(wire)}}}')


async def _receive(socket: web.WebSocketResponse, frames: ClientFrames) -> None:
    """Take frames until the client closes."""
    while True:
        frame: WSMessage = await socket.receive()
        if frame.type is WSMsgType.TEXT:
            await frames.take(frame.data.encode())
        elif frame.type is WSMsgType.BINARY:
            if frame.data:
                raise invalid("UNEXPECTED_MESSAGE", [Violation("", "messages are text frames, each a JSON message")])
            await frames.end()
        else:
            return
