"""Runs the write transactions of this process one after the other, many to a commit.

A commit costs a wait for the disk. Callers that come while one is under way queue up, and then share the next: the turn
goes from one to the next, each works in memory on top of those before it, one that fails leaves nothing behind, and
when nobody waits any more (or a bound is reached) all of it is written and committed at once. Each caller returns after
that commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from sqlalchemy import Executable, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from orchestration.store.catchup import read_changes
from orchestration.store.database import DRIVER_ERRORS, Database, settle, translate
from orchestration.store.errors import StoreError, StoreUnavailableError
from orchestration.store.flush import flush
from orchestration.store.index import Index
from orchestration.store.pending import Pending
from orchestration.store.tables import store_meta
from orchestration.store.transaction import Transaction

logger = logging.getLogger(__name__)

MAX_GROUP = 64
"""Transactions that share a commit at most."""
MAX_GROUP_AGE_S = 0.005
"""How long a group takes new transactions, so that the first does not wait for ever on those behind it."""
LONG_TRANSACTION_S = 1.0
"""A transaction open for longer is told of in the log: everybody else waits for it."""


class CommitGroup:
    """The transactions of one commit."""

    def __init__(self, connection: AsyncConnection, transaction: AsyncTransaction, index: Index) -> None:
        self.connection = connection
        self.transaction = transaction
        self.index = index
        self.pending = Pending()
        self.written = False
        """Whether there is something to commit beside what is pending."""
        self.revision = index.revision
        self.error: StoreError | None = None
        """Why the database's transaction cannot be committed any more."""
        self.outcome: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        """Set after the commit, and when the index shows it; None: all is on disk."""

    def next_revision(self) -> int:
        """A revision above every one given out before."""
        self.revision += 1
        return self.revision

    async def run(self, statement: Executable, parameters: dict[str, Any]) -> list[RowMapping]:
        """Run a statement inside the database's transaction. When it fails, so does the whole group."""
        self.written = self.written or not statement.is_select
        try:
            result = await settle(self.connection.execute(statement, parameters))
        except DRIVER_ERRORS as error:
            self.error = translate(error)
            raise self.error from error
        return list(result.mappings().all()) if result.returns_rows else []


class _Seat:
    """A caller's place in the queue."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.turn: asyncio.Future[CommitGroup] = loop.create_future()
        self.finished: asyncio.Future[None] = loop.create_future()


class Writer:
    """The only one in this process who writes to the database."""

    def __init__(self, database: Database, index: Index, clock: Callable[[], float]) -> None:
        self._database = database
        self._index = index
        self._clock = clock
        self._queue: deque[_Seat] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._holder: asyncio.Task[Any] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def write(self, *, actor: str) -> AsyncGenerator[Transaction]:
        """A transaction; see ``Store.write``."""
        if self._holder is not None and self._holder is asyncio.current_task():
            raise StoreError("a write transaction is open in this task already: it would wait for itself")
        seat = self._queue_up()
        try:
            group = await seat.turn
            transaction = Transaction(group, actor=actor, clock=self._clock)
            with self._holding(transaction, actor):
                yield transaction
            group.pending.absorb(transaction.pending)
        finally:
            # Also when the turn came in the same moment as a cancellation: nobody else would hand it on.
            if not seat.finished.done():
                seat.finished.set_result(None)
        error = await settle(group.outcome)
        if error is not None:
            raise _again(error) from error

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

    def _queue_up(self) -> _Seat:
        if self._closed:
            raise StoreError("the store is closed")
        seat = _Seat()
        self._queue.append(seat)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="store writer")
        return seat

    async def _run(self) -> None:
        while self._queue:
            try:
                group = await self._begin()
            except StoreError as error:
                self._refuse_all(error)
                continue
            outcome: StoreError | None = StoreError("the process ended before the change was written")
            try:
                await self._hand_out_turns(group)
                outcome = await self._finish(group)
            finally:
                group.outcome.set_result(outcome)

    def _refuse_all(self, error: StoreError) -> None:
        """Everybody who waits has waited for the same database; none should wait for it again."""
        while self._queue:
            seat = self._queue.popleft()
            if not seat.turn.done():
                seat.turn.set_exception(_again(error))

    async def _hand_out_turns(self, group: CommitGroup) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_GROUP_AGE_S
        for _ in range(MAX_GROUP):
            while self._queue and self._queue[0].turn.done():
                self._queue.popleft()  # cancelled while it waited
            if not self._queue or group.error is not None or loop.time() > deadline:
                return
            seat = self._queue.popleft()
            seat.turn.set_result(group)
            await seat.finished

    async def _begin(self) -> CommitGroup:
        try:
            if self._connection is None:
                self._connection = await self._database.connect_writer()
            transaction = await self._connection.begin()
            # On PostgreSQL this row is the write lock; SQLite has it since BEGIN IMMEDIATE.
            statement = select(store_meta.c.revision).with_for_update()
            revision = (await self._connection.execute(statement)).scalar_one()
            if revision != self._index.revision:
                self._index.apply(*await read_changes(self._connection, self._index.revision, self._index))
            return CommitGroup(self._connection, transaction, self._index)
        except DRIVER_ERRORS as error:
            await self._drop_connection()
            raise translate(error) from error

    async def _finish(self, group: CommitGroup) -> StoreError | None:
        """Commit, and show it in the index; returns why that failed."""
        try:
            if group.error is not None or not (group.pending or group.written):
                await group.transaction.rollback()
                return group.error
            changes = await flush(group.connection, group.pending, revision=group.revision, at=self._clock())
            await group.transaction.commit()
        except (*DRIVER_ERRORS, StoreError) as error:
            logger.warning("a commit of the store failed: %s", error)
            await self._drop_connection()
            return translate(error)
        except Exception:
            # A defect, of a record's contents perhaps: its callers must hear of it rather than wait for ever.
            logger.exception("a commit of the store failed")
            await self._drop_connection()
            return StoreError("the change could not be written: see the log")
        records = {(cls.kind, id_): row for (cls, id_), row in group.pending.records.items() if row is not None}
        self._index.apply(changes, records, group.revision if changes else self._index.revision)
        return None

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
        while self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _again(error: StoreError) -> StoreError:
    """An error of the group for one of its callers; an exception object belongs to one task."""
    if isinstance(error, StoreUnavailableError):
        return StoreUnavailableError(error.reason, str(error))
    return StoreError(str(error))
