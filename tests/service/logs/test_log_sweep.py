"""Sweeping: logs without a deployment go after a grace, and silent ones grow old like any other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestration.service.logs.segments import list_segments, segment_path
from orchestration.service.logs.store import LogLine, LogStore
from tests.support.log_sources import all_lines, collect, messages, records, until

_GRACE_S = 100.0


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def _swept(store: LogStore, *known: str) -> None:
    await store.sweep(lambda deployment_id: deployment_id in known, grace_s=_GRACE_S)


async def test_a_log_without_a_deployment_is_removed_after_the_grace_also_over_restarts(
    tmp_path: Path, clock: Clock
) -> None:
    for passed, kept in ((0.0, True), (60.0, True), (39.0, True), (1.0, False)):
        clock.now += passed
        store = LogStore(tmp_path, clock=clock)  # anew each time: the grace is counted on disk
        if not passed:
            await store.append("gone", "r", records("last words"), "i")
            await store.append("known", "r", records("line"), "i")
        await _swept(store, "known")
        assert (tmp_path / "gone").exists() is kept
        assert messages(await all_lines(store, "known")) == ["line"]
        if kept:
            assert messages(await all_lines(store, "gone")) == ["last words"]
        await store.close()
    assert _names(tmp_path / "known") == {f"{1:020}.jsonl"}


async def test_a_deployment_that_becomes_known_keeps_its_log(tmp_path: Path, clock: Clock) -> None:
    store = LogStore(tmp_path, clock=clock)
    await store.append("d", "r", records("line"), "i")
    await _swept(store)
    clock.now += _GRACE_S - 1
    await _swept(store, "d")
    clock.now += 1
    await _swept(store)
    clock.now += _GRACE_S - 1
    await _swept(store)
    assert messages(await all_lines(store, "d")) == ["line"]
    clock.now += 1
    await _swept(store)
    assert not (tmp_path / "d").exists()
    await store.close()


async def test_a_removed_log_ends_those_that_follow_it_and_begins_anew(tmp_path: Path, clock: Clock) -> None:
    store = LogStore(tmp_path, clock=clock)
    await store.append("d", "r", records("old"), "i")
    seen: list[LogLine] = []
    following = asyncio.create_task(collect(store.follow("d", after=0, replica_id=None), seen))
    await until(lambda: messages(seen) == ["old"])
    await _swept(store)
    clock.now += _GRACE_S
    await _swept(store)
    await asyncio.wait_for(following, 30)
    assert await store.source_cursor("d", "i") == ""
    await store.append("d", "r", records("new"), "i", after="")
    assert [(line.seq, line.message) for line in await all_lines(store, "d")] == [(1, "new")]
    await store.close()


async def test_what_a_crash_has_left_of_a_removal_is_removed_too(tmp_path: Path, clock: Clock) -> None:
    store = LogStore(tmp_path, clock=clock)
    for name in ("empty", "damaged"):
        (tmp_path / name).mkdir()
    segment_path(tmp_path / "damaged", 7).write_bytes(b'{"ope')
    (tmp_path / "damaged" / "ownerless").write_bytes(b"")  # as a loss of power leaves a mark
    (tmp_path / "a file").write_text("of somebody else")
    (tmp_path / ".hidden").mkdir()
    await _swept(store)
    clock.now += _GRACE_S
    await _swept(store)
    assert _names(tmp_path) == {"a file", ".hidden"}
    await store.close()


async def test_one_log_that_cannot_be_swept_does_not_keep_the_others(tmp_path: Path, clock: Clock) -> None:
    store = LogStore(tmp_path, clock=clock)
    for name in ("a", "b", "c"):
        await store.append(name, "r", records("line"), "i")
    await _swept(store)
    (tmp_path / "b" / "ownerless").unlink()
    (tmp_path / "b" / "ownerless").mkdir()
    clock.now += _GRACE_S
    with capture_logs() as logged:
        await _swept(store)
    assert _names(tmp_path) == {"b"}
    assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == ["log_unreadable"]
    await store.close()


async def test_lines_of_a_deployment_that_says_nothing_more_grow_too_old(tmp_path: Path, clock: Clock) -> None:
    store = LogStore(tmp_path, max_age_s=80.0, clock=clock)
    await store.append("d", "r", records("one"), "i")
    clock.now += 20
    await store.append("d", "r", records("two", first=2), "i")
    for passed, kept in ((60.0, ["one", "two"]), (11.0, ["two"]), (9.0, ["two"]), (11.0, [])):
        clock.now += passed
        await _swept(store, "d")
        assert messages(await all_lines(store, "d")) == kept
    clock.now += 1000
    await _swept(store, "d")
    assert len(list_segments(tmp_path / "d")) == 1
    # Neither the numbers nor the places in the sources begin anew, and a segment that lay empty takes fresh lines.
    await store.append("d", "r", records("three", first=3), "i", after="2")
    clock.now += 89
    await _swept(store, "d")
    assert [(line.seq, line.message) for line in await all_lines(store, "d")] == [(3, "three")]
    await store.close()


async def test_a_limit_that_was_lowered_holds_after_a_sweep(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=2000)
    for number in range(100):
        await store.append("d", "r", records("x" * 200, first=number + 1), "i")
    await store.close()
    store = LogStore(tmp_path, segment_bytes=2000, max_bytes_per_deployment=6000)
    await _swept(store, "d")
    assert sum(path.stat().st_size for path in (tmp_path / "d").iterdir()) <= 6000
    lines = await all_lines(store, "d")
    assert lines[-1].seq == 100
    assert len(lines) > 10
    await store.close()


async def test_there_is_nothing_to_sweep_before_the_first_line(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "logs")
    await _swept(store)
    assert not (tmp_path / "logs").exists()
    await store.close()
