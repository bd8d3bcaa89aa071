"""Runs the write transactions of this process one after the other, many to a commit.

A commit costs a wait for the disk. Callers that come while one is under way queue up, and then share the next: the turn
goes from one to the next, each works in memory on top of those before it, one that fails leaves nothing behind, and
when nobody waits any more (or a bound is reached) all of it is written and committed at once. Each caller returns after
that commit.

Nobody waits for long: a turn that does not come within the busy timeout and a little is given up, and while the
database is known to keep writers waiting, callers are told so at once. A probe finds out when that is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store.catchup import read_changes
from orchestration.store.database import DRIVER_ERRORS, Database, translate
from orchestration.store.errors import StoreError, StoreUnavailableError
from orchestration.store.files import GONE, SqliteFiles
from orchestration.store.flush import flush
from orchestration.store.group import CommitGroup, Seat
from orchestration.store.index import Index
from orchestration.store.outage import COSTLY_S, Probe, WriteHealth, again
from orchestration.store.tables import store_meta
from orchestration.store.transaction import Transaction

logger = logging.getLogger(__name__)

MAX_GROUP = 64
"""Transactions that share a commit at most."""
MAX_GROUP_AGE_S = 0.005
"""How long a group takes new transactions, so that the first does not wait for ever on those behind it."""
MAX_WAITING = 4096
"""Callers that wait for their turn at most."""
TURN_GRACE_S = 1.0
"""A turn comes within the busy timeout and this, or not at all."""
LONG_TRANSACTION_S = 1.0
"""A transaction open for longer is told of in the log: everybody else waits for it."""
_CLOSING_S = 5.0
"""How long connections may take to be closed when the log has to be made anew."""
_CLOSE_LOOKS, _CLOSE_LOOK_S = 50, 0.01


class Writer:
    """The only one in this process who writes to the database."""

    def __init__(self, database: Database, index: Index, clock: Callable[[], float]) -> None:
        self._database = database
        self._index = index
        self._clock = clock
        self._queue: OrderedDict[Seat, None] = OrderedDict()
        self._runner: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._holder: asyncio.Task[Any] | None = None
        self._closed = False
        self._patience_s = database.busy_timeout_s + TURN_GRACE_S
        self.health = WriteHealth()
        self._probe = Probe(self.health, self._write_probe)

    @contextlib.asynccontextmanager
    async def write(self, *, actor: str) -> AsyncGenerator[Transaction]:
        """A transaction; see ``Store.write``."""
        if self._holder is not None and self._holder is asyncio.current_task():
            raise StoreError("a write transaction is open in this task already: it would wait for itself")
        await self.health.admit()
        async with self._write(actor, self._patience_s) as transaction:
            yield transaction

    @contextlib.asynccontextmanager
    async def _write(self, actor: str, patience_s: float | None) -> AsyncGenerator[Transaction]:
        seat = self._queue_up()
        try:
            group = await self._turn(seat, patience_s)
            transaction = Transaction(group, actor=actor, clock=self._clock)
            with self._holding(transaction, actor):
                yield transaction
            group.pending.absorb(transaction.pending)
        finally:
            self._queue.pop(seat, None)  # whoever gave up waiting keeps no place
            # Also when the turn came in the same moment as a cancellation: nobody else would hand it on.
            if not seat.finished.done():
                seat.finished.set_result(None)
        error = await asyncio.shield(group.outcome)
        if error is not None:
            raise _again(error) from error

    async def _turn(self, seat: Seat, patience_s: float | None) -> CommitGroup:
        try:
            async with asyncio.timeout(patience_s):
                return await seat.turn
        except TimeoutError:
            text = f"the writes before this one have taken longer than {patience_s:g} s"
            slow = StoreUnavailableError("DATABASE_SLOW", text)
            self._failed(slow, costly=True)
            raise slow from None

    @contextlib.contextmanager
    def _holding(self, transaction: Transaction, actor: str) -> Generator[None]:
        loop = asyncio.get_running_loop()
        warning = "a write transaction of %s has been open for more than %s s: everybody else waits for it"
        timer = loop.call_later(LONG_TRANSACTION_S, logger.warning, warning, actor, LONG_TRANSACTION_S)
        self._holder = asyncio.current_task()
        try:
            yield
        finally:
            transaction.end()
            self._holder = None
            timer.cancel()

    def _queue_up(self) -> Seat:
        if self._closed:
            raise StoreError("the store is closed")
        if len(self._queue) >= MAX_WAITING:
            raise StoreUnavailableError("DATABASE_SLOW", f"{MAX_WAITING} writes are waiting for their turn already")
        seat = Seat()
        self._queue[seat] = None
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="store writer")
        return seat

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            began = loop.time()
            try:
                group = await self._begin()
            except StoreError as error:
                self._failed(error, costly=loop.time() - began >= COSTLY_S)
                self._refuse_all(error)
                continue
            except Exception:
                # A defect: those who wait must hear of it rather than wait for ever.
                logger.exception("a transaction of the store could not be begun")
                self._refuse_all(StoreError("the change could not be begun: see the log"))
                continue
            outcome: StoreError | None = StoreError("the process ended before the change was written")
            try:
                await self._hand_out_turns(group)
                outcome = await self._finish(group)
            finally:
                group.outcome.set_result(outcome)

    def _failed(self, error: StoreError, *, costly: bool) -> None:
        if isinstance(error, StoreUnavailableError):
            self.health.failed(error, costly=costly)
            if not self._closed:
                self._probe.start()

    def _refuse_all(self, error: StoreError) -> None:
        """Everybody who waits has waited for the same database; none should wait for it again."""
        while self._queue:
            seat, _ = self._queue.popitem(last=False)
            if not seat.turn.done():
                seat.turn.set_exception(_again(error))

    async def _hand_out_turns(self, group: CommitGroup) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_GROUP_AGE_S
        for _ in range(MAX_GROUP):
            if not self._queue or group.error is not None or loop.time() > deadline:
                return
            seat, _ = self._queue.popitem(last=False)
            if not seat.turn.done():  # else it was cancelled in this moment
                seat.turn.set_result(group)
                await seat.finished

    async def _begin(self) -> CommitGroup:
        if self._database.files is not None and self._database.files.log_is_lost:
            await self._renew_log(self._database.files)
        self._database.check_files()
        reused = self._connection is not None
        try:
            return await self._begin_on_connection()
        except DRIVER_ERRORS as error:
            known = translate(error)
            if isinstance(known, StoreUnavailableError) and known.reason == GONE:
                raise known from error  # what is open must stay so: its files may come back
            await self._drop_connection()
            if not reused or getattr(known, "reason", "") != "DATABASE_UNREACHABLE":
                raise known from error
        # The connection was lost while it was idle, and nothing was done on it yet.
        try:
            return await self._begin_on_connection()
        except DRIVER_ERRORS as error:
            await self._drop_connection()
            raise translate(error) from error

    async def _begin_on_connection(self) -> CommitGroup:
        if self._connection is None:
            self._connection = await self._database.connect_writer()
        transaction = await self._connection.begin()
        # On PostgreSQL this row is the write lock; SQLite has it since BEGIN IMMEDIATE.
        statement = select(store_meta.c.revision).with_for_update()
        revision = (await self._connection.execute(statement)).scalar_one()
        if revision < self._index.revision:
            await transaction.rollback()
            told = f"the database is at revision {revision}, and this process has seen {self._index.revision}: "
            raise StoreUnavailableError(GONE, told + "an older one was put in its place; restart the gateway")
        if revision != self._index.revision:
            self._index.apply(*await read_changes(self._connection, self._index.revision, self._index))
        return CommitGroup(self._connection, transaction, self._index)

    async def _finish(self, group: CommitGroup) -> StoreError | None:
        """Commit, and show it in the index; returns why that failed."""
        try:
            if group.error is not None or group.is_empty:
                await group.transaction.rollback()
                if group.error is not None:
                    self._failed(group.error, costly=False)
                return group.error
            changes = await flush(group.connection, group.pending, revision=group.revision, at=self._clock())
            self._database.check_files()
            await group.transaction.commit()
        except (*DRIVER_ERRORS, StoreError) as error:
            known = translate(error)
            logger.warning("a commit of the store failed: %s", known)
            if getattr(known, "reason", "") == GONE:
                await self._roll_back(group)
            else:
                await self._drop_connection()
            self._failed(known, costly=False)
            return known
        except Exception:
            # A defect, of a record's contents perhaps: its callers must hear of it rather than wait for ever.
            logger.exception("a commit of the store failed")
            await self._drop_connection()
            return StoreError("the change could not be written: see the log")
        records = {(cls.kind, id_): row for (cls, id_), row in group.pending.records.items() if row is not None}
        self._index.apply(changes, records, group.revision if changes else self._index.revision)
        return self._committed()

    def _committed(self) -> StoreError | None:
        """Look whether the commit went into the files that the next process will find."""
        try:
            self._database.check_files()
        except StoreUnavailableError as error:
            self._failed(error, costly=False)
            return error
        self.health.succeeded()
        return None

    async def _roll_back(self, group: CommitGroup) -> None:
        try:
            await group.transaction.rollback()
        except DRIVER_ERRORS:
            await self._drop_connection()

    async def _renew_log(self, files: SqliteFiles) -> None:
        """Save what is in a log that was removed, and give up every connection that has it open.

        Raises StoreUnavailableError (DATABASE_GONE) when that cannot be done now.
        """
        lost = StoreUnavailableError(GONE, f"{files.log_path} was removed, and cannot be made anew yet")
        try:
            if not await self._save_log():
                raise lost
            files.abandon_log()
            await self._drop_connection()
            await self._database.give_up_connections()
            async with asyncio.timeout(_CLOSING_S):
                await self._database.closed()
        except DRIVER_ERRORS as error:
            raise lost from error
        logger.warning("%s was removed while it was in use; what it held was saved", files.log_path)
        for _ in range(_CLOSE_LOOKS):  # the last connection may be closing still
            if not files.is_held_elsewhere:
                break
            await asyncio.sleep(_CLOSE_LOOK_S)

    async def _save_log(self) -> bool:
        """Save the log through whichever connection there is: the writer's may be gone. False when that failed."""
        for connection in list(self._database.open_connections):
            with contextlib.suppress(sqlite3.OperationalError):  # it is in the middle of something
                if await _checkpoint(connection):
                    return True
        return False

    async def _write_probe(self) -> None:
        async with self._write("probe", None) as transaction:
            await transaction.run(update(store_meta).values(probed_at=self._clock()))

    async def _drop_connection(self) -> None:
        """Give the connection up: closing it rolls back, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                await connection.invalidate()
            with contextlib.suppress(*DRIVER_ERRORS):
                await connection.close()

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._closed = True
        await self._probe.close()
        while self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _checkpoint(connection: Any) -> bool:
    """Write all that is in SQLite's log into the database's file; False when somebody is in the way of that."""
    async with connection.execute("PRAGMA wal_checkpoint(FULL)") as cursor:  # beside SQLAlchemy: in no transaction
        busy, logged, saved = await cursor.fetchone()
    return not busy and logged == saved


def _again(error: StoreError) -> StoreError:
    """An error of the group for one of its callers; an exception object belongs to one task."""
    return again(error) if isinstance(error, StoreUnavailableError) else StoreError(str(error))
