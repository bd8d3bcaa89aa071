"""The store: one database with its memory index."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Collection
from pathlib import Path
from typing import Any, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store import catchup, journal
from orchestration.store.beats import Beats
from orchestration.store.database import DRIVER_ERRORS, Database, translate, translated
from orchestration.store.errors import StoreUnavailableError
from orchestration.store.follower import Follower
from orchestration.store.index import Index
from orchestration.store.migrate import known_revisions
from orchestration.store.narration import untold
from orchestration.store.opening import open_database
from orchestration.store.outage import WriteFailure
from orchestration.store.records import Change, Event, UsageInterval
from orchestration.store.transaction import Transaction
from orchestration.store.writer import Writer

BUSY_TIMEOUT_S = 5.0
EVENTS_PER_SUBJECT = 10_000
_DAY_S = 86_400.0
_SCHEMA = "SELECT version_num FROM alembic_version"


class Store:
    """Keeps records. Open one with ``Store.open``; close it, or use it as an asynchronous context manager."""

    index: Index
    """Every record, for reading."""
    installation_id: str
    """UUID made when the database was first opened."""

    def __init__(self, database: Database, index: Index, installation_id: str, clock: Callable[[], float]) -> None:
        self.index = index
        self.installation_id = installation_id
        self.clock = clock
        self.database = database
        self._writer = Writer(database, index, clock)
        self._beats = Beats(index, self._writer)
        self.follower = Follower(database, index, clock)
        self._schema = known_revisions()[-1]
        self._history = asyncio.Lock()  # a thousand watches that resume at once must not take every connection
        self._beats.correct(clock())
        self._tasks = [
            asyncio.create_task(self._beats.run(), name="store heartbeats"),
            asyncio.create_task(self.follower.run(), name="store follower"),
        ]

    @classmethod
    async def open(
        cls, url: str, *, clock: Callable[[], float] = time.time, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> Self:
        """Open a database, migrating an older one, and read all of it into the index.

        ``url``: ``sqlite+aiosqlite:///PATH`` or ``postgresql+asyncpg://...``. ``clock``: Unix seconds.
        ``busy_timeout_s``: how long a write waits for another process. Raises StoreOpenError when the database cannot
        be used as it is, StoreUnavailableError when trying again may help.
        """
        database = Database(url, busy_timeout_s=busy_timeout_s)
        index = Index()
        try:
            installation_id = await open_database(database, index)
        except BaseException:
            await database.close()
            raise
        return cls(database, index, installation_id, clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Write the heartbeats that are still in memory, finish what is under way, and close the database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._beats.close()
        await self._writer.close()
        with contextlib.suppress(*DRIVER_ERRORS):
            await self.database.close()

    @contextlib.asynccontextmanager
    async def write(self, *, actor: str) -> AsyncGenerator[Transaction]:
        """A write transaction: ``async with store.write(actor=...) as tx``.

        ``actor``: who does it, for the events. When the block ends, everything is committed and on disk, and the index
        shows it; when it raises, nothing is. Raises StoreUnavailableError when that failed, or when the turn does not
        come within the busy timeout and a little. A cancellation while the commit is under way is raised at once, and
        the change may be committed all the same. Keep the block short, without any network call: every other writer
        waits. A transition that the block tells no event of gets a plain one.
        """
        async with self._writer.write(actor=actor) as tx:
            yield tx
            for event in untold(tx.pending):
                tx.event(**event)

    @property
    def folder(self) -> Path | None:
        """Where the database's files are; None when it is another machine's or another program's business."""
        return None if self.database.files is None else self.database.files.path.parent

    @property
    def write_failure(self) -> WriteFailure | None:
        """Why the database takes no writes, and since when; None when the last one succeeded, or none was tried."""
        return self._writer.health.failure

    def on_recovery(self, listener: Callable[[], None]) -> None:
        """Call this whenever the database takes writes again after it did not."""
        self._writer.health.on_recovery(listener)

    async def check_writable(self) -> None:
        """Begin a write and end it with nothing written, which costs no wait for the disk.

        Raises StoreUnavailableError when that fails, or takes longer than the busy timeout and a little.
        """
        async with self._writer.write(actor="readiness"):
            pass

    async def ping(self, *, timeout_s: float = 1.0) -> None:
        """Read from the database, waiting at most ``timeout_s``.

        Raises StoreUnavailableError when that fails, or when another version has migrated the schema meanwhile.
        """
        try:
            async with asyncio.timeout(timeout_s), self.database.connect() as connection:
                schema = await self._read_schema(connection)
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        if schema != self._schema:
            raise StoreUnavailableError(
                "DATABASE_UNREACHABLE", f"the database has schema {schema}, this version works with {self._schema}"
            )

    async def _read_schema(self, connection: AsyncConnection) -> str:
        if self.database.is_sqlite:  # one step of the driver's thread, where a transaction around it would be six
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                rows: list[tuple[str]] = await driver.execute_fetchall(_SCHEMA)
            except BaseException as error:
                await connection.invalidate()  # the pool does not see what the driver raises, or that it hangs
                if isinstance(error, Exception):
                    raise translate(error) from error
                raise
            return rows[0][0]
        return str((await connection.execute(text(_SCHEMA))).scalar_one())

    async def list_events(
        self, kind: str, subject_id: str, *, limit: int, before: str | None = None
    ) -> tuple[list[Event], int]:
        """One page of a subject's events, newest first by id, and how many it has in all.

        ``before``: only events with a smaller id (the last id of the page before).
        """
        with translated():
            async with self.database.snapshot() as snapshot:
                return await journal.list_events(snapshot, kind, subject_id, limit=limit, before=before)

    async def list_usage(self, deployment_id: str) -> list[UsageInterval]:
        """The usage intervals of a deployment, also of one that is gone, oldest first."""
        with translated():
            async with self.database.snapshot() as snapshot:
                return await journal.list_usage(snapshot, deployment_id)

    async def changes_after(self, revision: int, kinds: Collection[str]) -> tuple[list[Change], int] | None:
        """The last change of each record of these kinds after a revision, and the revision up to which they tell.

        Answered from memory, and from the database where that does not reach back far enough. None when it was
        forgotten, or when the database has never reached that revision: it is of another one, or from before a backup
        was restored. Raises StoreUnavailableError.
        """
        with translated():
            if revision > self.index.revision:
                await self.follower.catch_up()  # another process may be ahead of this one
            kept = self.index.changes_after(revision, kinds)
            if kept is not None or revision > self.index.revision:
                return None if kept is None else (kept, self.index.revision)
            async with self._history, self.database.snapshot() as snapshot:
                return await catchup.read_history(snapshot, revision, kinds)

    async def trim(
        self,
        *,
        changes_s: float = _DAY_S,
        events_s: float = 30 * _DAY_S,
        answers_s: float = _DAY_S,
        usage_s: float = 400 * _DAY_S,
        events_per_subject: int = EVENTS_PER_SUBJECT,
    ) -> None:
        """Forget what is older than these numbers of seconds, in short transactions.

        That is changes, events, answers, and usage intervals by their end: one that is open is kept.
        ``events_per_subject``: of each deployment, node, pool and model the newest so many events are kept at most;
        those of one that is gone are kept as long as all others.
        """
        now = self.clock()
        for forget, age_s in (
            (journal.trim_changes, changes_s),
            (journal.trim_events, events_s),
            (journal.trim_answers, answers_s),
            (journal.trim_usage, usage_s),
        ):
            count = journal.TRIM_BATCH
            while count == journal.TRIM_BATCH:
                async with self.write(actor="retention") as tx:
                    count = await forget(tx, now - age_s)
        await self._thin_out(events_per_subject)

    async def _thin_out(self, events_per_subject: int) -> None:
        with translated():
            async with self.database.snapshot() as snapshot:
                subjects = await journal.crowded(snapshot, events_per_subject)
        for kind, subject_id in subjects:
            count = journal.TRIM_BATCH
            while count == journal.TRIM_BATCH:
                async with self.write(actor="retention") as tx:
                    count = await journal.thin_out(tx, kind, subject_id, events_per_subject)

    def beat(self, node_id: str, **liveness: Any) -> None:
        """Note a heartbeat that changes nothing but liveness (``liveness.LIVENESS_FIELDS``).

        The index shows it at once; it is on disk at most a second later, and a crash loses no more than that. It is no
        change of the feed. A node that is gone is left alone; another field raises ValueError.
        """
        self._beats.beat(node_id, liveness)

    async def flush_beats(self) -> None:
        """Write the heartbeats that are in memory now. Raises StoreUnavailableError; they are kept then."""
        await self._beats.flush()
