"""Lines outlast a loss of power soon after they were acknowledged, at the cost of few waits for the disk."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestration.service.logs.store import _SYNC_INTERVAL_S, LogStore  # pyright: ignore[reportPrivateUsage]
from orchestration.service.logs.writing import LogWriter
from tests.support.log_sources import all_lines, messages, records, until


class Disk:
    """Counts what is synced, and fails when it is told to."""

    def __init__(self) -> None:
        self.synced: list[float] = []
        self.broken = False

    def fdatasync(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(fd)
        self.synced.append(time.monotonic())


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fdatasync", made.fdatasync)
    return made


async def test_many_appends_are_synced_together_within_a_second(store: LogStore, disk: Disk) -> None:
    for number in range(50):
        await store.append("d", "r", records(str(number)), "i")
    acknowledged = time.monotonic()
    assert _SYNC_INTERVAL_S <= 0.5, "a second is what is promised, with the time that a sync takes"
    await until(lambda: bool(disk.synced) and disk.synced[-1] >= acknowledged)
    assert len(disk.synced) < 10


async def test_lines_that_come_after_a_pause_are_synced_too(store: LogStore, disk: Disk) -> None:
    for number in range(2):
        await store.append("d", "r", records(str(number)), "i")
        await until(lambda: bool(disk.synced))
        disk.synced.clear()


async def test_a_segment_is_synced_before_the_next_begins_and_all_by_close(tmp_path: Path, disk: Disk) -> None:
    store = LogStore(tmp_path, segment_bytes=1, max_bytes_per_deployment=100_000)
    for number in range(4):
        await store.append("d", "r", records(str(number)), "i")
    assert len(disk.synced) >= 3
    before = len(disk.synced)
    await store.close()
    assert len(disk.synced) > before


async def test_a_disk_that_cannot_sync_is_logged_and_lines_are_still_kept(store: LogStore, disk: Disk) -> None:
    disk.broken = True
    with capture_logs() as logged:
        await store.append("d", "r", records("one"), "i")
        await until(lambda: bool(logged))
    assert logged[0]["event"] == "log_sync_failed"
    assert "Input/output error" in logged[0]["error"]
    disk.broken = False
    await store.append("d", "r", records("two"), "i")
    await until(lambda: bool(disk.synced))
    assert messages(await all_lines(store, "d")) == ["one", "two"]


async def test_a_failure_that_nobody_foresaw_ends_no_syncing(
    store: LogStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: LogWriter) -> None:
        raise RuntimeError("not foreseen")

    with capture_logs() as logged, monkeypatch.context() as broken:
        broken.setattr(LogWriter, "sync", fail)
        await store.append("d", "r", records("a"), "i")
        await until(lambda: any(entry["event"] == "log_sync_failed" for entry in logged))
    await store.append("d", "r", records("b", first=2), "i")
    await until(lambda: bool(disk.synced))
