"""Reads events and usage, and forgets what is old."""

from __future__ import annotations

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store.records import Event, UsageInterval
from orchestration.store.tables import answers, changes, events, store_meta, usage_intervals
from orchestration.store.transaction import Transaction

TRIM_BATCH = 5_000
"""Rows that one transaction deletes at most, so that no writer waits long for it."""


async def list_events(
    connection: AsyncConnection, kind: str, subject_id: str, *, limit: int, before: str | None
) -> tuple[list[Event], int]:
    """One page of a subject's events, newest first, and how many it has. Needs a snapshot."""
    subject = (events.c.kind == kind) & (events.c.subject_id == subject_id)
    total = (await connection.execute(select(func.count()).select_from(events).where(subject))).scalar_one()
    page = select(events).where(subject).order_by(events.c.id.desc()).limit(limit)
    if before is not None:
        page = page.where(events.c.id < before)
    rows = (await connection.execute(page)).mappings().all()
    return [Event(**row) for row in rows], total


async def list_usage(connection: AsyncConnection, deployment_id: str) -> list[UsageInterval]:
    """What a deployment's instances were used for, oldest first."""
    of_deployment = select(usage_intervals).where(usage_intervals.c.deployment_id == deployment_id)
    ordered = of_deployment.order_by(usage_intervals.c.started_at, usage_intervals.c.instance_name)
    return [UsageInterval(**row) for row in (await connection.execute(ordered)).mappings().all()]


async def trim_changes(tx: Transaction, before: float) -> int:
    """Forget the oldest changes that were made before a time; returns how many, TRIM_BATCH at most."""
    old = select(changes.c.revision).where(changes.c.at < before).order_by(changes.c.revision).limit(TRIM_BATCH)
    revisions = [row["revision"] for row in await tx.run(old)]
    if revisions:
        await tx.run(delete(changes).where(changes.c.revision <= revisions[-1]))
        await tx.run(update(store_meta).values(trimmed_revision=revisions[-1]))
    return len(revisions)


async def trim_events(tx: Transaction, before: float) -> int:
    """Forget events from before a time; returns how many, TRIM_BATCH at most."""
    old = select(events.c.id).where(events.c.time < before).limit(TRIM_BATCH)
    return len(await tx.run(delete(events).where(events.c.id.in_(old)).returning(events.c.id)))


async def crowded(connection: AsyncConnection, most: int) -> list[tuple[str, str]]:
    """Kind and id of the subjects that have more events than that. Reads an index whole: not under the write lock."""
    subject = (events.c.kind, events.c.subject_id)
    found = await connection.execute(select(*subject).group_by(*subject).having(func.count() > most))
    return [(row.kind, row.subject_id) for row in found]


async def thin_out(tx: Transaction, kind: str, subject_id: str, most: int) -> int:
    """Forget a subject's oldest events beyond its newest `most`; returns how many, TRIM_BATCH at most."""
    subject = (events.c.kind == kind) & (events.c.subject_id == subject_id)
    newest = select(events.c.id).where(subject).order_by(events.c.id.desc())
    beyond = await tx.run(newest.offset(most).limit(1))
    if not beyond:
        return 0
    old = select(events.c.id).where(subject, events.c.id <= beyond[0]["id"]).order_by(events.c.id).limit(TRIM_BATCH)
    return len(await tx.run(delete(events).where(events.c.id.in_(old)).returning(events.c.id)))


async def trim_answers(tx: Transaction, before: float) -> int:
    """Forget answers from before a time; returns how many, TRIM_BATCH at most."""
    key = tuple_(answers.c.scope, answers.c.request_id)
    old = select(answers.c.scope, answers.c.request_id).where(answers.c.created_at < before).limit(TRIM_BATCH)
    return len(await tx.run(delete(answers).where(key.in_(old)).returning(answers.c.scope)))


async def trim_usage(tx: Transaction, before: float) -> int:
    """Forget usage intervals that ended before a time; returns how many, TRIM_BATCH at most."""
    name = usage_intervals.c.instance_name
    old = select(name).where(usage_intervals.c.ended_at < before).limit(TRIM_BATCH)
    return len(await tx.run(delete(usage_intervals).where(name.in_(old)).returning(name)))
