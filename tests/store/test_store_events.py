"""Events: every transition has one, and they are forgotten by age and by number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import pytest

from orchestration.store import journal
from orchestration.store.records import (
    Deployment,
    DesiredState,
    Event,
    Model,
    Node,
    NodeState,
    Pool,
    PoolState,
    Record,
    Replica,
    ReplicaState,
)
from orchestration.store.store import Store
from tests.support.stores import FakeClock, deployment, model, node, pool, replica

DAY_S = 86_400.0


async def events_of(store: Store, record: Record) -> list[Event]:
    """A record's events, oldest first; of a replica those of its deployment that name it."""
    kind, subject = (record.kind, record.id)
    if isinstance(record, Replica):
        kind, subject = Deployment.kind, record.deployment_id
    found, _ = await store.list_events(kind, subject, limit=1000)
    return [event for event in reversed(found) if not isinstance(record, Replica) or event.replica_id == record.id]


async def told(store: Store, record: Record) -> list[tuple[str, str, str]]:
    return [(event.type, event.reason, event.message) for event in await events_of(store, record)]


R = TypeVar("R", bound=Record)


async def put(store: Store, record: R, **changes: Any) -> R:
    async with store.write(actor="test") as tx:
        return await tx.update(replace(record, **changes))


async def test_a_replica_is_told_of_from_its_making_to_its_end(store: Store) -> None:
    async with store.write(actor="controller") as tx:
        owner = await tx.insert(deployment("p"))
        made = await tx.insert(replica(owner.id, ordinal=3, attempt=1))
    for change in (
        {"state": ReplicaState.PROVISIONING, "instance_name": "r-1", "attempt": 2},
        {"endpoint": "http://127.0.0.1:1"},
        {"state": ReplicaState.FAILED, "message": "exited with code 3"},
        {"retry_at": 5.0},
        {"instance_name": ""},
        {"endpoint": ""},
        {"state": ReplicaState.TERMINATING, "message": ""},
    ):
        made = await put(store, made, **change)
    async with store.write(actor="controller") as tx:
        await tx.delete(made)
    assert await told(store, made) == [
        ("NORMAL", "REPLICA_CREATED", "replica 3: is to be started, of generation 1"),
        ("NORMAL", "REPLICA_PROVISIONING", "replica 3: PENDING -> PROVISIONING"),
        ("NORMAL", "REPLICA_ENDPOINT_CHANGED", "replica 3: answers at http://127.0.0.1:1"),
        ("WARNING", "REPLICA_FAILED", "replica 3: PROVISIONING -> FAILED: exited with code 3"),
        ("NORMAL", "REPLICA_CLEARED", "replica 3: instance r-1 is gone, and its place is free"),
        ("NORMAL", "REPLICA_ENDPOINT_CHANGED", "replica 3: has no endpoint any more"),
        ("NORMAL", "REPLICA_TERMINATING", "replica 3: FAILED -> TERMINATING"),
        ("NORMAL", "REPLICA_TERMINATED", "replica 3: is gone; it held nothing"),
    ]
    events = await events_of(store, made)
    assert [event.attempt for event in events] == [1, 2, 2, 2, 2, 2, 2, 2]
    assert {event.actor for event in events[:1] + events[-1:]} == {"controller"}


async def test_a_deployment_is_told_of_from_its_making_to_its_end(store: Store) -> None:
    async with store.write(actor="test") as tx:
        made: Deployment = await tx.insert(deployment("p"))
    for change in (
        {"observed_status": "FAILED"},
        {"generation": 2},
        {"replicas": 4},
        {"desired": DesiredState.STOPPED},
        {"labels": {"a": "b"}},
    ):
        made = await put(store, made, **change)
    async with store.write(actor="test") as tx:
        await tx.delete(made)
    assert await told(store, made) == [
        ("NORMAL", "DEPLOYMENT_ACCEPTED", "was accepted"),
        ("WARNING", "DEPLOYMENT_FAILED", "new -> FAILED"),
        ("NORMAL", "DEPLOYMENT_CHANGED", "generation: 1 -> 2"),
        ("NORMAL", "DEPLOYMENT_CHANGED", "replicas: 1 -> 4"),
        ("NORMAL", "DEPLOYMENT_CHANGED", "desired: RUNNING -> STOPPED"),
        ("NORMAL", "DEPLOYMENT_PURGED", "was purged"),
    ]


async def test_nodes_pools_and_models_are_told_of(store: Store) -> None:
    async with store.write(actor="test") as tx:
        a, b = await tx.insert(pool()), await tx.insert(pool())
        machine: Node = await tx.insert(node(a.id))
        version = await tx.insert(model())
    for change in (
        {"state": NodeState.LOST},
        {"incarnation": 2},
        {"pool_id": b.id},
        {"hostname": "rig"},
    ):
        machine = await put(store, machine, **change)
    a = await put(store, a, enabled=False)
    a = await put(store, a, state=PoolState.DELETING)
    async with store.write(actor="test") as tx:
        for each in (machine, a, version):
            await tx.delete(each)
    assert await told(store, machine) == [
        ("NORMAL", "NODE_REGISTERED", "was registered"),
        ("WARNING", "NODE_LOST", "READY -> LOST"),
        ("NORMAL", "NODE_RESTARTED", "incarnation 0 -> 2"),
        ("NORMAL", "NODE_MOVED", f"pool {a.id} -> {b.id}"),
        ("NORMAL", "NODE_REMOVED", "was removed"),
    ]
    assert [reason for _, reason, _ in await told(store, a)] == [
        "POOL_CREATED",
        "POOL_UPDATED",
        "POOL_DELETING",
        "POOL_DELETED",
    ]
    assert [reason for _, reason, _ in await told(store, version)] == ["MODEL_REGISTERED", "MODEL_DELETED"]


async def test_who_tells_of_a_transition_is_not_talked_over(store: Store) -> None:
    async with store.write(actor="test") as tx:
        owner: Deployment = await tx.insert(deployment("p"))
        one, two = await tx.insert(replica(owner.id)), await tx.insert(replica(owner.id, ordinal=1))
        about: dict[str, Any] = {"kind": "deployment", "subject_id": owner.id, "message": "because"}
        tx.event(**about, reason="DEPLOYMENT_ACCEPTED")
        tx.event(**about, reason="REPLICA_PLACED", replica_id=one.id)
    assert [reason for _, reason, _ in await told(store, one)] == ["REPLICA_PLACED"]
    assert [reason for _, reason, _ in await told(store, two)] == ["REPLICA_CREATED"]
    assert [event.reason for event in await events_of(store, owner) if not event.replica_id] == ["DEPLOYMENT_ACCEPTED"]


async def test_what_came_and_went_in_one_transaction_is_no_transition(store: Store) -> None:
    async with store.write(actor="test") as tx:
        owner = await tx.insert(deployment("p"))
        passing = await tx.insert(replica(owner.id))
        await tx.delete(passing)
        changed = await tx.update(replace(owner, observed_status="RUNNING"))
        await tx.update(replace(changed, observed_status=""))
    assert [reason for _, reason, _ in await told(store, owner)] == ["DEPLOYMENT_ACCEPTED"]


async def note(store: Store, subject_id: str, count: int, kind: str = "deployment") -> None:
    async with store.write(actor="test") as tx:
        for number in range(count):
            tx.event(kind=kind, subject_id=subject_id, reason="NOTED", message=str(number))


async def messages(store: Store, subject_id: str, kind: str = "deployment") -> list[int]:
    """Oldest first."""
    found, total = await store.list_events(kind, subject_id, limit=1000)
    assert total == len(found)
    return [int(event.message) for event in reversed(found)]


async def test_of_each_subject_the_newest_events_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "TRIM_BATCH", 7)
    for subject, count in (("many", 50), ("enough", 10), ("few", 3)):
        await note(store, subject, count)
    await note(store, "many", 4, kind="node")
    await store.trim(events_per_subject=10)
    assert await messages(store, "many") == list(range(40, 50))
    assert await messages(store, "enough") == list(range(10))
    assert await messages(store, "few") == list(range(3))
    assert await messages(store, "many", kind="node") == list(range(4)), "the same id of another kind"


async def test_the_events_of_what_is_gone_are_kept_as_long_as_others(store: Store, clock: FakeClock) -> None:
    async with store.write(actor="test") as tx:
        owner = await tx.insert(deployment("p"))
    async with store.write(actor="test") as tx:
        await tx.delete(owner)
    clock.now += 29 * DAY_S
    await store.trim()
    assert [reason for _, reason, _ in await told(store, owner)] == ["DEPLOYMENT_ACCEPTED", "DEPLOYMENT_PURGED"]
    clock.now += 2 * DAY_S
    await store.trim()
    assert await told(store, owner) == []


async def test_pages_hold_together_while_events_are_made_and_forgotten(store: Store) -> None:
    await note(store, "d", 100)
    read: list[int] = []
    before: str | None = None
    while True:
        page, _ = await store.list_events("deployment", "d", limit=9, before=before)
        if not page:
            break
        read += [int(event.message) for event in page]
        before = page[-1].id
        await note(store, "d", 3)
        await store.trim(events_per_subject=60)
    assert read == list(range(99, 99 - len(read), -1)), "newest first, none left out, none twice"
    assert len(read) >= 40, "what was kept all the time was read"


async def test_models_and_pools_of_the_index_are_no_transition_when_nothing_changed(store: Store) -> None:
    async with store.write(actor="test") as tx:
        kept: Pool = await tx.insert(pool())
    async with store.write(actor="test") as tx:
        await tx.update(replace(kept, max_nodes=4))
        assert await tx.select(Model) == []
    assert [reason for _, reason, _ in await told(store, kept)] == ["POOL_CREATED"]
