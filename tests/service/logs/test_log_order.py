"""Whatever is appended, and however often the store is opened anew: page, tail and follow give the same lines."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.service.logs.store import LogLine, LogStore
from tests.support.log_sources import all_lines, records

_REPLICAS = ("a", "b")
_message = st.text(max_size=60)
_append = st.tuples(st.sampled_from(_REPLICAS), st.lists(_message, min_size=1, max_size=8))
_step = st.one_of(_append, st.just("reopen"))


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(_step, max_size=25), segment_bytes=st.integers(1, 2000), limit=st.integers(1, 7))
def test_page_tail_and_follow_agree(steps: list[tuple[str, list[str]] | str], segment_bytes: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_check(Path(folder), steps, segment_bytes, limit))


async def _check(folder: Path, steps: list[tuple[str, list[str]] | str], segment_bytes: int, limit: int) -> None:
    store = LogStore(folder, segment_bytes=segment_bytes)
    expected: list[tuple[str, str]] = []
    for step in steps:
        if isinstance(step, str):
            await store.close()
            store = LogStore(folder, segment_bytes=segment_bytes)
            continue
        replica, lines = step
        done = int(await store.source_cursor("d", f"instance-{replica}") or "0")
        assert done == sum(1 for name, _ in expected if name == replica)
        await store.append("d", replica, records(*lines, first=done + 1), f"instance-{replica}")
        expected += [(replica, _kept(line)) for line in lines]
    pages = await all_lines(store, "d", limit=limit)
    assert [(line.replica_id, line.message) for line in pages] == expected
    assert [line.seq for line in pages] == list(range(1, len(expected) + 1))
    for n in (1, limit, len(expected) + 1):
        assert await store.tail("d", n, replica_id=None, since=None) == pages[-n:]
    for wanted in (*_REPLICAS, None):
        own = [line for line in pages if wanted in (None, line.replica_id)]
        assert await _followed(store, wanted, len(own)) == own
        assert await store.tail("d", limit, replica_id=wanted, since=None) == own[-limit:]
    await store.close()


async def _followed(store: LogStore, replica: str | None, count: int) -> list[LogLine]:
    lines = store.follow("d", after=0, replica_id=replica)
    seen = [await anext(lines) for _ in range(count)]
    await lines.aclose()
    return seen


def _kept(message: str) -> str:
    return message.encode("utf-8", "replace").decode()
