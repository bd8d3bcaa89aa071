"""A write transaction, as callers see it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import uuid_utils
from sqlalchemy import Executable, Integer, RowMapping, bindparam, func, select

from orchestration.store.bucket import matches
from orchestration.store.errors import (
    BrokenReferenceError,
    DuplicateError,
    LeaseLostError,
    StaleRecordError,
    StoreError,
)
from orchestration.store.index import Index
from orchestration.store.liveness import with_newest_liveness
from orchestration.store.pending import Operation, Pending, UniqueKey, unique_key
from orchestration.store.records import Answer, Deployment, Event, Lease, Node, Record, UsageInterval
from orchestration.store.storable import check_storable, printable, storable
from orchestration.store.tables import PARENTS, UNIQUE, answers, leases

R = TypeVar("R", bound=Record)

_ANSWER = select(answers).where(answers.c.scope == bindparam("scope"), answers.c.request_id == bindparam("request_id"))
_LEASE = select(leases).where(leases.c.name == bindparam("name"))
# Not LIKE: SQLite's does not tell upper from lower case.
_LEASES = select(leases).where(func.substr(leases.c.name, 1, bindparam("length", type_=Integer)) == bindparam("prefix"))


class Group(Protocol):
    """What a transaction needs of the group that it is committed with."""

    index: Index
    pending: Pending

    def next_revision(self) -> int:
        """A revision above every one given out before."""
        ...

    async def run(self, statement: Executable, parameters: dict[str, Any]) -> list[RowMapping]:
        """Run a statement inside the database's transaction; the rows that it returns."""
        ...


class Transaction:
    """Reads and writes of one caller, applied as a whole or not at all.

    Write transactions are serial, over all processes: each begins with the database's write lock and with the memory
    index brought up to it. So the index, the transactions of the same group and this one's own changes together are the
    database; reads of records are answered from there, constraints are checked there, and what was read still holds at
    the commit. Revisions grow in the order of commits.
    """

    def __init__(self, group: Group, *, actor: str, clock: Callable[[], float]) -> None:
        self._group = group
        self._actor = actor
        self._clock = clock
        self._ended = False
        self._unanswered: set[tuple[str, str]] = set()
        self.pending = Pending()

    def end(self) -> Pending:
        """Refuse all further use; returns what was done."""
        self._ended = True
        return self.pending

    def _check_open(self) -> None:
        if self._ended:
            raise StoreError("the transaction has ended: use it only inside its `async with` block")

    async def get(self, cls: type[R], id: str) -> R | None:  # noqa: A002 - the name that records use
        """The record with this id, or None."""
        self._check_open()
        return self._get(cls, id)

    def _get(self, cls: type[R], id: str) -> R | None:  # noqa: A002
        for pending in (self.pending, self._group.pending):
            if (cls, id) in pending.records:
                return cast("R | None", pending.records[cls, id])
        return self._group.index.get(cls, id)

    async def select(self, cls: type[R], **equals: object) -> list[R]:
        """The records whose fields equal the values, ordered by id; empty when there are none.

        A tuple, list, set or frozenset means any of its members.
        """
        self._check_open()
        return self._select(cls, equals)

    def _select(self, cls: type[R], equals: dict[str, object]) -> list[R]:
        changed = {
            id_: record
            for pending in (self._group.pending, self.pending)
            for (kind, id_), record in pending.records.items()
            if kind is cls
        }
        found = self._group.index.find(cls, **equals)
        if not changed:
            return found
        kept = [record for record in found if record.id not in changed]
        kept += [record for record in changed.values() if isinstance(record, cls) and matches(record, equals)]
        return sorted(kept, key=lambda record: record.id)

    async def insert(self, record: R) -> R:
        """Add a record; returns it with its revision, and with ``created_at`` set to now where it was 0.

        Control characters in its message are replaced. Raises DuplicateError, BrokenReferenceError when the parent that
        it names is not there, and StoreError when a field holds text that cannot be stored.
        """
        self._check_open()
        record = storable(record)
        if self._get(type(record), record.id) is not None:
            raise DuplicateError("id", f"there is a {record.kind} with the id {record.id} already")
        self._check_constraints(record)
        revision = self._group.next_revision()
        made: dict[str, Any] = {"revision": revision, "created_at": record.created_at or self._clock()}
        if isinstance(record, Deployment):
            made["created_revision"] = revision
        new = dataclasses.replace(record, **made)
        self.pending.add(Operation(None, new, revision))
        return new

    async def update(self, record: R) -> R:
        """Write a record over the row that it was made from; returns it with its new revision.

        When nothing would change, the current record is returned and no change is noted. A node keeps the liveness of
        the latest heartbeat. Raises StaleRecordError when the row has another revision or is gone, and as ``insert``.
        """
        current = self._current(record)
        record = with_newest_liveness(storable(record), current)
        if record == current:
            return current
        self._check_constraints(record)
        new = dataclasses.replace(record, revision=self._group.next_revision())
        self.pending.add(Operation(current, new, new.revision))
        return new

    async def delete(self, record: Record) -> None:
        """Delete a record; the feed gets a tombstone.

        Raises StaleRecordError as ``update``, and BrokenReferenceError while other records name it as their parent.
        """
        current = self._current(record)
        for child, (parent, field) in PARENTS.items():
            if parent is type(record) and self._select(child, {field: record.id}):
                raise BrokenReferenceError(f"{record.kind} {record.id} cannot be deleted: it still has {child.kind}s")
        self.pending.add(Operation(current, None, self._group.next_revision()))

    def _current(self, record: R) -> R:
        self._check_open()
        current = self._get(type(record), record.id)
        if current is None or current.revision != record.revision:
            raise StaleRecordError(record.kind, record.id)
        return current

    def _check_constraints(self, record: Record) -> None:
        key = unique_key(record)
        if key is not None and self._holder(key) not in (None, record.id):
            raise DuplicateError(UNIQUE[type(record)][0])
        parent, field = PARENTS.get(type(record), (None, ""))
        if parent is not None and self._get(parent, getattr(record, field)) is None:
            raise BrokenReferenceError(f"{record.kind} {record.id}: there is no {parent.kind} {getattr(record, field)}")

    def _holder(self, key: UniqueKey) -> str | None:
        for pending in (self.pending, self._group.pending):
            if key in pending.holders:
                return pending.holders[key]
        cls, values = key
        fields = UNIQUE[cls][1]
        equals = dict(zip(fields, values if len(fields) > 1 else (values,), strict=True))
        found = self._group.index.find(cls, **equals)
        return found[0].id if found else None

    def event(
        self,
        *,
        kind: str,
        subject_id: str,
        type: str = "NORMAL",  # noqa: A002 - the name that events use
        reason: str,
        message: str,
        replica_id: str = "",
        attempt: int = 0,
    ) -> None:
        """Note, for a person to read, what this transaction makes happen. ``type``: ``NORMAL`` or ``WARNING``.

        Control characters in ``reason`` and ``message`` are replaced: engines and providers have their say there.
        """
        self._check_open()
        check_storable(subject_id=subject_id, replica_id=replica_id)
        self.pending.events.append(
            Event(
                id=str(uuid_utils.uuid7()),
                time=self._clock(),
                kind=kind,
                subject_id=subject_id,
                type=type,
                actor=self._actor,
                reason=printable(reason),
                message=printable(message),
                replica_id=replica_id,
                attempt=attempt,
            )
        )

    def use(self, interval: UsageInterval) -> None:
        """Write a usage interval, over the one of the same instance if there is one. It is not in the change feed."""
        self._check_open()
        self.pending.usage[interval.instance_name] = storable(interval)

    async def recall(self, scope: str, request_id: str) -> Answer | None:
        """The answer that was remembered for this request id, or None."""
        self._check_open()
        check_storable(scope=scope, request_id=request_id)
        for pending in (self.pending, self._group.pending):
            if (scope, request_id) in pending.answers:
                return pending.answers[scope, request_id]
        if (scope, request_id) in self._unanswered:
            return None
        rows = await self._group.run(_ANSWER, {"scope": scope, "request_id": request_id})
        if not rows:
            self._unanswered.add((scope, request_id))
            return None
        return Answer(**rows[0])

    async def remember(self, answer: Answer, *, ttl_s: float = math.inf) -> None:
        """Keep the first answer to a request id, in the place of one that was older than ``ttl_s`` seconds by then.

        Raises ``DuplicateError("answer")`` when there is one that still stands.
        """
        prior = await self.recall(answer.scope, answer.request_id)
        if prior is not None and answer.created_at - prior.created_at < ttl_s:
            raise DuplicateError("answer")
        self.pending.answers[answer.scope, answer.request_id] = answer

    async def lease(self, name: str) -> Lease | None:
        """The lease of this name as it is now, expired or not; None when nobody has it."""
        self._check_open()
        check_storable(name=name)
        for pending in (self.pending, self._group.pending):
            if name in pending.leases:
                return pending.leases[name]
        rows = await self._group.run(_LEASE, {"name": name})
        return Lease(**rows[0]) if rows else None

    async def find_leases(self, prefix: str) -> list[Lease]:
        """The leases whose names begin with ``prefix`` as they are now, expired or not, ordered by name."""
        self._check_open()
        check_storable(prefix=prefix)
        rows = await self._group.run(_LEASES, {"prefix": prefix, "length": len(prefix)})
        found: dict[str, Lease | None] = {row["name"]: Lease(**row) for row in rows}
        for pending in (self._group.pending, self.pending):
            found |= {name: lease for name, lease in pending.leases.items() if name.startswith(prefix)}
        return [lease for _, lease in sorted(found.items()) if lease is not None]

    def set_lease(self, name: str, lease: Lease | None) -> None:
        """Write a lease, or delete it. Leases are not in the change feed."""
        self._check_open()
        check_storable(name=name)
        self.pending.leases[name] = None if lease is None else storable(lease)

    async def check_lease(self, lease: Lease) -> None:
        """Raise LeaseLostError unless the lease is still held with this token and has not expired."""
        current = await self.lease(lease.name)
        if current is None or current.token != lease.token or current.expires_at <= self._clock():
            raise LeaseLostError(lease.name)

    def write_liveness(self, nodes: list[Node]) -> None:
        """Write the liveness of these nodes; that is no change of the feed."""
        self._check_open()
        self.pending.beats += nodes

    async def run(self, statement: Executable) -> list[RowMapping]:
        """Run a statement on the store's own books at once; the rows that it returns.

        It is committed with the group even when this transaction fails afterwards, so it must be right by itself.
        """
        self._check_open()
        return await self._group.run(statement, {})
