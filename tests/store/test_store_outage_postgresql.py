"""A PostgreSQL server that is stopped, or that does not answer: all resumes by itself when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from orchestration.store.errors import StoreUnavailableError
from orchestration.store.records import Pool
from orchestration.store.store import Store
from tests.support.stores import PostgresServer, add_pool, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncGenerator[str]:
    async with postgres.database() as url:
        yield url


async def refusal(store: Store) -> str:
    """The reason for which a write is refused now."""
    with pytest.raises(StoreUnavailableError) as caught:
        await add_pool(store)
    return caught.value.reason


async def test_a_server_that_is_stopped_and_started_again(postgres: PostgresServer, database: str) -> None:
    async with await Store.open(database, busy_timeout_s=2.0) as one, await Store.open(database) as two:
        first = await add_pool(one)
        await asyncio.to_thread(postgres.stop)
        try:
            assert await refusal(one) == "DATABASE_UNREACHABLE"
            with pytest.raises(StoreUnavailableError):
                await one.ping()
            assert one.index.all(Pool) == [first], "reads go on"
            assert await refusal(one) == "DATABASE_UNREACHABLE"
            assert one.write_failure is not None
        finally:
            await asyncio.to_thread(postgres.start)
        await eventually(lambda: one.write_failure is None, within_s=20)
        await one.ping()
        second = await add_pool(one)
        third = await add_pool(two)
        await eventually(lambda: one.index.all(Pool) == two.index.all(Pool) == [first, second, third], within_s=20)
        await asyncio.sleep(1.5)  # past the slow poll: what comes now is told by the server
        begin = time.monotonic()
        fourth = await add_pool(two)
        await eventually(lambda: one.index.get(Pool, fourth.id) == fourth)
        assert time.monotonic() - begin < 5


async def test_a_server_that_does_not_answer(postgres: PostgresServer, database: str) -> None:
    """Frozen, as behind a network that swallows everything: an answer comes in time, and nothing is done twice."""
    async with await Store.open(database, busy_timeout_s=1.0) as store:
        first = await add_pool(store)
        with postgres.frozen():
            begin = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await store.ping()
            assert time.monotonic() - begin < 10, "its own second, and two for the driver to give up"
            results = await asyncio.gather(*(add_pool(store) for _ in range(50)), return_exceptions=True)
            assert {getattr(result, "reason", "") for result in results} == {"DATABASE_SLOW"}
            assert time.monotonic() - begin < 30, "together, not one after the other"
            begin = time.monotonic()
            assert await refusal(store) == "DATABASE_SLOW"
            assert time.monotonic() - begin < 10
            assert store.index.all(Pool) == [first]
        await eventually(lambda: store.write_failure is None, within_s=20)
        second = await add_pool(store)
        assert store.index.all(Pool) == [first, second], "those that were refused were not applied"


async def test_what_the_server_answers_to_a_connection_is_told(postgres: PostgresServer) -> None:
    url = postgres.uri.replace("/postgres?", "/nowhere?", 1)
    with pytest.raises(StoreUnavailableError, match='"nowhere" does not exist') as refused:
        await Store.open(url)
    assert refused.value.reason == "DATABASE_UNREACHABLE"
