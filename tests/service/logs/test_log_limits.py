"""How much is kept: whole oldest segments go, and readers continue with the oldest that is left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestration.service.logs.segments import list_segments
from orchestration.service.logs.store import LogLine, LogStore, decode_cursor
from tests.support.log_sources import all_lines, collect, messages, records, until

_SEGMENT = 2_000
_MAX = 10_000


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def _fill(store: LogStore, lines: int, *, source: str = "i", first: int = 0) -> None:
    for number in range(first, first + lines):
        await store.append("d", "r", records(f"{number:050}", first=number + 1), source)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


async def test_a_log_stays_under_its_size_and_keeps_the_newest_lines(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    for first in range(0, 300, 10):
        await _fill(store, 10, first=first)
        assert _bytes(tmp_path / "d") <= _MAX
    lines = await all_lines(store, "d")
    assert lines[-1].seq == 300
    assert [line.seq for line in lines] == list(range(lines[0].seq, 301))
    assert _bytes(tmp_path / "d") > _MAX - 2 * _SEGMENT
    assert await store.tail("d", 5000, replica_id=None, since=None) == lines
    await store.close()


def _dropped(count: int) -> str:
    return f"[dropped {count} lines: they were no longer kept when they were to be read]"


@pytest.mark.parametrize("replica", [None, "r"])
async def test_page_and_follow_from_a_dropped_line_say_so_and_continue_with_the_oldest_kept(
    tmp_path: Path, replica: str | None
) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    await _fill(store, 300)
    oldest = list_segments(tmp_path / "d")[0]
    page = await store.read("d", after=3, limit=2, since=None, replica_id=replica)
    follower = store.follow("d", after=3, replica_id=replica)
    followed = [await anext(follower) for _ in range(2)]
    await follower.aclose()
    assert page.lines == followed
    assert [line.seq for line in followed] == [oldest - 1, oldest]
    assert followed[0].message == _dropped(oldest - 4)
    # The note has a cursor like any line: what comes after it comes once.
    rest = await all_lines(store, "d", after=decode_cursor(followed[0].cursor, "d"))
    assert [line.seq for line in rest] == list(range(oldest, 301))
    await store.close()


async def test_from_the_beginning_is_from_the_oldest_kept_line_without_a_word(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    await _fill(store, 300)
    oldest = list_segments(tmp_path / "d")[0]
    assert (await store.read("d", after=0, limit=1, since=None, replica_id=None)).lines[0].seq == oldest
    assert await store.before_last("d", 5000, replica_id=None, since=None) == oldest - 1
    await store.close()


async def test_a_follower_that_is_overtaken_loses_only_what_was_dropped(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    await _fill(store, 5)
    lines = store.follow("d", after=0, replica_id=None)
    seen = [await anext(lines)]
    await _fill(store, 300, first=5)
    oldest = list_segments(tmp_path / "d")[0]
    async with asyncio.timeout(30):
        while seen[-1].seq < 305:
            seen.append(await anext(lines))
    assert [line.seq for line in seen] == [1, 2, 3, 4, 5, *range(oldest - 1, 306)]
    assert seen[5].message == _dropped(oldest - 6)
    await lines.aclose()
    await store.close()


async def test_lines_that_are_too_old_go_when_a_segment_begins(tmp_path: Path) -> None:
    clock = Clock()
    store = LogStore(tmp_path, max_age_s=80.0, clock=clock)
    kept: list[tuple[int, int]] = []
    for number in range(40):
        await store.append("d", "r", records(str(number)), "i")
        clock.now += 5
        lines = await all_lines(store, "d")
        kept.append((lines[0].seq, lines[-1].seq))
    assert [last for _, last in kept] == list(range(1, 41))
    # A line every 5 s: 16 fit into 80 s. A segment has three, and one more may pass before the next look.
    assert all(last - first + 1 <= 16 + 2 * 3 + 1 for first, last in kept)
    assert all(last - first + 1 >= 16 for first, last in kept[16:])
    await store.close()


async def test_an_old_log_that_was_opened_anew_keeps_to_the_limits_too(tmp_path: Path) -> None:
    clock = Clock()
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX, max_age_s=80.0, clock=clock)
    await _fill(store, 50)
    await store.close()
    clock.now += 1000
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX, max_age_s=80.0, clock=clock)
    assert len(await all_lines(store, "d")) == 50
    await _fill(store, 1, first=50)
    # What was complete when the new segment began was complete just now, as far as the files tell.
    clock.now += 81
    await _fill(store, 1, first=51)
    assert [line.seq for line in await all_lines(store, "d")] == [51, 52]
    await store.close()


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_source_whose_lines_were_all_dropped_is_still_resumed_where_it_was(
    tmp_path: Path, reopened: bool
) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    await store.append("d", "quiet", records("said once", first=41), "quiet-instance")
    await _fill(store, 300)
    assert "said once" not in messages(await all_lines(store, "d"))
    if reopened:
        await store.close()
        store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    assert await store.source_cursor("d", "quiet-instance") == "41"
    assert await store.source_cursor("d", "i") == "300"
    await store.close()


async def test_sources_that_are_remembered_are_bounded(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    for number in range(1100):
        await store.append("d", "r", records("line", first=number), f"attempt-{number}")
    assert await store.source_cursor("d", "attempt-0") == ""
    assert await store.source_cursor("d", "attempt-1099") == "1099"
    await store.close()


async def test_since_skips_segments_and_misses_no_line(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT)
    times = [float(number % 50 + number // 50 * 30) for number in range(300)]
    for at in times:
        await store.append("d", "r", records("x" * 40, at=at), "i")
    for since in (0.0, 25.0, 100.0, 170.0, 199.0, 200.0):
        expected = [seq for seq, at in enumerate(times, 1) if at >= since]
        page = await store.read("d", after=0, limit=1000, since=since, replica_id=None)
        tail = await store.tail("d", 7, replica_id=None, since=since)
        assert [line.seq for line in page.lines] == expected
        assert [line.seq for line in tail] == expected[-7:]
    await store.close()


async def test_reading_while_segments_are_dropped_never_fails_or_goes_back(tmp_path: Path) -> None:
    store = LogStore(tmp_path, segment_bytes=_SEGMENT, max_bytes_per_deployment=_MAX)
    seen: list[LogLine] = []
    following = asyncio.create_task(collect(store.follow("d", after=0, replica_id=None), seen))
    for first in range(0, 1000, 50):
        await store.append("d", "r", records(*(f"{n:050}" for n in range(first, first + 50))), "i")
        tail = await store.tail("d", 30, replica_id="r", since=None)
        assert [line.seq for line in tail] == sorted(line.seq for line in tail)
    await until(lambda: bool(seen) and seen[-1].seq == 1000)
    numbers = [line.seq for line in seen]
    assert numbers == sorted(set(numbers))
    await store.close()
    await following
