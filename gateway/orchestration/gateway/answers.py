"""Answers whose body is there when they begin, sent in one piece."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any, Final

from aiohttp import ClientConnectionResetError, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE


class WholeAnswer(web.StreamResponse):
    """Status 200, headers and a body, for a request of HTTP/1.1 that is no HEAD.

    What `web.Response` sends too, which takes a dozen calls for its general case: a tenth of a small request. Nothing
    that an application hangs on to responses is run (signals, cookies, compression).

    Args:
        body: As it is sent.
        headers: All but Content-Length, Date, Server and Connection.
    """

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        super().__init__()
        self._whole: Final = body
        self._named: Final = headers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send all of it. Called by aiohttp. Raises `ClientConnectionResetError` when the client has gone."""
        if self._eof_sent:
            return None
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has gone")
        sent = self._head() + self._whole
        transport.write(sent)
        writer: Any = request.writer
        writer.output_size += len(sent)
        self._req, self._payload_writer, self._eof_sent = request, writer, True
        await writer.drain()
        return self._payload_writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send. Called by aiohttp."""
        assert not data

    def _head(self) -> bytes:
        lines = ""
        for name, value in self._named.items():
            if not value.isprintable():
                raise ValueError(f"header {name} holds a line break or the like")
            lines += f"{name}: {value}\r\n"
        if not self._keep_alive:
            lines += "Connection: close\r\n"
        about = f"Content-Length: {len(self._whole)}\r\nDate: {_date()}\r\nServer: {SERVER_SOFTWARE}\r\n"
        return f"HTTP/1.1 200 OK\r\n{lines}{about}\r\n".encode()


class _Date:
    second: int = 0
    text: str = ""


def _date() -> str:
    """Now, as HTTP writes it."""
    second = int(time.time())
    if second != _Date.second:
        _Date.second, _Date.text = second, formatdate(second, usegmt=True)
    return _Date.text
