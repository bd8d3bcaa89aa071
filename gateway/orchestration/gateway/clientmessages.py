"""The messages of a client's stream, between the connection that they come by and the RPC that reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from orchestration.gateway.errors import Violation, invalid

ReadMessage = Callable[[bytes], bytes]
"""Turns a client's JSON into wire bytes. Raises `RequestError`."""

_MOST_WAITING: Final = 64
_MOST_WAITING_BYTES: Final = 256 * 1024


class ClientMessages:
    """The client's messages, as the RPC reads them.

    A few may wait, so that a client that closes is noticed though the RPC is busy; then a slow RPC holds up the client.

    Args:
        first: Reads the first message, which gets the path and the query too.
        following: Reads the others.
        only: How many there may be; None: any number.
    """

    def __init__(self, first: ReadMessage, following: ReadMessage, *, only: int | None = None) -> None:
        self._first: ReadMessage | None = first
        self._following = following
        self._left = only
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._there = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def take(self, frame: bytes) -> None:
        """Take a message, waiting for room. Raises `RequestError` for what is no message, or one too many."""
        if self._ended or self._left == 0:
            raise invalid("UNEXPECTED_MESSAGE", [Violation("", "no further message is expected")])
        read, self._first = self._first or self._following, None
        message = read(frame)
        await self._room.wait()
        self._waiting.append(message)
        self._bytes += len(message)
        if len(self._waiting) >= _MOST_WAITING or self._bytes >= _MOST_WAITING_BYTES:
            self._room.clear()
        self._there.set()
        if self._left is not None:
            self._left -= 1

    def end(self) -> None:
        """No further messages. Raises `RequestError` when the one that there must be has not come."""
        if self._left == 1:
            raise invalid("MISSING_MESSAGE", [Violation("", "the first frame is the request: it must not be empty")])
        self._ended = True
        self._there.set()

    @property
    def is_full(self) -> bool:
        """Whether the client has to wait for the RPC."""
        return not self._room.is_set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await self._there.wait()
            if not self._waiting:
                return
            message = self._waiting.popleft()
            self._bytes -= len(message)
            self._room.set()
            if not self._waiting and not self._ended:
                self._there.clear()
            yield message


async def single(message: bytes) -> AsyncIterator[bytes]:
    """A stream of one message."""
    yield message


def unread(_: bytes) -> bytes:
    """Reads no message: for streams whose client sends none."""
    raise AssertionError("a message was taken where none is expected")
