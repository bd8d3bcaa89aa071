"""Sends what a group of transactions has done to the database, in as few statements as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Executable, Table, bindparam, delete, insert, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store.errors import StaleRecordError
from orchestration.store.liveness import UPDATE_LIVENESS, liveness_parameters
from orchestration.store.mapper import mapper_of
from orchestration.store.pending import Operation, Pending, change_of, waves
from orchestration.store.records import KINDS, Change, Lease, Record
from orchestration.store.tables import TABLES, answers, changes, events, leases, store_meta, usage_intervals

NOTIFY_CHANNEL = "orchestration_changes"
_NOTIFY = text(f"SELECT pg_notify('{NOTIFY_CHANNEL}', '')")
_SET_REVISION = update(store_meta).values(revision=bindparam("new_revision"))
_DELETE = {
    cls: delete(table).where(table.c.id == bindparam("old_id"), table.c.revision == bindparam("old_revision"))
    for cls, table in TABLES.items()
}
_DELETE_LEASE = delete(leases).where(leases.c.name == bindparam("old_name"))


def _upsert(table: Table) -> dict[str, Executable]:
    """By dialect, the statement that writes a row over the one with the same primary key, if there is one."""
    key = [column.name for column in table.primary_key.columns]

    def statement(module: Any) -> Executable:
        inserted = module.insert(table)
        values = {column.name: inserted.excluded[column.name] for column in table.columns if column.name not in key}
        upsert: Executable = inserted.on_conflict_do_update(index_elements=key, set_=values)
        return upsert

    return {"sqlite": statement(sqlite), "postgresql": statement(postgresql)}


_UPSERT_ANSWER = _upsert(answers)  # over one that is too old to stand
_UPSERT_LEASE = _upsert(leases)
_UPSERT_USAGE = _upsert(usage_intervals)


def feed_of(pending: Pending) -> list[Change]:
    """The feed's entries: the last change of each record, in revision order."""
    last = {operation.key: operation for operation in pending.operations}
    return sorted(
        (change_of(op.record, op.revision, tombstone=op.after is None) for op in last.values()),
        key=lambda change: change.revision,
    )


async def flush(connection: AsyncConnection, pending: Pending, *, revision: int, at: float) -> list[Change]:
    """Write everything inside the open transaction; returns the feed's entries.

    ``revision``: the last one that was given out; it is noted as the database's. ``at``: time of the commit.
    """
    for wave in waves(pending.operations):
        await _write_wave(connection, wave)
    feed = feed_of(pending)
    rows = [asdict(change) | {"at": at} for change in feed]
    await _write(connection, insert(changes), rows)
    await _write(connection, insert(events), [asdict(event) for event in pending.events])
    answered = [asdict(answer) for answer in pending.answers.values()]
    await _write(connection, _UPSERT_ANSWER[connection.dialect.name], answered)
    await _write_leases(connection, pending.leases)
    used = [asdict(interval) for interval in pending.usage.values()]
    await _write(connection, _UPSERT_USAGE[connection.dialect.name], used)
    await _write(connection, UPDATE_LIVENESS, [liveness_parameters(node) for node in pending.beats])
    if feed:
        await connection.execute(_SET_REVISION, {"new_revision": revision})
        if connection.dialect.name == "postgresql":
            await connection.execute(_NOTIFY)
    return feed


async def _write_wave(connection: AsyncConnection, wave: Sequence[Operation]) -> None:
    by_class: dict[type[Record], list[Operation]] = {cls: [] for cls in KINDS}
    for operation in wave:
        by_class[operation.key[0]].append(operation)
    for cls in reversed(KINDS):
        gone = [op.before for op in by_class[cls] if op.before is not None and op.after is None]
        await _write(connection, _DELETE[cls], [{"old_id": r.id, "old_revision": r.revision} for r in gone], gone)
    for cls in KINDS:
        mapper = mapper_of(cls)
        kept = [(op.before, op.after) for op in by_class[cls] if op.before is not None and op.after is not None]
        rows = [mapper.update_parameters(after, before.revision) for before, after in kept]
        await _write(connection, mapper.update, rows, [after for _, after in kept])
        new = [op.after for op in by_class[cls] if op.before is None and op.after is not None]
        await _write(connection, mapper.insert, [mapper.parameters(record) for record in new])


async def _write_leases(connection: AsyncConnection, current: dict[str, Lease | None]) -> None:
    released = [{"old_name": name} for name, lease in current.items() if lease is None]
    held = [asdict(lease) for lease in current.values() if lease is not None]
    await _write(connection, _DELETE_LEASE, released)
    await _write(connection, _UPSERT_LEASE[connection.dialect.name], held)


async def _write(
    connection: AsyncConnection,
    statement: Executable,
    rows: list[dict[str, Any]],
    guarded: Sequence[Record] = (),
) -> None:
    """Run a statement for every row; where it is guarded by revisions, it must have met every one of them."""
    if not rows:
        return
    # One row goes as a plain execution: only there does every driver tell how many rows were met.
    result = await connection.execute(statement, rows if len(rows) > 1 else rows[0])
    told = len(rows) == 1 or connection.dialect.supports_sane_multi_rowcount
    if guarded and told and result.rowcount != len(rows):
        raise StaleRecordError(guarded[0].kind, guarded[0].id)
