"""What write transactions have done and the database has not yet been told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from orchestration.store.records import Answer, Change, Event, Lease, Node, Record, UsageInterval
from orchestration.store.tables import PARENTS, TRAITS, UNIQUE

RecordKey = tuple[type[Record], str]
UniqueKey = tuple[type[Record], Any]

_UNIQUE_VALUES = {cls: attrgetter(*fields) for cls, (_, fields) in UNIQUE.items()}


def unique_key(record: Record | None) -> UniqueKey | None:
    """What must be unique about a record; None where nothing must."""
    if record is None or type(record) not in _UNIQUE_VALUES:
        return None
    key: Any = _UNIQUE_VALUES[type(record)](record)
    return None if key == "" else (type(record), key)


def change_of(record: Record, revision: int, *, tombstone: bool) -> Change:
    """The feed's entry for a record as it was left, or with ``tombstone`` as it was before it went."""
    _, parent = PARENTS.get(type(record), (None, ""))
    return Change(
        revision=revision,
        kind=record.kind,
        id=record.id,
        tombstone=tombstone,
        parent=str(getattr(record, parent)) if parent else "",
        traits={name: getattr(record, name) for name in TRAITS.get(type(record), ())} if tombstone else {},
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """One insert (no ``before``), update, or deletion (no ``after``)."""

    before: Record | None
    after: Record | None
    revision: int

    @property
    def record(self) -> Record:
        """The record as it was left, or as it was before it went."""
        record = self.after if self.after is not None else self.before
        if record is None:
            raise ValueError("an operation is about a record")
        return record

    @property
    def key(self) -> RecordKey:
        """Which record it is about."""
        return type(self.record), self.record.id


@dataclass(slots=True)
class Pending:
    """Operations in their order, with what they leave behind found by key."""

    operations: list[Operation] = field(default_factory=list[Operation])
    records: dict[RecordKey, Record | None] = field(default_factory=dict[RecordKey, Record | None])
    """The record as it is now; None: deleted."""
    holders: dict[UniqueKey, str | None] = field(default_factory=dict[UniqueKey, str | None])
    """Id of the record that holds a unique key now; None: given up."""
    events: list[Event] = field(default_factory=list[Event])
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict[tuple[str, str], Answer])
    leases: dict[str, Lease | None] = field(default_factory=dict[str, Lease | None])
    """Leases as they are now; None: released."""
    usage: dict[str, UsageInterval] = field(default_factory=dict[str, UsageInterval])
    """Usage intervals by instance name, as they are now."""
    beats: list[Node] = field(default_factory=list[Node])

    def __bool__(self) -> bool:
        return bool(self.operations or self.events or self.answers or self.leases or self.usage or self.beats)

    def add(self, operation: Operation) -> None:
        """Append an operation."""
        self.operations.append(operation)
        self.records[operation.key] = operation.after
        old, new = unique_key(operation.before), unique_key(operation.after)
        if old is not None and old != new:
            self.holders[old] = None
        if new is not None:
            self.holders[new] = operation.key[1]

    def absorb(self, other: Pending) -> None:
        """Append what a transaction that came after these has done."""
        self.operations += other.operations
        self.records |= other.records
        self.holders |= other.holders
        self.events += other.events
        self.answers |= other.answers
        self.leases |= other.leases
        self.usage |= other.usage
        self.beats += other.beats


def waves(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Cut operations into waves, so that within one their order does not matter and each record is written once.

    Statements can then be sent in batches: all deletions of a wave, then its updates, then its inserts. A new wave
    begins where a unique key is taken that the wave before gave up.
    """
    result: list[list[Operation]] = []
    wave: dict[RecordKey, Operation] = {}
    given_up: set[UniqueKey] = set()
    for operation in operations:
        old, new = unique_key(operation.before), unique_key(operation.after)
        if new is not None and new != old and new in given_up:
            result.append(list(wave.values()))
            wave, given_up = {}, set()
        if old is not None and old != new:
            given_up.add(old)
        first = wave.get(operation.key)
        before = first.before if first is not None else operation.before
        if before is None and operation.after is None:
            del wave[operation.key]  # made and deleted between two commits
        else:
            wave[operation.key] = Operation(before, operation.after, operation.revision)
    result.append(list(wave.values()))
    return result
