"""Copying from providers: each line once, whatever fails, ends or is started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from orchestration.service.logs import collector as collector_module
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.segments import segment_path
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import ProviderUnavailableError
from tests.support.log_sources import PrintingProvider, all_lines, messages, until


@pytest.fixture
def source() -> PrintingProvider:
    return PrintingProvider()


@pytest.fixture
async def collector(store: LogStore, source: PrintingProvider) -> AsyncGenerator[LogCollector]:
    opened = LogCollector(store)
    yield opened
    await opened.close()
    assert source.open == 0


async def _kept(store: LogStore, count: int) -> list[str]:
    """The first lines, once there are so many."""
    async with aclosing(store.follow("d", after=0, replica_id=None)) as lines, asyncio.timeout(30):
        return [(await anext(lines)).message for _ in range(count)]


async def test_lines_are_copied_as_they_are_printed(
    store: LogStore, source: PrintingProvider, collector: LogCollector
) -> None:
    source.print("i", ["one", "two"])
    collector.start(source.provider, "i", "d", "r")
    assert await _kept(store, 2) == ["one", "two"]
    source.print("i", ["three"])
    assert await _kept(store, 3) == ["one", "two", "three"]
    assert await collector.last_lines("d", "r", 2) == ["two", "three"]
    assert await collector.last_lines("d", "other", 2) == []


async def test_start_is_idempotent_and_works_again_after_the_end(
    store: LogStore, source: PrintingProvider, collector: LogCollector
) -> None:
    source.print("i", ["one"])
    for _ in range(3):
        collector.start(source.provider, "i", "d", "r")
    await _kept(store, 1)
    assert source.reads == [("i", "", True)]
    source.ended.add("i")
    await until(lambda: source.open == 0)
    source.ended.clear()
    source.print("i", ["two"])

    def started_again() -> bool:
        collector.start(source.provider, "i", "d", "r")
        return len(source.reads) > 1

    await until(started_again)
    assert await _kept(store, 2) == ["one", "two"]
    assert source.reads[1:] == [("i", "1", True)]


async def test_copying_goes_on_after_a_failure_of_the_provider(
    store: LogStore, source: PrintingProvider, collector: LogCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_module, "_FIRST_RETRY_S", 0.01)
    source.failures = [ProviderUnavailableError("away"), ConnectionResetError("reset"), ProviderUnavailableError("")]
    source.print("i", [f"line {n}" for n in range(600)])
    collector.start(source.provider, "i", "d", "r")
    assert await _kept(store, 600) == [f"line {n}" for n in range(600)]
    assert len(source.reads) == 4


async def test_copying_goes_on_after_a_failure_of_the_store(
    tmp_path: Path, store: LogStore, source: PrintingProvider, collector: LogCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_module, "_FIRST_RETRY_S", 0.01)
    in_the_way = segment_path(tmp_path / "logs" / "d", 1).with_suffix(".new")
    in_the_way.mkdir(parents=True)
    source.print("i", ["one", "two"])
    collector.start(source.provider, "i", "d", "r")
    await until(lambda: len(source.reads) == 3)
    in_the_way.rmdir()
    assert await _kept(store, 2) == ["one", "two"]


async def test_drain_takes_over_from_the_follower_and_doubles_no_line(
    store: LogStore, source: PrintingProvider, collector: LogCollector
) -> None:
    source.print("i", [f"line {n}" for n in range(1000)])
    collector.start(source.provider, "i", "d", "r")
    await _kept(store, 1)
    source.print("i", [f"line {n}" for n in range(1000, 2000)])
    await collector.drain(source.provider, "i", "d", "r")
    assert messages(await all_lines(store, "d")) == [f"line {n}" for n in range(2000)]
    assert source.open == 0
    await collector.drain(source.provider, "i", "d", "r")
    assert len(await all_lines(store, "d")) == 2000


async def test_drain_gives_up_when_its_time_is_over(
    store: LogStore, source: PrintingProvider, collector: LogCollector
) -> None:
    source.hangs = True
    source.print("i", ["one"])
    await asyncio.wait_for(collector.drain(source.provider, "i", "d", "r", timeout_s=0.2), 5)
    assert messages(await all_lines(store, "d")) == ["one"]
    assert source.open == 0


async def test_lines_that_stop_left_behind_are_copied_by_the_next_start(
    tmp_path: Path, source: PrintingProvider
) -> None:
    source.print("i", [f"line {n}" for n in range(5000)])
    for _ in range(5):
        store = LogStore(tmp_path)
        collector = LogCollector(store)
        collector.start(source.provider, "i", "d", "r")
        await asyncio.sleep(0.01)
        await collector.stop("i")
        await collector.stop("i")
        await collector.close()
        await store.close()
    store = LogStore(tmp_path)
    collector = LogCollector(store)
    await collector.drain(source.provider, "i", "d", "r")
    assert messages(await all_lines(store, "d")) == [f"line {n}" for n in range(5000)]
    await collector.close()
    await store.close()


async def test_long_lines_go_through_in_small_batches(
    store: LogStore, source: PrintingProvider, collector: LogCollector
) -> None:
    source.print("i", [f"{n}".ljust(1_000_000, "x") for n in range(8)])
    await collector.drain(source.provider, "i", "d", "r")
    assert [line.message.rstrip("x") for line in await all_lines(store, "d")] == [f"{n}" for n in range(8)]


async def test_a_closed_collector_starts_nothing(store: LogStore, source: PrintingProvider) -> None:
    collector = LogCollector(store)
    for number in range(3):
        collector.start(source.provider, f"i{number}", "d", "r")
    await collector.close()
    collector.start(source.provider, "i9", "d", "r")
    await collector.drain(source.provider, "i9", "d", "r")
    assert source.open == 0
    assert "i9" not in {name for name, _, _ in source.reads}
