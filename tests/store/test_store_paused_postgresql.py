"""A process that is stopped within its transaction: the others do not wait for it, and what it had begun is undone."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from orchestration.store.errors import StoreUnavailableError
from orchestration.store.records import Pool
from orchestration.store.store import Store
from tests.support.stores import PostgresServer, add_pool

SLEEPER = Path(__file__).parents[1] / "support" / "store_sleeper.py"


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncGenerator[str]:
    async with postgres.database() as url:
        yield url


async def written(store: Store, *, within_s: float) -> Pool:
    """A pool, as soon as the database takes one."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await add_pool(store)
        except StoreUnavailableError:
            assert time.monotonic() < deadline, "a process that is stopped keeps all others from writing"


async def test_a_process_stopped_in_its_transaction_keeps_nobody_from_writing_for_long(database: str) -> None:
    async with await Store.open(database) as store:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SLEEPER), database, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"within\n"
            process.send_signal(signal.SIGSTOP)
            mine = await written(store, within_s=20)
            process.send_signal(signal.SIGCONT)
            process.stdin.write(b"\n")
            assert await process.stdout.readline() == b"DATABASE_UNREACHABLE\n"
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert store.index.all(Pool) == [mine]
        async with store.write(actor="test") as tx:
            assert await tx.get(Pool, "late") is None
