"""Bodies of JSON lines, read as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestration.gateway.body import broken_off, too_large, too_slow
from orchestration.gateway.errors import RequestError
from orchestration.gateway.unpacking import Unpacker, coding_of


class LineReader:
    """Reads the lines of one body. Of a compressed one no more is undone than the next line takes.

    Args:
        request: The request.
        limit: Longest line, in bytes, decompressed.
        timeout_s: How long the client may take for a line, blank ones counted, in seconds; None: no limit. While it is
            the RPC that is waited for, the time stands still.
        packed: Whether a compressed body comes as it was sent; else aiohttp has undone it.

    Raises:
        RequestError: 415 for an unknown coding.
    """

    def __init__(self, request: web.Request, limit: int, timeout_s: float | None, *, packed: bool) -> None:
        self._request = request
        self._limit = limit
        self._timeout_s = timeout_s
        coding = coding_of(request.headers.get("Content-Encoding", ""))
        self._unpacker = Unpacker(coding) if coding and packed and request.body_exists else None
        self._waited_s = 0.0
        """For the line that is to come."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The lines, blank ones left out.

        Raises:
            RequestError: 413 for a line that is too long, 408 for one that takes too long, 400 for a body that is
                broken or cut off.
        """
        rest = bytearray()
        async for piece in self._pieces():
            *lines, left = piece.split(b"\n")
            if lines:
                self._waited_s = 0.0
            for line in lines:
                whole = bytes(rest) + line if rest else line
                rest.clear()
                self._check_size(whole)
                if whole.strip():
                    yield whole
            rest += left
            self._check_size(rest)
        if rest.strip():
            yield bytes(rest)

    def _check_size(self, line: bytes | bytearray) -> None:
        if len(line) > self._limit:
            raise too_large(self._limit)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while chunk := await self._read():
            if self._unpacker is None:
                yield chunk
                continue
            try:
                for piece in self._unpacker.feed(chunk):
                    yield piece
                    await asyncio.sleep(0)  # a few bytes may unpack to very many: others have their turn between
            except RequestError as error:
                error.headers = {**error.headers, "Connection": "close"}  # what is left of the body is not read
                raise
        if self._unpacker is not None:
            self._unpacker.end()

    async def _read(self) -> bytes:
        content, loop = self._request.content, asyncio.get_running_loop()
        begun, scope = loop.time(), asyncio.timeout(None)
        if self._timeout_s is not None:
            scope = asyncio.timeout(max(0.0, self._timeout_s - self._waited_s))
        try:
            async with scope:
                return await content.readany()
        except TimeoutError as error:
            if not scope.expired() or self._timeout_s is None:
                raise
            raise too_slow("the next line did not arrive", self._timeout_s) from error
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise broken_off(self._request) from error
        finally:
            self._waited_s += loop.time() - begun
