"""Watches over every commit: a record whose state changed has an event in that commit that tells of it.

It looks at what is sent to the database, and knows nothing of who decides which events there are.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestration.store.flush import flush
from orchestration.store.pending import Pending
from orchestration.store.records import Change, Deployment, Event, Record, Replica

STATE: dict[str, tuple[str, ...]] = {
    "deployment": ("desired", "generation", "replicas", "observed_status"),
    "replica": ("state", "endpoint"),
    "node": ("state", "incarnation", "pool_id"),
    "pool": ("state", "enabled"),
    "model": (),
}
"""Fields whose change is a transition, beside a record's coming and going."""


@dataclass
class Trail:
    """What was committed."""

    transitions: int = 0
    events: list[Event] = field(default_factory=list[Event])
    untold: list[str] = field(default_factory=list[str])

    def look(self, pending: Pending) -> None:
        """Take in one commit."""
        self.events += pending.events
        for record, text in _transitions(pending):
            self.transitions += 1
            about = [event for event in pending.events if _is_about(event, record)]
            if not about:
                self.untold.append(text)
        self.untold += [f"badly told: {event}" for event in pending.events if not _is_well_made(event)]

    def check(self) -> None:
        """Fail unless every transition was told."""
        assert not self.untold, "\n".join(self.untold)


def _transitions(pending: Pending) -> Generator[tuple[Record, str]]:
    first: dict[tuple[type[Record], str], Record | None] = {}
    last: dict[tuple[type[Record], str], Record | None] = {}
    known: dict[tuple[type[Record], str], Record] = {}
    for operation in pending.operations:
        first.setdefault(operation.key, operation.before)
        last[operation.key] = operation.after
        known[operation.key] = operation.record
    for key, record in known.items():
        before, after = first[key], last[key]
        old, new = _state(before), _state(after)
        if old != new:
            yield record, f"{record.kind} {record.id}: {old} -> {new}"


def _state(record: Record | None) -> tuple[Any, ...] | None:
    return None if record is None else tuple(getattr(record, name) for name in STATE[record.kind])


def _is_about(event: Event, record: Record) -> bool:
    if isinstance(record, Replica):
        return (event.kind, event.subject_id) == (
            Deployment.kind,
            record.deployment_id,
        ) and event.replica_id == record.id
    return (event.kind, event.subject_id) == (record.kind, record.id)


def _is_well_made(event: Event) -> bool:
    named = re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", event.reason) is not None
    return named and bool(event.actor and event.message and event.time) and event.type in {"NORMAL", "WARNING"}


@contextlib.contextmanager
def audited(monkeypatch: pytest.MonkeyPatch) -> Generator[Trail]:
    """Look at every commit of this process for the time of the block, and in the end demand that all was told."""
    trail = Trail()

    async def watched(connection: Any, pending: Pending, **about: Any) -> list[Change]:
        changes: list[Change] = await flush(connection, pending, **about)
        trail.look(pending)
        return changes

    monkeypatch.setattr("orchestration.store.writer.flush", watched)
    yield trail
    trail.check()
