"""Several processes on one log: no line is lost, doubled or cut off, whoever copies and whoever is stopped."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import sys
import time
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestration.service.logs import store as store_module
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.errors import LogBusyError, LogStoreError, SourceMovedError
from orchestration.service.logs.following import POLL_S
from orchestration.service.logs.segments import list_segments
from orchestration.service.logs.store import LogLine, LogStore
from orchestration.service.logs.writing import LogWriter
from tests.support.log_copier import SEGMENT_BYTES, SOURCES
from tests.support.log_sources import PrintingProvider, all_lines, collect, copied, messages, records, until


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """The lock as another process holds it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


async def test_what_another_process_has_appended_is_never_cut_off(tmp_path: Path) -> None:
    stores = [LogStore(tmp_path, segment_bytes=700) for _ in range(3)]
    chosen = random.Random(7)
    for number in range(200):
        await chosen.choice(stores).append("d", "r", records(f"line {number}", first=number + 1), "i")
        if number % 10 == 0:
            assert await chosen.choice(stores).source_cursor("d", "i") == str(number + 1)
    for store in stores:
        lines = await all_lines(store, "d")
        assert [(line.seq, line.message) for line in lines] == [(n + 1, f"line {n}") for n in range(200)]
        await store.close()
    assert len(list_segments(tmp_path / "d")) > 10


async def test_a_batch_that_was_copied_meanwhile_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store, other = LogStore(tmp_path), LogStore(tmp_path)
    await store.append("d", "r", records("one", "two"), "i", after="")
    with pytest.raises(SourceMovedError) as moved:
        await other.append("d", "r", records("one"), "i", after="")
    assert moved.value.reached == "2"
    await other.append("d", "r", records("three", first=3), "i", after="2")
    with pytest.raises(SourceMovedError):
        await store.append("d", "r", records("three", "four", first=3), "i", after="2")
    assert messages(await all_lines(store, "d")) == ["one", "two", "three"]
    await store.close()
    await other.close()


async def test_a_collector_reads_on_where_another_process_has_got_to(tmp_path: Path) -> None:
    source = PrintingProvider()
    stores = [LogStore(tmp_path) for _ in range(2)]
    collectors = [LogCollector(store) for store in stores]
    for collector in collectors:
        collector.start(source.provider, "i", "d", "r")
    for number in range(40):
        source.print("i", [f"line {number}"])
        await asyncio.sleep(0.01)
    await copied(stores[0], "i", "40")
    assert messages(await all_lines(stores[1], "d")) == [f"line {n}" for n in range(40)]
    for collector, store in zip(collectors, stores, strict=True):
        await collector.close()
        await store.close()


async def test_a_process_that_was_stopped_holding_the_lock_blocks_one_log_alone(
    tmp_path: Path, store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_LOCK_WAIT_S", 0.1)
    await store.append("d", "r", records("one"), "i")
    stranger = LogStore(tmp_path / "logs")
    with _locked(tmp_path / "logs" / "d"):
        with pytest.raises(LogBusyError, match="in use by another process"):
            await store.append("d", "r", records("two", first=2), "i", after="1")
        # What is known can be read; what is not cannot, since half a batch may stand there.
        assert messages(await all_lines(store, "d")) == ["one"]
        with pytest.raises(LogBusyError):
            await stranger.tail("d", 1, replica_id=None, since=None)
        await store.append("e", "r", records("elsewhere"), "i")
    await store.append("d", "r", records("two", first=2), "i", after="1")
    assert messages(await stranger.tail("d", 5, replica_id=None, since=None)) == ["one", "two"]
    await stranger.close()


async def test_lines_wait_at_their_source_while_the_log_is_locked(tmp_path: Path, store: LogStore) -> None:
    source = PrintingProvider()
    collector = LogCollector(store)
    await store.append("d", "r", records("before"), "other")
    source.print("i", ["one", "two"])
    with capture_logs() as logged, _locked(tmp_path / "logs" / "d"):
        collector.start(source.provider, "i", "d", "r")
        await until(lambda: any(entry["event"] == "log_copy_failed" for entry in logged), within_s=30)
    await copied(store, "i", "2")
    assert messages(await all_lines(store, "d")) == ["before", "one", "two"]
    await collector.close()


_APPENDING = """
import asyncio, sys, time
from pathlib import Path
from orchestration.service.logs.store import LogLine, LogStore
from orchestration.service.logs.writing import LogWriter
from orchestration.service.providers.base import LogRecord

async def main() -> None:
    store = LogStore(Path(sys.argv[1]), segment_bytes=2000)
    for n in range(100):
        now = time.time()
        await store.append("d", "r", [LogRecord(time=now, stream="stdout", message=str(n), cursor=str(n))], "i")
        await asyncio.sleep(0.02)
    await store.close()

asyncio.run(main())
"""


async def test_a_follower_sees_what_another_process_appends_within_a_tenth_of_a_second(
    tmp_path: Path, store: LogStore
) -> None:
    lags: list[float] = []
    async with aclosing(store.follow("d", after=0, replica_id=None)) as lines, asyncio.timeout(100):
        waiting = asyncio.ensure_future(anext(lines))
        writer = await asyncio.create_subprocess_exec(sys.executable, "-c", _APPENDING, str(tmp_path / "logs"))
        for number in range(100):
            line = await waiting
            lags.append(time.time() - line.time)
            assert (line.seq, line.message) == (number + 1, str(number))
            if number < 99:
                waiting = asyncio.ensure_future(anext(lines))
    assert await writer.wait() == 0
    # Looked for so often; while others take the machine, the promptest lines tell of it.
    assert POLL_S <= 0.05
    assert sorted(lags)[10] < 0.1, lags


@pytest.mark.slow
@pytest.mark.timeout(360)
async def test_two_copiers_that_are_stopped_and_killed_at_random_keep_each_line_once(tmp_path: Path) -> None:
    lines, seed = 6000, random.randrange(1_000_000)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    command = (sys.executable, "-m", "tests.support.log_copier", str(tmp_path), str(lines))

    async def started() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*command)

    copiers = [await started() for _ in range(2)]
    kills = stops = 0
    try:
        async with asyncio.timeout(300):
            while all(copier.returncode is None for copier in copiers):
                await asyncio.sleep(chosen.uniform(0.0, 0.2))
                which = chosen.randrange(2)
                copier = copiers[which]
                if copier.returncode is not None:
                    break
                if (kills + stops) % 3 == 2 and kills < 12:
                    copier.send_signal(signal.SIGKILL)
                    await copier.wait()
                    copiers[which] = await started()
                    kills += 1
                else:
                    copier.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(chosen.uniform(0.0, 0.4))
                    copier.send_signal(signal.SIGCONT)
                    stops += 1
            assert [await copier.wait() for copier in copiers] == [0, 0]
    finally:
        for copier in copiers:
            if copier.returncode is None:
                copier.kill()
    print(f"{kills} kills, {stops} stops")
    assert kills >= 3
    assert stops >= 3
    store = LogStore(tmp_path, segment_bytes=SEGMENT_BYTES)
    for source in SOURCES:
        kept = [line.message for line in await all_lines(store, "d") if line.replica_id == source]
        assert kept == [f"{source} {number}" for number in range(1, lines + 1)]
    await store.close()


async def test_a_failure_that_nobody_foresaw_does_not_end_the_look_at_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = LogStore(tmp_path), LogStore(tmp_path)
    seen: list[LogLine] = []
    task = asyncio.create_task(collect(store.follow("d", after=0, replica_id=None), seen))
    await other.append("d", "r", records("one"), "i")
    await until(lambda: messages(seen) == ["one"])

    def fail(_: LogWriter) -> bool:
        raise RuntimeError("not foreseen")

    with capture_logs() as logged, monkeypatch.context() as broken:
        broken.setattr(LogWriter, "refresh", fail)
        await until(lambda: any(entry["event"] == "log_watch_failed" for entry in logged))
    await other.append("d", "r", records("two", first=2), "i")
    await until(lambda: messages(seen) == ["one", "two"])
    await store.close()
    await other.close()
    await task


@pytest.mark.parametrize("field", ["time", "source", "cursor"])
async def test_a_line_that_says_too_little_is_an_error_of_the_store(tmp_path: Path, field: str) -> None:
    store = LogStore(tmp_path)
    await store.append("d", "r", records("one", "two"), "i")
    await store.close()
    (segment,) = (tmp_path / "d").glob("*.jsonl")
    segment.write_text(segment.read_text().replace(f'"{field}":', '"other":'))
    store = LogStore(tmp_path)
    with pytest.raises(LogStoreError, match=f"line 1 has no '{field}'"):
        await store.append("d", "r", records("three", first=3), "i")
    await store.close()
