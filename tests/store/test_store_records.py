"""Records: what is written is read back; what must not be is refused; a block is all or nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from orchestration.store.errors import BrokenReferenceError, DuplicateError, StaleRecordError, StoreError
from orchestration.store.records import Deployment, Model, Node, NodeState, Pool, PoolState, Record, Replica
from orchestration.store.store import Store
from tests.support.stores import FakeClock, add_pool, deployment, model, new_id, node, pool, replica


async def test_every_kind_comes_back_as_it_was(store: Store, url: str) -> None:
    parent = pool(allowed_gpu_types=("rtx4090", "h100"), max_cost_per_hour=1.25, is_dedicated=True)
    running = deployment(
        parent.id,
        fallback_pool_ids=("a", "b"),
        configuration={"args": ["--x", 1, None, {"deep": True}], "ünï": "cödé"},
        env={"KEY": "value"},
    )
    written: list[Record] = [
        parent,
        node(parent.id, state=NodeState.DRAINING, telemetry={"load": 0.5}, incarnation=2**40),
        model(config={"max_len": 4096}, labels={"team": "a"}),
        running,
        replica(running.id, exit_code=137),
        replica(running.id, exit_code=None),
    ]
    async with store.write(actor="test") as tx:
        inserted = [await tx.insert(record) for record in written]
    async with await Store.open(url) as reopened:
        for before, after in zip(written, inserted, strict=True):
            made: dict[str, Any] = {"revision": after.revision, "created_at": after.created_at}
            if isinstance(after, Deployment):
                made["created_revision"] = after.revision
            assert after == dataclasses.replace(before, **made)
            assert store.index.get(type(after), after.id) == after
            found = reopened.index.get(type(after), after.id)
            assert found == after
            assert repr(found) == repr(after), "types must survive too"


async def test_insert_sets_what_the_store_decides(store: Store, clock: FakeClock) -> None:
    async with store.write(actor="test") as tx:
        first = await tx.insert(pool())
        second = await tx.insert(pool(created_at=12.5))
    assert first.created_at == clock.now
    assert second.created_at == 12.5
    assert 0 < first.revision < second.revision == store.index.revision


async def test_update_and_delete(store: Store) -> None:
    first = await add_pool(store)
    async with store.write(actor="test") as tx:
        second = await tx.update(dataclasses.replace(first, state=PoolState.DELETING))
        assert await tx.get(Pool, first.id) == second
    assert second.revision > first.revision
    assert store.index.get(Pool, first.id) == second
    async with store.write(actor="test") as tx:
        await tx.delete(second)
        assert await tx.get(Pool, first.id) is None
    assert store.index.get(Pool, first.id) is None


async def test_a_stale_record_is_refused(store: Store) -> None:
    first = await add_pool(store)
    async with store.write(actor="test") as tx:
        second = await tx.update(dataclasses.replace(first, max_nodes=1))
    for stale in (dataclasses.replace(first, max_nodes=2), pool()):
        async with store.write(actor="test") as tx:
            with pytest.raises(StaleRecordError) as refused:
                await tx.update(stale)
            with pytest.raises(StaleRecordError):
                await tx.delete(stale)
        assert (refused.value.kind, refused.value.id) == ("pool", stale.id)
    assert store.index.all(Pool) == [second]


async def test_an_update_that_changes_nothing_is_no_change(store: Store) -> None:
    first = await add_pool(store)
    async with store.write(actor="test") as tx:
        assert await tx.update(dataclasses.replace(first)) == first
    assert store.index.revision == first.revision


def _twin(record: Any, **changes: object) -> Any:
    return dataclasses.replace(record, id=new_id(), **changes)


@pytest.mark.parametrize("same_transaction", [True, False])
@pytest.mark.parametrize("constraint", ["pool_name", "node_instance", "model_version", "instance_name", "id"])
async def test_a_duplicate_is_refused(store: Store, constraint: str, same_transaction: bool) -> None:
    parent = await add_pool(store)
    run = deployment(parent.id)
    async with store.write(actor="test") as tx:
        await tx.insert(run)
    first: Record = {
        "pool_name": pool(),
        "node_instance": node(parent.id),
        "model_version": model(),
        "instance_name": replica(run.id, instance_name="x-0-1"),
        "id": pool(),
    }[constraint]
    twin = pool(id=first.id) if constraint == "id" else _twin(first)
    if not same_transaction:
        async with store.write(actor="test") as tx:
            await tx.insert(first)
    async with store.write(actor="test") as tx:
        if same_transaction:
            await tx.insert(first)
        with pytest.raises(DuplicateError) as refused:
            await tx.insert(twin)
    assert refused.value.constraint == constraint
    assert store.index.get(type(first), first.id) is not None


async def test_an_update_into_a_taken_name_is_refused(store: Store) -> None:
    taken, free = await add_pool(store, name="taken"), await add_pool(store, name="free")
    async with store.write(actor="test") as tx:
        with pytest.raises(DuplicateError):
            await tx.update(dataclasses.replace(free, name="taken"))
    assert {p.name for p in store.index.all(Pool)} == {"taken", "free"}
    assert taken in store.index.all(Pool)


async def test_names_can_change_hands_within_one_commit(store: Store, url: str) -> None:
    first, second = await add_pool(store, name="a"), await add_pool(store, name="b")
    async with store.write(actor="test") as tx:
        second = await tx.update(dataclasses.replace(second, max_nodes=7))
        spare = await tx.update(dataclasses.replace(first, name="spare"))
        second = await tx.update(dataclasses.replace(second, name="a"))
        await tx.update(dataclasses.replace(spare, name="b"))
        gone = await tx.insert(pool(name="c"))
        await tx.delete(gone)
        await tx.insert(pool(name="c"))
    async with await Store.open(url) as reopened:
        assert reopened.index.all(Pool) == store.index.all(Pool)
        names = {p.id: p.name for p in reopened.index.all(Pool)}
    assert (names[first.id], names[second.id], len(names)) == ("b", "a", 3)


async def test_replicas_without_an_instance_may_be_many(store: Store) -> None:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        run = await tx.insert(deployment(parent.id))
        for _ in range(3):
            await tx.insert(replica(run.id, instance_name=""))
    assert len(store.index.find(Replica, deployment_id=run.id)) == 3


async def test_references_hold(store: Store) -> None:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        await tx.insert(node(parent.id))
        for orphan in (node("nowhere"), replica("nowhere")):
            with pytest.raises(BrokenReferenceError):
                await tx.insert(orphan)
        with pytest.raises(BrokenReferenceError, match="node"):
            await tx.delete(parent)
    assert store.index.get(Pool, parent.id) == parent


async def test_a_deployment_outlives_its_pool(store: Store) -> None:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        run = await tx.insert(deployment(parent.id))
    async with store.write(actor="test") as tx:
        await tx.delete(parent)
    assert store.index.get(Pool, parent.id) is None
    assert store.index.get(Deployment, run.id) == run


async def test_an_exception_leaves_nothing_behind(store: Store, url: str) -> None:
    parent = await add_pool(store)
    revision = store.index.revision

    async def fail() -> None:
        async with store.write(actor="test") as tx:
            await tx.insert(deployment(parent.id))
            await tx.update(dataclasses.replace(parent, max_nodes=9))
            tx.event(kind="pool", subject_id=parent.id, reason="CHANGED", message="")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert store.index.revision == revision
    assert store.index.all(Deployment) == []
    events, _ = await store.list_events("pool", parent.id, limit=10)
    assert [event.reason for event in events] == ["POOL_CREATED"], "of the transaction before"
    async with await Store.open(url) as reopened:
        assert reopened.index.all(Pool) == [parent]


async def test_select_sees_the_transaction_and_its_filters(store: Store) -> None:
    parent = await add_pool(store)
    async with store.write(actor="test") as tx:
        kept = await tx.insert(node(parent.id, gpu_type="h100", hostname="a"))
    async with store.write(actor="test") as tx:
        new = await tx.insert(node(parent.id, gpu_type="h100", state=NodeState.LOST))
        changed = await tx.update(dataclasses.replace(kept, hostname="b"))
        assert await tx.select(Node, pool_id=parent.id) == [changed, new]
        assert await tx.select(Node, gpu_type="h100", state=(NodeState.LOST, NodeState.FAILED)) == [new]
        assert await tx.select(Node, hostname="a") == []
        assert await tx.select(Node, pool_id=frozenset({"x", parent.id}), hostname=["b"]) == [changed]
        await tx.delete(changed)
        assert await tx.select(Node) == [new]
        assert await tx.select(Model) == []


async def test_comparisons_are_case_sensitive(store: Store, url: str) -> None:
    lower, upper = await add_pool(store, name="Team", id="ab"), await add_pool(store, name="team", id="AB")
    async with store.write(actor="test") as tx:
        assert await tx.select(Pool, name="team") == [upper]
        assert await tx.get(Pool, "Ab") is None
        first = await tx.insert(model(name="Llama", model_version="v1"))
        second = await tx.insert(model(name="llama", model_version="V1"))
    async with await Store.open(url) as reopened:
        assert reopened.index.get(Pool, "ab") == lower
        assert reopened.index.find(Model, name="Llama") == [first]
        assert reopened.index.find(Model, name="llama", model_version="V1") == [second]


async def test_a_transaction_ends_with_its_block(store: Store) -> None:
    async with store.write(actor="test") as tx:
        pass
    with pytest.raises(StoreError, match="ended"):
        await tx.insert(pool())


async def test_a_transaction_in_a_transaction_is_refused(store: Store) -> None:
    async with store.write(actor="outer") as tx:
        with pytest.raises(StoreError, match="open in this task already"):
            async with store.write(actor="inner"):
                pass
        await tx.insert(pool())
    assert len(store.index.all(Pool)) == 1


async def test_events_are_listed_newest_first(store: Store, clock: FakeClock) -> None:
    async with store.write(actor="alice") as tx:
        for number in range(5):
            tx.event(kind="pool", subject_id="p", type="WARNING", reason=f"R{number}", message="m", attempt=number)
        tx.event(kind="pool", subject_id="P", reason="OTHER", message="case matters")
    page, total = await store.list_events("pool", "p", limit=2)
    assert [event.reason for event in page] == ["R4", "R3"]
    assert (total, page[0].actor, page[0].time, page[0].type) == (5, "alice", clock.now, "WARNING")
    rest, total = await store.list_events("pool", "p", limit=10, before=page[-1].id)
    assert ([event.reason for event in rest], total) == (["R2", "R1", "R0"], 5)
    assert await store.list_events("node", "p", limit=2) == ([], 0)
