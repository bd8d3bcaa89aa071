"""A process that is killed in the middle of writing: what it was told is done, is done."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.store.records import Deployment
from orchestration.store.store import Store
from tests.support.stores import eventually, sqlite_url

WRITER = Path(__file__).parents[1] / "support" / "store_writer.py"


async def write_and_kill(url: str, *, writers: int, after: int) -> list[str]:
    """Let a process write, kill it after so many acknowledgements, and return all of them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), url, str(writers), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(after)]
    process.kill()
    rest = (await process.stdout.read()).decode()
    await process.wait()
    acknowledged += rest.splitlines() if rest.endswith("\n") else rest.splitlines()[:-1]
    assert all(acknowledged), "the process ended by itself"
    return acknowledged


@pytest.mark.parametrize("writers", [1, 32])
async def test_every_acknowledged_write_survives_a_kill(tmp_path: Path, writers: int) -> None:
    url = sqlite_url(tmp_path / "store.db")
    acknowledged: set[str] = set()
    for turn in range(4):
        acknowledged |= set(await write_and_kill(url, writers=writers, after=5 + 7 * turn * writers))
        async with await Store.open(url) as store:
            found = {record.id for record in store.index.all(Deployment)}
            assert acknowledged <= found
            for record in store.index.all(Deployment)[:3]:
                assert (await store.list_events("deployment", record.id, limit=9))[1] == 1, "all or nothing"
            told = store.index.changes_after(0, {"deployment"})
            assert told is not None
            assert {change.id for change in told} == found


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "store.db")
    async with await Store.open(url) as store:
        first, second = await asyncio.gather(*(write_and_kill(url, writers=8, after=100) for _ in range(2)))
        wanted = {*first, *second}
        await eventually(lambda: wanted <= {record.id for record in store.index.all(Deployment)})
    async with await Store.open(url) as reopened:
        assert reopened.index.all(Deployment) == store.index.all(Deployment)
