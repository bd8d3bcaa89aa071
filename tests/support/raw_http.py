"""HTTP/1.1 byte by byte: what client libraries would put right, or hide."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

_DEADLINE_S = 20.0


@dataclass
class RawAnswer:
    """An answer as it was on the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for each, value in self.headers if each.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason in the error's ErrorInfo."""
        (info,) = [each for each in self.json["error"]["details"] if each["@type"].endswith("google.rpc.ErrorInfo")]
        return str(info["reason"])


class RawConnection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes | str) -> None:
        """Send bytes."""
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)
        await self.writer.drain()

    async def answer(self, *, head: bool = False) -> RawAnswer:
        """Read one answer; one to HEAD has no body."""
        async with asyncio.timeout(_DEADLINE_S):
            line = (await self.reader.readuntil(b"\r\n")).decode("latin-1")
            status = int(line.split(" ")[1])
            headers = await self._fields()
            answer = RawAnswer(status, headers, b"")
            if head or status in (204, 304) or status < 200:
                return answer
            if answer.all("Transfer-Encoding") == ["chunked"]:
                answer.body = await self._chunks()
                answer.trailers = await self._fields()
            elif answer.all("Content-Length"):
                answer.body = await self.reader.readexactly(int(answer.all("Content-Length")[0]))
            return answer

    async def closed(self) -> bool:
        """Whether nothing more comes: waits for the other side to close."""
        async with asyncio.timeout(_DEADLINE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    async def _fields(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while (line := (await self.reader.readuntil(b"\r\n"))[:-2].decode("latin-1")) != "":
            name, _, value = line.partition(":")
            found.append((name, value.strip()))
        return found

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        return body


@asynccontextmanager
async def connected(base: str) -> AsyncGenerator[RawConnection]:
    """A connection to ``http://host:port``."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


async def exchange(base: str, data: bytes | str, *, head: bool = False) -> RawAnswer:
    """Send bytes on a connection of their own, and read one answer."""
    async with connected(base) as connection:
        await connection.send(data)
        return await connection.answer(head=head)
