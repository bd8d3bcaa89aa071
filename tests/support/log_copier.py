"""A process that copies two sources into a log: ``python -m tests.support.log_copier FOLDER LINES``.

The sources are the same in every process, as the instances of a provider are. It ends when all lines are kept.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import LogRecord, Provider

SOURCES = ("i", "j")
SEGMENT_BYTES = 20_000


class _Counting:
    """Prints the numbers from 1 on, a few at a time."""

    def __init__(self, lines: int) -> None:
        self._lines = lines

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        for number in range(int(after or "0") + 1, self._lines + 1):
            if number % 10 == 0:
                await asyncio.sleep(0.005)
            yield LogRecord(time=1.0, stream="stdout", message=f"{name} {number}", cursor=str(number))


async def _main(folder: Path, lines: int) -> None:
    store = LogStore(folder, segment_bytes=SEGMENT_BYTES)
    collector = LogCollector(store)
    for source in SOURCES:
        collector.start(cast("Provider", _Counting(lines)), source, "d", source)
    while any([await store.source_cursor("d", source) != str(lines) for source in SOURCES]):
        await asyncio.sleep(0.05)
    await collector.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
