"""Text that cannot be stored fails whoever wrote it, and nobody else: it is no outage."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from orchestration.store.errors import StoreError, StoreUnavailableError
from orchestration.store.records import Answer, Lease, Replica, ReplicaState
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction
from tests.support.stores import PostgresServer, add_pool, deployment, pool, replica

BROKEN = "a\0b"


async def insert(tx: Transaction) -> None:
    await tx.insert(pool(name=BROKEN))


async def half(tx: Transaction) -> None:
    await tx.insert(pool(name="\ud800"))


async def recall(tx: Transaction) -> None:
    await tx.recall("scope", BROKEN)


async def remember(tx: Transaction) -> None:
    await tx.remember(Answer(scope=BROKEN, request_id="1", digest=b"", response=b"\0", created_at=1.0))


async def lease(tx: Transaction) -> None:
    tx.set_lease("a", Lease(name="a", owner=BROKEN, token="t", generation=1, expires_at=1.0))


@pytest.mark.parametrize("write", [insert, half, recall, remember, lease])
async def test_text_that_cannot_be_stored_fails_its_writer_alone(
    store: Store, write: Callable[[Transaction], Awaitable[None]]
) -> None:
    async def broken() -> None:
        async with store.write(actor="test") as tx:
            await write(tx)

    told, *others = await asyncio.gather(broken(), *(add_pool(store) for _ in range(5)), return_exceptions=True)
    assert isinstance(told, StoreError)
    assert not isinstance(told, StoreUnavailableError)
    assert not [other for other in others if isinstance(other, BaseException)]
    assert store.write_failure is None


async def test_what_an_engine_said_is_kept_without_its_control_characters(store: Store) -> None:
    said = "failed; last lines: \x1b[31m\0 héllo\tworld\n\ud800"
    shown = "failed; last lines: \ufffd[31m\ufffd héllo\tworld\n\ufffd"
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        kept = await tx.insert(deployment(parent.id))
        one = await tx.insert(replica(kept.id))
    async with store.write(actor="test") as tx:
        failed = await tx.update(dataclasses.replace(one, state=ReplicaState.FAILED, message=said, reason="X\0"))
        tx.event(kind="deployment", subject_id=kept.id, reason="REPLICA_FAILED", message=said, replica_id=one.id)
    assert (failed.message, failed.reason) == (shown, "X\ufffd")
    assert store.index.get(Replica, one.id) == failed
    events, _ = await store.list_events("deployment", kept.id, limit=1)
    assert [event.message for event in events] == [shown]
    async with store.write(actor="test") as tx:
        assert await tx.update(dataclasses.replace(failed, message=said)) == failed, "nothing has changed"


@pytest.mark.parametrize("value", ["convert_from(decode('00', 'hex'), 'UTF8')", "1 / 0", "CAST('x' AS integer)"])
async def test_what_a_database_says_of_a_statements_values_is_no_outage(postgres: PostgresServer, value: str) -> None:
    async with postgres.database() as url, await Store.open(url) as store:
        with pytest.raises(StoreError) as caught:
            async with store.write(actor="test") as tx:
                await tx.run(text(f"SELECT {value}"))
        assert not isinstance(caught.value, StoreUnavailableError)
        assert store.write_failure is None
        await add_pool(store)


async def test_what_a_driver_cannot_send_is_no_outage(postgres: PostgresServer) -> None:
    async with postgres.database() as url, await Store.open(url) as store:
        for value in ("a\0b", "\ud800"):
            with pytest.raises(StoreError) as caught:
                async with store.write(actor="test") as tx:
                    await tx.run(text("UPDATE pools SET name = :name").bindparams(name=value))
            assert not isinstance(caught.value, StoreUnavailableError)
        await add_pool(store)
