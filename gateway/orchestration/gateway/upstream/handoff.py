"""Messages on their way between a handler's task and the task that answers the client."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import grpc


class Handoff:
    """Passes on one message at a time, so that a slow reader holds up the writer."""

    def __init__(self) -> None:
        self._queue: Final[asyncio.Queue[bytes | None]] = asyncio.Queue(1)
        self._error: Exception | None = None
        self._closed = False

    async def put(self, message: bytes) -> None:
        """Hand over a message, waiting until the one before was taken. Raises CancelledError when nobody reads."""
        if self._closed:  # the handler has caught the cancellation of its call, and goes on
            raise asyncio.CancelledError
        await self._queue.put(message)

    async def end(self, error: Exception | None) -> None:
        """No more messages; the reader meets the error after the last one."""
        if not self._closed:
            self._error = error
            await self._queue.put(None)

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True

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
    """What the client sends, as a handler iterates it: one asynchronous generator, which ends for good once.

    Args:
        read: Gives the next message, or `grpc.aio.EOF`.
    """

    def __init__(self, read: Callable[[], Awaitable[Any]]) -> None:
        self._read = read
        self._iterating: AsyncGenerator[Any, None] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._iterating is None:
            self._iterating = self._iterate()
        return self._iterating

    async def __anext__(self) -> Any:
        return await anext(aiter(self))

    async def _iterate(self) -> AsyncGenerator[Any, None]:
        while (message := await self._read()) is not grpc.aio.EOF:
            yield message


class BlockingMessages:
    """What the client sends, iterated by a synchronous handler in a thread, which waits for each message."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._messages = messages
        self._loop = asyncio.get_running_loop()
        self._waiting: concurrent.futures.Future[Any] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        message = self._waiting.result()
        if message is grpc.aio.EOF:
            raise StopIteration
        return message

    async def _next(self) -> Any:
        if self._closed:
            raise asyncio.CancelledError
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            return grpc.aio.EOF

    def close(self) -> None:
        """The call is over: a thread that waits for a message meets a CancelledError."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
