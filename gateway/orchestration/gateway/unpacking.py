"""Compressed bodies of requests, undone piece by piece: however much a few bytes unpack to, a piece is small."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

import grpc

from orchestration.gateway.errors import RequestError, Violation, invalid

PIECE_BYTES: Final = 64 * 1024
"""Longest piece that comes out at once."""

_SLICE_BYTES: Final = 4 * 1024
"""Most bytes that go in at once. What follows the end of a gzip's member is copied, and each may be 20 bytes long."""
_GZIP_BITS: Final = 31
_PLAIN: Final = frozenset({"identity", ""})
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", *_PLAIN})


def coding_of(content_encoding: str) -> str:
    """The coding that a Content-Encoding header names; empty for none. Raises `RequestError` (415)."""
    coding = content_encoding.lower()
    if coding in _CODINGS:
        return "" if coding in _PLAIN else coding
    raise RequestError(
        415,
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNSUPPORTED_ENCODING",
        f"Content-Encoding: {coding} is not supported: send gzip, deflate or none",
        metadata={"content_encoding": coding},
        headers={"Accept-Encoding": "gzip, deflate"},
    )


def unreadable(coding: str) -> RequestError:
    """A body that is broken or cut off."""
    return invalid("INVALID_BODY", [Violation("body", f"cannot be read (Content-Encoding: {coding})")])


class Unpacker:
    """Undoes one body.

    Args:
        coding: ``gzip``, ``x-gzip`` or ``deflate``.
        most_members: How many a gzip may consist of; None: any number.
    """

    def __init__(self, coding: str, *, most_members: int | None = None) -> None:
        self._coding = coding
        self._gzip = coding != "deflate"
        self._left = most_members if self._gzip else 1
        self._stream: Any = None
        """zlib's object, whose type has no public name."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes unpack to. Raises `RequestError` for what is broken."""
        for start in range(0, len(data), _SLICE_BYTES):
            yield from self._undo(data[start : start + _SLICE_BYTES])

    def end(self) -> None:
        """No more bytes. Raises `RequestError` where there should be more."""
        if self._stream is None or not self._stream.eof:
            raise unreadable(self._coding)

    def _undo(self, data: bytes) -> Iterator[bytes]:
        more = False
        while data or more:
            stream = self._stream
            if stream is None or stream.eof:
                stream = self._stream = self._begin(data[0])
            try:
                piece = stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise unreadable(self._coding) from error
            if piece:
                yield piece
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            # All may have been read, and not all of it written.
            more = len(piece) == PIECE_BYTES and not stream.eof

    def _begin(self, first: int) -> Any:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise unreadable(self._coding)
        if self._gzip:
            return zlib.decompressobj(_GZIP_BITS)
        wrapped = first & 0x0F == zlib.DEFLATED  # some send deflate without the header of zlib
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
