"""Events for transitions that nobody told of: no record changes its state without one, whoever writes it.

Who writes a transition tells of it in words that say why. What is left is told here, plainly, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from orchestration.store.pending import Operation, Pending
from orchestration.store.records import (
    Deployment,
    Model,
    Node,
    NodeState,
    Pool,
    Record,
    Replica,
    ReplicaState,
)

_BAD = {ReplicaState.FAILED, ReplicaState.UNHEALTHY, NodeState.LOST, NodeState.FAILED, NodeState.UNHEALTHY}


@dataclass(frozen=True, slots=True)
class Transition:
    """What happened to a record, as an event says it."""

    reason: str
    text: str
    warning: bool = False


def untold(pending: Pending) -> Iterator[dict[str, Any]]:
    """What is to be given to ``Transaction.event`` for the transitions that no event of the transaction is about."""
    told = _Told(pending)
    for record, transition in transitions(pending):
        if not told.of(record):
            yield _event(record, transition)


def transitions(pending: Pending) -> Iterator[tuple[Record, Transition]]:
    """The records that changed their state, each with what happened to it from first to last, in their order."""
    first: dict[tuple[type[Record], str], Operation] = {}
    last: dict[tuple[type[Record], str], Operation] = {}
    for operation in pending.operations:
        first.setdefault(operation.key, operation)
        last[operation.key] = operation
    for key, operation in last.items():
        before, after = first[key].before, operation.after
        if before is not None or after is not None:
            found = _ABOUT[key[0]](before, after)
            if found is not None:
                yield operation.record, found


class _Told:
    """What the events of a transaction are about."""

    def __init__(self, pending: Pending) -> None:
        self._replicas = {event.replica_id for event in pending.events}
        self._subjects = {
            (event.kind, event.subject_id)
            for event in pending.events
            if not event.replica_id or not event.reason.startswith("REPLICA_")
        }

    def of(self, record: Record) -> bool:
        return (
            record.id in self._replicas if isinstance(record, Replica) else (record.kind, record.id) in self._subjects
        )


def _event(record: Record, transition: Transition) -> dict[str, Any]:
    event: dict[str, Any] = {
        "kind": record.kind,
        "subject_id": record.id,
        "type": "WARNING" if transition.warning else "NORMAL",
        "reason": transition.reason,
        "message": transition.text,
    }
    if isinstance(record, Replica):
        event |= {"kind": Deployment.kind, "subject_id": record.deployment_id}
        event |= {"replica_id": record.id, "attempt": record.attempt}
        event["message"] = f"replica {record.ordinal}: {transition.text}"
    return event


def _pool(before: Pool | None, after: Pool | None) -> Transition | None:
    if before is None or after is None:
        return _came_or_went("POOL", before, after, "was made", "is gone")
    if before.state is not after.state:
        return Transition(f"POOL_{after.state}", f"{before.state} -> {after.state}")
    if before.enabled is not after.enabled:
        return Transition("POOL_UPDATED", "was switched on" if after.enabled else "was switched off")
    return None


def _node(before: Node | None, after: Node | None) -> Transition | None:
    if before is None or after is None:
        return _came_or_went("NODE", before, after, "was registered", "was removed", made="REGISTERED", gone="REMOVED")
    if before.state is not after.state:
        return Transition(f"NODE_{after.state}", f"{before.state} -> {after.state}", after.state in _BAD)
    if before.incarnation != after.incarnation:
        return Transition("NODE_RESTARTED", f"incarnation {before.incarnation} -> {after.incarnation}")
    if before.pool_id != after.pool_id:
        return Transition("NODE_MOVED", f"pool {before.pool_id} -> {after.pool_id}")
    return None


def _model(before: Model | None, after: Model | None) -> Transition | None:
    return _came_or_went("MODEL", before, after, "was registered", "was deleted", made="REGISTERED")


def _deployment(before: Deployment | None, after: Deployment | None) -> Transition | None:
    if before is None or after is None:
        return _came_or_went("DEPLOYMENT", before, after, "was accepted", "was purged", made="ACCEPTED", gone="PURGED")
    if before.observed_status != after.observed_status:
        text = f"{before.observed_status or 'new'} -> {after.observed_status}"
        return Transition(f"DEPLOYMENT_{after.observed_status}", text, after.observed_status in {"DEGRADED", "FAILED"})
    for name in ("desired", "generation", "replicas"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            return Transition("DEPLOYMENT_CHANGED", f"{name}: {old} -> {new}")
    return None


def _replica(before: Replica | None, after: Replica | None) -> Transition | None:
    if before is None or after is None:
        came = f"is to be started, of generation {after.generation}" if after is not None else ""
        went = "is gone" if before is not None and before.instance_name else "is gone; it held nothing"
        return _came_or_went("REPLICA", before, after, came, went, gone="TERMINATED")
    if before.state is not after.state:
        why = f": {after.message}" if after.message else ""
        text = f"{before.state} -> {after.state}{why}"
        return Transition(f"REPLICA_{after.state}", text, after.state in _BAD)
    if before.instance_name and not after.instance_name:
        return Transition("REPLICA_CLEARED", f"instance {before.instance_name} is gone, and its place is free")
    if before.endpoint != after.endpoint:
        text = f"answers at {after.endpoint}" if after.endpoint else "has no endpoint any more"
        return Transition("REPLICA_ENDPOINT_CHANGED", text)
    return None


def _came_or_went(
    kind: str,
    before: Record | None,
    after: Record | None,
    came: str,
    went: str,
    *,
    made: str = "CREATED",
    gone: str = "DELETED",
) -> Transition | None:
    if before is None:
        return Transition(f"{kind}_{made}", came) if after is not None else None
    return Transition(f"{kind}_{gone}", went)


_ABOUT = cast(
    "Mapping[type[Record], Callable[[Record | None, Record | None], Transition | None]]",
    {Pool: _pool, Node: _node, Model: _model, Deployment: _deployment, Replica: _replica},
)
