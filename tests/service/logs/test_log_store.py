"""What is appended is read back: by page, by tail, by follow, and by another process."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.logs.store import LogLine, LogStore, LogStoreError, decode_cursor
from orchestration.service.providers.base import LogRecord
from tests.support.log_sources import all_lines, collect, messages, records, until


async def test_a_line_keeps_everything_that_came_with_it(store: LogStore) -> None:
    record = LogRecord(time=12.5, stream="stderr", message="listening on :8000", cursor="0:19")
    await store.append("d", "r-1", [record], "d-0-1")
    page = await store.read("d", after=0, limit=10, since=None, replica_id=None)
    expected = LogLine(
        seq=1, time=12.5, replica_id="r-1", stream="stderr", message="listening on :8000", deployment_id="d"
    )
    assert page.lines == [expected]
    assert decode_cursor(page.next_cursor, "d") == 1


async def test_a_log_without_lines_gives_empty_answers(store: LogStore) -> None:
    page = await store.read("d", after=0, limit=10, since=None, replica_id=None)
    assert (page.lines, page.next_cursor) == ([], "")
    assert await store.tail("d", 10, replica_id=None, since=None) == []
    assert await store.source_cursor("d", "d-0-1") == ""
    await store.append("d", "r", [], "d-0-1")
    store.release("d")


async def test_pages_follow_on_each_other_by_cursor(store: LogStore) -> None:
    await store.append("d", "r", records(*map(str, range(10))), "i")
    seen: list[str] = []
    after = 0
    while (page := await store.read("d", after=after, limit=4, since=None, replica_id=None)).lines:
        assert len(page.lines) <= 4
        seen += messages(page.lines)
        after = decode_cursor(page.next_cursor, "d")
    assert seen == [str(n) for n in range(10)]


@pytest.mark.parametrize("n", [0, 1, 3, 10, 11, 5000])
async def test_tail_gives_the_last_lines_in_order(store: LogStore, n: int) -> None:
    await store.append("d", "r", records(*map(str, range(10))), "i")
    tail = await store.tail("d", n, replica_id=None, since=None)
    assert messages(tail) == [str(number) for number in range(10)][max(0, 10 - n) :]


@pytest.mark.parametrize(
    ("replica", "since", "expected"),
    [
        (None, None, ["a1", "b1", "a2", "b2"]),
        ("a", None, ["a1", "a2"]),
        ("b", None, ["b1", "b2"]),
        ("c", None, []),
        (None, 2.0, ["a2", "b2"]),
        ("a", 2.0, ["a2"]),
        (None, 3.0, []),
    ],
)
async def test_replica_and_since_leave_lines_out_of_page_and_tail(
    store: LogStore, replica: str | None, since: float | None, expected: list[str]
) -> None:
    for number in (1, 2):
        for name in "ab":
            await store.append("d", name, records(f"{name}{number}", at=float(number)), name)
    page = await store.read("d", after=0, limit=10, since=since, replica_id=replica)
    tail = await store.tail("d", 10, replica_id=replica, since=since)
    last = await store.tail("d", 1, replica_id=replica, since=since)
    assert messages(page.lines) == messages(tail) == expected
    assert messages(last) == expected[-1:]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 1_000_000, id="a megabyte"),
        pytest.param("\x00\x01\x1b[31mred\x7f", id="control characters"),
        pytest.param("a\nb\rc\u2028d\x85e\x1ef", id="line separators"),
        pytest.param("naïve 模型 🚀 \ufffd", id="unicode"),
        pytest.param('{"seq":99,"replica":"other"}', id="like a record"),
    ],
)
async def test_any_text_comes_back_as_it_was(store: LogStore, message: str) -> None:
    await store.append("d", "r", records("before", message, "after"), "i")
    assert messages(await all_lines(store, "d")) == ["before", message, "after"]


async def test_a_lone_surrogate_becomes_a_question_mark(store: LogStore) -> None:
    await store.append("d", "r", records("a\ud800b"), "i")
    assert messages(await all_lines(store, "d")) == ["a?b"]


async def test_a_page_of_long_lines_ends_early_but_never_empty(store: LogStore) -> None:
    # Four and a half of them are 2 MiB; the last alone is more.
    for number in range(9):
        await store.append("d", "r", records(str(number) * 450_000), "i")
    await store.append("d", "r", records("\0" * 1_000_000), "i")
    page = await store.read("d", after=0, limit=100, since=None, replica_id=None)
    assert [line.seq for line in page.lines] == [1, 2, 3, 4]
    assert [line.seq for line in await store.tail("d", 100, replica_id=None, since=None)] == [10]
    assert [line.seq for line in await all_lines(store, "d")] == list(range(1, 11))
    await store.append("d", "r", records(*"abc"), "i")
    assert messages(await store.tail("d", 100, replica_id="r", since=None)) == ["a", "b", "c"]


@pytest.mark.parametrize("n", [0, 1, 3, 5, 6, 5000])
@pytest.mark.parametrize("replica", [None, "a", "b", "c"])
async def test_the_last_lines_are_found_without_being_read(tmp_path: Path, n: int, replica: str | None) -> None:
    store = LogStore(tmp_path, segment_bytes=400)
    for number in range(12):
        name = "b" if number % 4 == 1 else "a"
        await store.append("d", name, records(f"{name}{number}"), name)
    after = await store.before_last("d", n, replica_id=replica, since=None)
    page = await store.read("d", after=after, limit=100, since=None, replica_id=replica)
    assert page.lines == await store.tail("d", n, replica_id=replica, since=None)
    await store.close()


async def test_follow_gives_what_is_there_and_is_woken_by_each_append(store: LogStore) -> None:
    await store.append("d", "r", records("one", "two"), "i")
    lines = store.follow("d", after=1, replica_id=None)
    async with asyncio.timeout(30):
        assert (await anext(lines)).message == "two"
        for number in range(20):
            waiting = asyncio.ensure_future(anext(lines))
            await store.append("d", "r", records(f"late {number}"), "i")
            assert (await waiting).message == f"late {number}"
    await lines.aclose()


async def test_follow_of_one_replica_passes_over_the_others(store: LogStore) -> None:
    seen: list[LogLine] = []
    following = asyncio.create_task(collect(store.follow("d", after=0, replica_id="a"), seen))
    for number in range(3):
        await store.append("d", "b", records(f"b{number}"), "ib")
        await store.append("d", "a", records(f"a{number}"), "ia")
    await until(lambda: len(seen) == 3)
    store.release("d")
    await asyncio.wait_for(following, 30)
    assert messages(seen) == ["a0", "a1", "a2"]


async def test_follow_ends_when_the_log_is_released_and_what_was_kept_stays(store: LogStore) -> None:
    await store.append("d", "r", records("old"), "i")
    seen: list[LogLine] = []
    following = asyncio.create_task(collect(store.follow("d", after=0, replica_id=None), seen))
    await until(lambda: messages(seen) == ["old"])
    store.release("d")
    await asyncio.wait_for(following, 30)
    assert await store.source_cursor("d", "i") == "1"
    await store.append("d", "r", records("new", first=2), "i", after="1")
    assert [(line.seq, line.message) for line in await all_lines(store, "d")] == [(1, "old"), (2, "new")]


async def test_follow_ends_when_the_store_is_closed(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    await store.append("d", "r", records("one"), "i")
    seen: list[LogLine] = []
    followed = [store.follow(name, after=0, replica_id=None) for name in (*["d"] * 8, "silent")]
    followers = [asyncio.create_task(collect(lines, seen)) for lines in followed]
    await until(lambda: len(seen) == 8)
    await store.close()
    await store.close()
    await asyncio.wait_for(asyncio.gather(*followers), 30)
    with pytest.raises(LogStoreError, match="closed"):
        await store.append("d", "r", records("two"), "i")
    with pytest.raises(LogStoreError, match="closed"):
        await store.tail("d", 1, replica_id=None, since=None)


async def test_an_append_that_is_cancelled_is_whole_or_absent_and_the_source_cursor_knows(store: LogStore) -> None:
    kept = 0
    for _ in range(30):
        appending = asyncio.create_task(
            store.append("d", "r", records(*(f"{n}" for n in range(kept, kept + 5)), first=kept + 1), "i")
        )
        await asyncio.sleep(0)
        appending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await appending
        kept = int(await store.source_cursor("d", "i") or "0")
        assert kept % 5 == 0
    assert kept > 0
    assert messages(await all_lines(store, "d")) == [str(n) for n in range(kept)]


async def test_appends_of_many_replicas_at_once_do_not_mix_up_batches(store: LogStore) -> None:
    async def print_lines(replica: str) -> None:
        for batch in range(10):
            await store.append("d", replica, records(*(f"{replica} {batch} {n}" for n in range(5))), replica)

    await asyncio.gather(*(print_lines(f"r{n}") for n in range(8)))
    lines = await all_lines(store, "d")
    assert [line.seq for line in lines] == list(range(1, 401))
    for first in range(0, 400, 5):
        assert len({line.message.rsplit(" ", 1)[0] for line in lines[first : first + 5]}) == 1


async def test_another_process_reads_what_this_one_writes_and_changes_nothing(tmp_path: Path, store: LogStore) -> None:
    other = LogStore(tmp_path / "logs", segment_bytes=1, max_bytes_per_deployment=1)
    for number in range(3):
        await store.append("d", "r", records(f"line {number}"), "i")
        before = {path.name: path.read_bytes() for path in (tmp_path / "logs" / "d").iterdir()}
        assert messages(await other.tail("d", 10, replica_id=None, since=None))[-1] == f"line {number}"
        assert {path.name: path.read_bytes() for path in (tmp_path / "logs" / "d").iterdir()} == before
    await other.close()


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_many_deployments_hold_no_files_open(store: LogStore) -> None:
    before = _open_files()
    for number in range(300):
        await store.append(f"d{number}", "r", records("line"), "i")
    assert _open_files() - before < 20


@pytest.mark.parametrize("deployment_id", ["", ".", "..", "../d", "a/b", "/etc", "a\x00b", ".hidden", "d\n", "x" * 129])
async def test_an_id_that_is_no_folder_name_is_refused(store: LogStore, deployment_id: str) -> None:
    with pytest.raises(ValueError, match=r"deployment_id .* cannot name a log"):
        await store.append(deployment_id, "r", records("line"), "i")
    with pytest.raises(ValueError, match=r"deployment_id .* cannot name a log"):
        await store.tail(deployment_id, 1, replica_id=None, since=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment_bytes": 0}, "segment_bytes must be above 0, not 0"),
        ({"max_age_s": -1}, "max_age_s must be above 0, not -1"),
        ({"segment_bytes": 10, "max_bytes_per_deployment": 9}, r"must be at least segment_bytes \(10\), not 9"),
    ],
)
def test_limits_that_make_no_sense_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogStore(tmp_path, **settings)
