"""Log lines for tests, and a provider that prints what a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import cast

from orchestration.service.logs.store import LogLine, LogStore
from orchestration.service.providers.base import LogRecord, Provider


def records(*messages: str, first: int = 1, at: float = 1000.0) -> list[LogRecord]:
    """Lines of a source, whose cursors are their numbers in it."""
    return [
        LogRecord(time=at, stream="stdout", message=message, cursor=str(number))
        for number, message in enumerate(messages, first)
    ]


async def all_lines(store: LogStore, deployment_id: str, *, limit: int = 1000, after: int = 0) -> list[LogLine]:
    """Every line after a place, page by page."""
    lines: list[LogLine] = []
    while (page := await store.read(deployment_id, after=after, limit=limit, since=None, replica_id=None)).lines:
        lines.extend(page.lines)
        after = lines[-1].seq
    return lines


def messages(lines: Iterable[LogLine]) -> list[str]:
    """Their texts."""
    return [line.message for line in lines]


async def collect(lines: AsyncIterator[LogLine], into: list[LogLine]) -> None:
    """Add each line as it comes, until there are no more."""
    async for line in lines:
        into.append(line)  # noqa: PERF401 - seen by the test while more come


async def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def copied(store: LogStore, source: str, cursor: str, *, within_s: float = 60.0) -> None:
    """Wait until the log ``d`` has all of the source up to the cursor; fail when it has not in time."""
    async with asyncio.timeout(within_s):
        while await store.source_cursor("d", source) != cursor:
            await asyncio.sleep(0.005)


class PrintingProvider:
    """Instances are lists of lines; only what the collector uses of a provider."""

    def __init__(self) -> None:
        self.printed: dict[str, list[str]] = {}
        self.ended: set[str] = set()
        self.failures: list[Exception] = []
        """Raised one by one, each by the next line that is read."""
        self.reads: list[tuple[str, str, bool]] = []
        self.open = 0
        """Reads that are going on now."""
        self.hangs = False

    @property
    def provider(self) -> Provider:
        """Itself, as the collector takes it."""
        return cast("Provider", self)

    def print(self, instance: str, lines: Sequence[str]) -> None:
        """Have the instance print."""
        self.printed.setdefault(instance, []).extend(lines)

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        self.reads.append((name, after, follow))
        self.open += 1
        try:
            number = int(after or "0")
            while True:
                ended = not follow or name in self.ended
                lines = self.printed.get(name, [])
                while number < len(lines):
                    if self.failures:
                        raise self.failures.pop(0)
                    number += 1
                    yield LogRecord(time=float(number), stream="stdout", message=lines[number - 1], cursor=str(number))
                if ended and not self.hangs:
                    return
                await asyncio.sleep(0.005)
        finally:
            self.open -= 1
