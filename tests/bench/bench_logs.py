"""How fast lines are kept, and how soon a follower has them. Run: ``python -m tests.bench.bench_logs [lines]``."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import LogRecord, Provider
from tests.bench.measuring import in_turns, quantile
from tests.bench.results import Row, Target
from tests.bench.servers import Servers
from tests.support import flood_engine
from tests.support.provider_local import local_harness

_GATHER_MS = 20.0
"""How long the collector gathers lines before it writes them."""
_PAUSES_MS = 2.0 + 50.0 + _GATHER_MS
"""What a line waits at most where nothing is busy: in the supervisor, for the reader's next look, for its batch."""
_CHAIN_LINES, _CHAIN_RATE = 50_000, 10_000.0
_MAX_LAG_MS = 200.0
_MESSAGE = "INFO 01-01 12:00:00 engine.py:310] throughput: prompt 1834.2 tokens/s, generation 912.7 tokens/s"


class _Printer:
    """Prints so many lines a second, or as fast as they are taken when the rate is 0."""

    def __init__(self, lines: int, rate: float) -> None:
        self._lines = lines
        self._rate = rate

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        began = time.perf_counter()
        for number in range(1, self._lines + 1):
            if self._rate and (ahead := began + number / self._rate - time.perf_counter()) > 0.001:
                await asyncio.sleep(ahead)
            yield LogRecord(time=time.time(), stream="stdout", message=_MESSAGE, cursor=f"0:{number}")


def _raw(folder: Path, lines: int) -> float:
    """The limit: the same messages in the same batches through bare writes; lines/s."""
    batch = (_MESSAGE.encode() + b"\n") * 256
    fd = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT)
    began = time.perf_counter()
    for _ in range(lines // 256):
        os.write(fd, batch)
    os.close(fd)
    return lines / (time.perf_counter() - began)


async def _append(folder: Path, lines: int) -> float:
    store = LogStore(folder)
    batch = [LogRecord(time=1e9, stream="stdout", message=_MESSAGE, cursor=f"0:{n}") for n in range(256)]
    began = time.perf_counter()
    for _ in range(lines // 256):
        await store.append("d", "r", batch, "d-0-1")
    rate = lines / (time.perf_counter() - began)
    await store.close()
    return rate


async def _collect(folder: Path, lines: int, rate: float) -> tuple[float, float, list[float]]:
    """Lines/s, the part of one core they took, and each line's seconds from print to follower."""
    store = LogStore(folder)
    collector = LogCollector(store)
    lags: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    collector.start(cast("Provider", _Printer(lines, rate)), "d-0-1", "d", "r")
    async for line in store.follow("d", after=0, replica_id=None):
        lags.append(time.time() - line.time)
        if len(lags) == lines:
            break
    took = time.perf_counter() - began
    used = (time.process_time() - cpu) / took
    await collector.close()
    await store.close()
    return lines / took, used, lags


async def _chain(folder: Path) -> tuple[float, list[float]]:
    """The part of one core that a flood takes in this process, and each line's seconds from its print to a follower.

    The lines come from a process, through its supervisor, the collector and the store.
    """
    lags: list[float] = []
    command = (sys.executable, "-I", "-S", str(flood_engine.__file__), "0", str(_CHAIN_LINES), str(_CHAIN_RATE))
    async with local_harness(folder / "local") as local:
        store = LogStore(folder / "logs")
        collector = LogCollector(store)
        await local.provider.create(local.spec("i", command))
        gc.freeze()  # as the gateway does once it serves
        began, cpu = time.perf_counter(), time.process_time()
        collector.start(local.provider, "i", "d", "r")
        async for line in store.follow("d", after=0, replica_id=None):
            printed, number, _ = line.message.split(" ", 2)
            lags.append(time.time() - float(printed))
            if int(number) == _CHAIN_LINES:
                break
        used = (time.process_time() - cpu) / (time.perf_counter() - began)
        await collector.close()
        await store.close()
    if len(lags) != _CHAIN_LINES:
        raise RuntimeError(f"{len(lags)} lines of {_CHAIN_LINES} came through")
    return used, lags


async def _reads(folder: Path) -> tuple[float, float]:
    """Milliseconds of a tail of 5,000 lines and of a page of 100 from the middle of the log."""
    store = LogStore(folder)
    end = (await store.tail("d", 1, replica_id=None, since=None))[0].seq
    tails: list[float] = []
    pages: list[float] = []
    for _ in range(10):
        began = time.perf_counter()
        await store.tail("d", 5000, replica_id=None, since=None)
        tails.append(time.perf_counter() - began)
        began = time.perf_counter()
        await store.read("d", after=end - 90_000, limit=100, since=None, replica_id=None)
        pages.append(time.perf_counter() - began)
    await store.close()
    return statistics.median(tails) * 1e3, statistics.median(pages) * 1e3


async def rows(servers: Servers) -> list[Row]:
    """Appending against bare writes, and how late a follower is against how long lines are gathered."""
    lines, folders = 40_960, (servers.folder / f"logs-{number}" for number in range(1000))

    async def raw() -> float:
        folder = next(folders)
        folder.mkdir()
        return _raw(folder, lines)

    rounds = await in_turns(3, {"ours": lambda: _append(next(folders), lines), "raw": raw})
    _, used, lags = await _collect(next(folders), 20_000, 10_000.0)
    lag = quantile(lags, 0.5) * 1e3
    busy, chained = await _chain(next(folders))
    return [
        *(
            Row(
                figure=f"process to follower at 10,000 lines/s ({busy:.0%} of a core), p{part * 100:.0f} lag",
                value=quantile(chained, part) * 1e3,
                unit="ms",
                peer="pauses on its way",
                peer_value=_PAUSES_MS,
                ratio=quantile(chained, part) * 1e3 / _PAUSES_MS,
                target=target,
            )
            for part, target in ((0.5, None), (0.99, Target("<=", _MAX_LAG_MS, judges="value")))
        ),
        Row(
            figure="log append, batches of 256",
            value=rounds.median("ours") / 1e3,
            unit="thousand lines/s",
            peer="bare writes",
            peer_value=rounds.median("raw") / 1e3,
            ratio=rounds.ratio("ours", "raw"),
        ),
        Row(
            figure=f"log follow at 10,000 lines/s ({used:.0%} of a core), p50 lag",
            value=lag,
            unit="ms",
            peer="what a batch waits at most",
            peer_value=_GATHER_MS,
            ratio=lag / _GATHER_MS,
        ),
    ]


async def _main(lines: int) -> None:
    table = Table("figure", "value", "beside it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = _raw(folder, lines)
        appended = await _append(folder / "a", lines)
        table.add_row("append, batches of 256", f"{appended:,.0f} lines/s", f"bare writes {raw:,.0f} lines/s")
        tail, page = await _reads(folder / "a")
        table.add_row("tail of 5,000", f"{tail:.1f} ms", f"of {lines:,} lines")
        table.add_row("page of 100 from the middle", f"{page:.2f} ms", "")
        fast, _, _ = await _collect(folder / "b", lines, 0)
        table.add_row("provider to follower, unpaced", f"{fast:,.0f} lines/s", "append and read back")
        for rate in (100.0, 10_000.0):
            count = int(rate * 5)
            got, used, lags = await _collect(folder / f"c{rate}", count, rate)
            cuts = statistics.quantiles(lags, n=100)
            table.add_row(
                f"follow lag at {rate:,.0f} lines/s",
                f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms",
                f"{got:,.0f} lines/s, {used:.0%} of a core; a batch waits up to 20 ms",
            )
        busy, chained = await _chain(folder / "d")
        p50, p99 = (quantile(chained, part) * 1e3 for part in (0.5, 0.99))
        table.add_row(
            "process to follower at 10,000 lines/s",
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            f"{busy:.0%} of a core; a line waits up to {_PAUSES_MS:.0f} ms on its way",
        )
    table.add_row("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", "whole process")
    Console(width=120).print(table)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
