"""Request bodies: read within their limit."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

import grpc
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from orchestration.gateway.errors import RequestError, Violation, invalid
from orchestration.gateway.negotiation import check_content_type

_GZIP_BITS: Final = 31
_MOST_MEMBERS: Final = 100
"""A gzip file may be several, one after the other; each costs a look at all that follow it."""
_PLAIN: Final = frozenset({"identity", ""})
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", *_PLAIN})


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
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in _CODINGS:
        raise _unknown_encoding(encoding)
    if (packed or not encoding) and (request.content_length or 0) > limit:
        raise too_large(limit)
    body = await _read_in_time(request, limit, timeout_s)
    if packed and encoding not in _PLAIN:
        body = unpack(body, encoding, limit)
    if body and not any_type:
        check_content_type(request.headers.get("Content-Type", ""))
    return body


async def refuse_body(request: web.Request, timeout_s: float | None = None) -> None:
    """Raises `RequestError` when there is a body, for a route that takes none."""
    if not request.body_exists:
        return
    if request.content_length or await _read_in_time(request, 0, timeout_s, refused=True):
        text = "this method takes no body: send its fields in the path and in the query"
        raise invalid("UNEXPECTED_BODY", [Violation("body", text)])


async def _read(request: web.Request, limit: int, *, refused: bool = False) -> bytes:
    content = request.content
    if content.total_bytes <= limit and content.is_eof() and content.exception() is None:
        return content.read_nowait()  # it is all there, as it mostly is
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
        request.content.feed_eof()  # else aiohttp reads on after the answer, and fails again
        refusal = _unreadable(request.headers.get("Content-Encoding", "none"))
        refusal.headers = {"Connection": "close"}  # where the next request begins is not known
        raise refusal from error
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
        raise RequestError(
            408,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "REQUEST_TIMEOUT",
            f"the body did not arrive within {timeout_s:g} s",
            metadata={"body_timeout_s": f"{timeout_s:g}"},
            headers={"Connection": "close"},
        ) from error


def unpack(body: bytes, coding: str, limit: int) -> bytes:
    """A compressed body, decompressed. Raises `RequestError` for one that is broken, cut off or too long.

    Args:
        body: As sent.
        coding: ``gzip``, ``x-gzip`` or ``deflate``.
        limit: Most bytes of the result.
    """
    gzip = coding != "deflate"
    wrapped = body[:1] and body[0] & 0x0F == zlib.DEFLATED  # some send deflate without the header of zlib
    bits = _GZIP_BITS if gzip else zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
    parts: list[bytes] = []
    left = limit
    for _ in range(_MOST_MEMBERS if gzip else 1):
        stream = zlib.decompressobj(bits)
        try:
            part = stream.decompress(body, left + 1)
        except zlib.error as error:
            raise _unreadable(coding) from error
        left -= len(part)
        if left < 0:
            raise too_large(limit)
        parts.append(part)
        body = stream.unused_data
        if not stream.eof:
            break
        if not body:
            return b"".join(parts)
    raise _unreadable(coding)


def _unreadable(coding: str) -> RequestError:
    return invalid("INVALID_BODY", [Violation("body", f"cannot be read (Content-Encoding: {coding})")])


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


def _unknown_encoding(encoding: str) -> RequestError:
    return RequestError(
        415,
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNSUPPORTED_ENCODING",
        f"Content-Encoding: {encoding} is not supported: send gzip, deflate or none",
        metadata={"content_encoding": encoding},
        headers={"Accept-Encoding": "gzip, deflate"},
    )
