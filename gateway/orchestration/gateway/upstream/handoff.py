"""Messages on their way between a handler's task and the task that answers the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc


class Handoff:
    """Passes on one message at a time, so that a slow reader holds up the writer."""

    def __init__(self) -> None:
        self._queue: Final[asyncio.Queue[bytes | None]] = asyncio.Queue(1)
        self._error: Exception | None = None

    async def put(self, message: bytes) -> None:
        """Hand over a message, waiting until the one before was taken."""
        await self._queue.put(message)

    async def end(self, error: Exception | None) -> None:
        """No more messages; the reader meets the error after the last one."""
        self._error = error
        await self._queue.put(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        message = await self._queue.get()
        if message is not None:
            return message
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration


class IncomingMessages:
    """What the client sends, as a handler sees it: iterated, or read by ``context.read``."""

    def __init__(self, messages: AsyncIterator[bytes], deserialize: Callable[[bytes], Any]) -> None:
        self._messages = messages
        self._deserialize = deserialize

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return self._deserialize(await anext(self._messages))

    async def read(self) -> Any:
        """The next message, or `grpc.aio.EOF`."""
        try:
            return await anext(self)
        except StopAsyncIteration:
            return grpc.aio.EOF
