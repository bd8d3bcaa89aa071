"""Answers whose body is there when they begin, sent in one piece."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any, Final

from aiohttp import ClientConnectionResetError, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from orchestration.gateway.replies import NO_BODY

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header may hold; a tab it may."""


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
        self.whole: Final = body
        """The body."""
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
        sent = self.head(closes=not self._keep_alive) + self.whole
        transport.write(sent)
        writer: Any = request.writer
        writer.output_size += len(sent)
        self._req, self._payload_writer, self._eof_sent = request, writer, True
        await writer.drain()
        return self._payload_writer

    def head(self, *, closes: bool) -> bytes:
        """Status line and headers. Raises ValueError for a header that is none."""
        return _head("200 OK", self._named.items(), len(self.whole), closes=closes)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send. Called by aiohttp."""
        assert not data


def as_sent(answer: web.StreamResponse) -> bytes:
    """The bytes of an answer that is whole and not begun, for a request of HTTP/1.1 that is no HEAD."""
    closes = answer.keep_alive is False
    if isinstance(answer, WholeAnswer):
        return answer.head(closes=closes) + answer.whole
    assert isinstance(answer, web.Response)
    headers = answer.headers
    closes = closes and "Connection" not in headers
    status = f"{answer.status} {answer.reason}"
    if answer.status in NO_BODY:
        return _head(status, headers.items(), None, closes=closes)
    body = answer.body or b""
    assert isinstance(body, bytes)
    return _head(status, headers.items(), len(body), closes=closes) + body


def _head(status: str, headers: Iterable[tuple[str, str]], length: int | None, *, closes: bool) -> bytes:
    lines = ""
    for name, value in headers:
        if not value.isprintable() and _CONTROL.search(value):
            raise ValueError(f"header {name} holds a line break or the like")
        lines += f"{name}: {value}\r\n"
    if closes:
        lines += "Connection: close\r\n"
    if length is not None:
        lines += f"Content-Length: {length}\r\n"
    return f"HTTP/1.1 {status}\r\n{lines}Date: {_date()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()


class _Date:
    second: int = 0
    text: str = ""


def _date() -> str:
    """Now, as HTTP writes it."""
    second = int(time.time())
    if second != _Date.second:
        _Date.second, _Date.text = second, formatdate(second, usegmt=True)
    return _Date.text
