"""The fault-injecting wrapper that other tests rely on does what it says."""

from __future__ import annotations

import time

import pytest

from orchestration.store.errors import StaleRecordError, StoreUnavailableError
from orchestration.store.records import Pool
from orchestration.store.store import Store
from tests.support.faulty_store import faulty_store
from tests.support.stores import add_pool, pool


async def add_two(store: Store) -> None:
    async with store.write(actor="test") as tx:
        await tx.insert(pool())
        await tx.insert(pool())


async def test_the_nth_call_fails_and_leaves_nothing(store: Store) -> None:
    broken, faults = faulty_store(store)
    faults.fail("insert", nth=2)
    with pytest.raises(StoreUnavailableError, match="full"):
        await add_two(broken)
    assert broken.index.all(Pool) == []
    added = await add_pool(broken)
    assert broken.index.all(Pool) == [added]
    assert faults.calls["insert"] == 3


async def test_a_commit_that_fails_leaves_nothing(store: Store) -> None:
    broken, faults = faulty_store(store)
    faults.fail_always("commit", error=StaleRecordError("pool", "x"))
    with pytest.raises(StaleRecordError):
        await add_pool(broken)
    faults.heal()
    added = await add_pool(broken)
    assert broken.index.all(Pool) == [added]


async def test_a_call_can_be_late(store: Store) -> None:
    broken, faults = faulty_store(store)
    faults.fail("ping", delay_s=0.05)
    begin = time.monotonic()
    await broken.ping()
    assert time.monotonic() - begin >= 0.05


async def test_what_cannot_fail_is_refused(store: Store) -> None:
    _, faults = faulty_store(store)
    with pytest.raises(ValueError, match="'beat'"):
        faults.fail("beat")
