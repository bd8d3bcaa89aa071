"""Lines on their way from a provider to the log store: bounded, and taken in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from orchestration.service.providers.base import LogRecord

MAX_LINES = 256
MAX_CHARS = 1024 * 1024
MAX_WAIT_S = 0.02
"""How long a line may wait for others to be written with it."""


class LineBuffer:
    """One task fills it, another takes from it; whoever is ahead waits."""

    def __init__(self) -> None:
        self._lines: list[LogRecord] = []
        self._chars = 0
        self._ended = False
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()

    async def fill(self, lines: AsyncIterator[LogRecord]) -> None:
        """Take in every line of the source, then tell the end. Raises what the source does."""
        try:
            async for line in lines:
                while self._full():
                    self._room.clear()
                    await self._room.wait()
                self._lines.append(line)
                self._chars += len(line.message)
                self._some.set()
                if self._full():
                    self._enough.set()
        finally:
            self._ended = True
            self._some.set()
            self._enough.set()

    async def take(self) -> list[LogRecord]:
        """The next lines, at most a batch; none at the end."""
        await self._some.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_WAIT_S):
                await self._enough.wait()
        taken, self._lines, self._chars = self._lines, [], 0
        if not self._ended:
            self._some.clear()
            self._enough.clear()
        self._room.set()
        return taken

    def _full(self) -> bool:
        return len(self._lines) >= MAX_LINES or self._chars >= MAX_CHARS
