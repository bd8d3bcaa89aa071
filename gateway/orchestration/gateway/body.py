"""Request bodies: read within their limit."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestration.gateway.errors import RequestError, Violation, invalid
from orchestration.gateway.negotiation import check_content_type
from orchestration.gateway.unpacking import Unpacker, coding_of, unreadable

_MOST_MEMBERS: Final = 100
"""A gzip file may be several, one after the other; each costs some microseconds, though it may hold nothing."""


async def read_body(
    request: web.Request, limit: int, *, any_type: bool, timeout_s: float | None = None, packed: bool = False
) -> bytes:
    """The whole body, decompressed. Raises `RequestError` for one too long, broken, or of a type not taken.

    Args:
        request: The request.
        limit: Most bytes, after decompression.
        any_type: Whether the body need not be JSON.
        timeout_s: How long it may take to arrive, in seconds; None: no limit.
        packed: Whether a compressed body comes as it was sent; else aiohttp has undone it, to which a gzip that is cut
            off is as good as a whole one.
    """
    if not request.body_exists:
        return b""
    coding = coding_of(request.headers.get("Content-Encoding", ""))
    if (packed or not coding) and (request.content_length or 0) > limit:
        raise too_large(limit)
    body = await _read_in_time(request, limit, timeout_s)
    if packed and coding:
        body = _unpack(body, coding, limit)
    if body and not any_type:
        check_content_type(request.headers.get("Content-Type", ""))
    return body


def arrived(request: web.Request, limit: int) -> bytes | None:
    """A body that is all there and within the limit, as it was sent; None where there is more to do."""
    content = request.content
    whole = content.is_eof() and content.total_bytes <= limit and content.exception() is None
    return content.read_nowait() if whole else None


async def refuse_body(request: web.Request, timeout_s: float | None = None) -> None:
    """Raises `RequestError` for a body of a request whose route takes none, unless it is empty."""
    if request.content_length or await _read_in_time(request, 0, timeout_s, refused=True):
        text = "this method takes no body: send its fields in the path and in the query"
        raise invalid("UNEXPECTED_BODY", [Violation("body", text)])


async def _read(request: web.Request, limit: int, *, refused: bool = False) -> bytes:
    whole = arrived(request, limit)
    if whole is not None:
        return whole
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await request.content.readany():
            size += len(chunk)
            if size > limit:
                if refused:
                    return chunk
                raise too_large(limit)
            chunks.append(chunk)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise broken_off(request) from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _read_in_time(request: web.Request, limit: int, timeout_s: float | None, *, refused: bool = False) -> bytes:
    if timeout_s is None or request.content.is_eof():
        return await _read(request, limit, refused=refused)
    scope = asyncio.timeout(timeout_s)
    try:
        async with scope:
            return await _read(request, limit, refused=refused)
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise too_slow("the body did not arrive", timeout_s) from error


def _unpack(body: bytes, coding: str, limit: int) -> bytes:
    """A compressed body, decompressed. Raises `RequestError` for one that is broken, cut off or too long."""
    unpacker = Unpacker(coding, most_members=_MOST_MEMBERS)
    parts: list[bytes] = []
    left = limit
    for piece in unpacker.feed(body):
        left -= len(piece)
        if left < 0:
            raise too_large(limit)
        parts.append(piece)
    unpacker.end()
    return b"".join(parts)


def broken_off(request: web.Request) -> RequestError:
    """A body that aiohttp cannot read to its end."""
    request.content.feed_eof()  # else aiohttp reads on after the answer, and fails again
    refusal = unreadable(request.headers.get("Content-Encoding", "none"))
    refusal.headers = {"Connection": "close"}  # where the next request begins is not known
    return refusal


def too_slow(what: str, timeout_s: float) -> RequestError:
    """A body that takes too long."""
    return RequestError(
        408,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "REQUEST_TIMEOUT",
        f"{what} within {timeout_s:g} s",
        metadata={"body_timeout_s": f"{timeout_s:g}"},
        headers={"Connection": "close"},
    )


def too_large(limit: int) -> RequestError:
    """A body over the limit."""
    return RequestError(
        413,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "BODY_TOO_LARGE",
        f"the body is longer than {limit} bytes",
        metadata={"max_body_bytes": str(limit)},
        headers={"Connection": "close"},
    )
