"""Streams over WebSocket: one JSON message a text frame, both ways.

An empty frame ends the client's messages while the server's go on. The server closes with 1000 after an RPC that ended
well, and with 1011 after a last ``{"error": ...}`` frame; the reason is then the name of the status. Frames that are no
WebSocket frames are answered with 1002, text that is not UTF-8 with 1007, frames over the limit with 1009; a gateway
that stops closes with 1001. A client that closes cancels the RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from orchestration.gateway.clientmessages import ClientMessages
from orchestration.gateway.errors import CODE_NAMES, RequestError, UpstreamError, Violation, invalid
from orchestration.gateway.streamforms import enveloped
from orchestration.gateway.streams import Tell

_CLOSE_S: Final = 10.0
"""How long a client may take to answer a close frame, in seconds."""
_PINGS: Final = 2
"""A client that was asked so often and has said nothing is gone."""


class SocketStream:
    """An RPC over a socket, until either side ends.

    Args:
        socket: Not yet prepared, without a heartbeat of its own and without automatic pongs.
        messages: What the RPC answers; closed at the end.
        incoming: What it is sent.
        encode: Prints a message of the RPC as JSON.
        tell: Makes an error's JSON.
        ping_s: How often a silent client is asked whether it is there, in seconds.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        messages: AsyncGenerator[bytes, None],
        incoming: ClientMessages,
        encode: Callable[[bytes], str],
        tell: Tell,
        ping_s: float,
    ) -> None:
        self._socket = socket
        self._messages = messages
        self._incoming = incoming
        self._encode = encode
        self._tell = tell
        self._ping_s = ping_s
        self._unanswered = 0
        self._sending = False

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Open the socket and run the RPC."""
        try:
            await self._socket.prepare(request)
        except ConnectionError:  # the client has gone already
            await self._messages.aclose()
            return self._socket
        sending = asyncio.create_task(self._send())
        receiving = asyncio.create_task(self._receive())
        pinging = asyncio.create_task(self._ping())
        tasks = (sending, receiving, pinging)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._close(WSCloseCode.GOING_AWAY)
            raise
        finally:
            ended = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if sending in ended:
            await self._finish(sending.exception())
        elif receiving in ended and receiving.exception() is not None:
            await self._finish(receiving.exception())
        elif request.transport is not None and pinging in ended:
            request.transport.abort()
        return self._socket

    async def _finish(self, error: BaseException | None) -> None:
        if error is None:
            await self._close(WSCloseCode.OK)
        elif isinstance(error, (RequestError, UpstreamError)):
            with suppress(ConnectionError):
                await self._socket.send_str(enveloped(self._tell(error)).decode())
            await self._close(WSCloseCode.INTERNAL_ERROR, _reason(error))
        elif not isinstance(error, ConnectionError):
            await self._close(WSCloseCode.INTERNAL_ERROR, "INTERNAL")
            raise error

    async def _close(self, code: int, reason: str = "") -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._socket.close(code=code, message=reason.encode())

    async def _send(self) -> None:
        async with aclosing(self._messages) as messages:
            async for wire in messages:
                self._sending = True
                await self._socket.send_str(f'{{"result":{self._encode(wire)}}}')
                self._sending = False

    async def _receive(self) -> None:
        """Take frames until the client closes."""
        while True:
            frame = await self._socket.receive()
            self._unanswered = 0
            match frame.type:
                case WSMsgType.TEXT:
                    await self._take(frame.data.encode())
                case WSMsgType.BINARY:
                    if frame.data:
                        text = "messages are text frames, each a JSON message"
                        raise invalid("UNEXPECTED_MESSAGE", [Violation("", text)])
                    self._incoming.end()
                case WSMsgType.PING:
                    await self._socket.pong(frame.data)
                case WSMsgType.PONG:
                    pass
                case _:
                    return

    async def _take(self, frame: bytes) -> None:
        if frame:
            await self._incoming.take(frame)
        else:
            self._incoming.end()

    async def _ping(self) -> None:
        """Ask a silent client for a sign of life; ends when it gives none.

        While a frame waits for the RPC nothing is read, and while one waits for the client its answer may be behind it:
        then silence says nothing. The ping is sent all the same, as writing to a connection that is gone ends it.
        """
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(self._ping_s)
                if self._sending or self._incoming.is_full:
                    self._unanswered = 0
                elif self._unanswered >= _PINGS:
                    return
                if not self._sending:
                    self._unanswered += 1
                    await self._socket.ping()


def _reason(error: RequestError | UpstreamError) -> str:
    return error.code.name if isinstance(error, RequestError) else CODE_NAMES.get(error.code, "UNKNOWN")
