"""Reads what other processes committed, and everything at start."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store.feed import RING_SIZE
from orchestration.store.index import Index
from orchestration.store.mapper import CLASSES, mapper_of
from orchestration.store.pending import change_of
from orchestration.store.records import KINDS, Change, Record
from orchestration.store.tables import changes, store_meta

_BATCH = 500  # ids in one query; SQLite allows 999 parameters in its oldest builds

Delta = tuple[list[Change], dict[tuple[str, str], Record], int]
"""Changes in revision order, the records that they left, and the revision up to which they tell everything."""

_CHANGES = select(*[changes.c[field.name] for field in dataclasses.fields(Change)])


async def load(connection: AsyncConnection, index: Index) -> None:
    """Fill an empty index with every record and the latest changes. Needs a snapshot."""
    meta = (await connection.execute(select(store_meta))).one()
    for cls in KINDS:
        index.load(await _records(connection, cls))
    latest = (await connection.execute(_CHANGES.order_by(changes.c.revision.desc()).limit(RING_SIZE))).mappings()
    feed = [Change(**row) for row in latest][::-1]
    floor = feed[0].revision - 1 if len(feed) == RING_SIZE else meta.trimmed_revision
    index.feed.load(feed, floor=floor, revision=meta.revision)


async def read_changes(connection: AsyncConnection, since: int, index: Index) -> Delta:
    """What was committed after a revision. Needs a snapshot or the write lock."""
    meta = (await connection.execute(select(store_meta))).one()
    if since < meta.trimmed_revision:
        return await _compare(connection, index, meta.revision)
    rows = await connection.execute(_CHANGES.where(changes.c.revision > since).order_by(changes.c.revision))
    feed = [Change(**row) for row in rows.mappings()]
    wanted: dict[str, list[str]] = {}
    for kind, id_ in {(change.kind, change.id): None for change in feed}:
        wanted.setdefault(kind, []).append(id_)
    records: dict[tuple[str, str], Record] = {}
    for kind, ids in wanted.items():
        for start in range(0, len(ids), _BATCH):
            found = await _records(connection, CLASSES[kind], ids[start : start + _BATCH])
            records.update({(kind, record.id): record for record in found})
    return feed, records, meta.revision


async def read_history(
    connection: AsyncConnection, since: int, kinds: Collection[str]
) -> tuple[list[Change], int] | None:
    """The last change of each record of these kinds after a revision, and the revision up to which they tell.

    None when the feed has forgotten changes after it. Needs a snapshot.
    """
    meta = (await connection.execute(select(store_meta))).one()
    if since < meta.trimmed_revision:
        return None
    later = (changes.c.revision > since) & changes.c.kind.in_(kinds)
    last = select(func.max(changes.c.revision)).where(later).group_by(changes.c.kind, changes.c.id)
    rows = await connection.execute(_CHANGES.where(changes.c.revision.in_(last)).order_by(changes.c.revision))
    return [Change(**row) for row in rows.mappings()], meta.revision


async def _compare(connection: AsyncConnection, index: Index, revision: int) -> Delta:
    """The difference of the whole database to the index, for a process that was away longer than the feed reaches."""
    feed: list[Change] = []
    records: dict[tuple[str, str], Record] = {}
    for cls in KINDS:
        found = await _records(connection, cls)
        here = {record.id: record for record in index.all(cls)}
        changed = [record for record in found if _revision(here.pop(record.id, None)) != record.revision]
        feed += [change_of(record, record.revision, tombstone=False) for record in changed]
        feed += [change_of(record, revision, tombstone=True) for record in here.values()]
        records.update({(cls.kind, record.id): record for record in found})
    return sorted(feed, key=lambda change: change.revision), records, revision


def _revision(record: Record | None) -> int | None:
    return None if record is None else record.revision


async def _records(connection: AsyncConnection, cls: type[Record], ids: Sequence[str] | None = None) -> list[Record]:
    mapper = mapper_of(cls)
    statement = mapper.select if ids is None else mapper.select.where(mapper.table.c.id.in_(ids))
    return mapper.records((await connection.execute(statement)).all())
