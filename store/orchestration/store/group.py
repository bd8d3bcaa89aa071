"""The transactions that share a commit."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import CursorResult, Executable, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from orchestration.store.database import DRIVER_ERRORS, settle, translate
from orchestration.store.errors import StoreError
from orchestration.store.index import Index
from orchestration.store.pending import Pending


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

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.pending or self.written)

    def next_revision(self) -> int:
        """A revision above every one given out before."""
        self.revision += 1
        return self.revision

    async def run(self, statement: Executable, parameters: dict[str, Any]) -> list[RowMapping]:
        """Run a statement inside the database's transaction. When it fails, so does the whole group."""
        self.written = self.written or not statement.is_select
        result = await settle(self._execute(statement, parameters))
        return list(result.mappings().all()) if result.returns_rows else []

    async def _execute(self, statement: Executable, parameters: dict[str, Any]) -> CursorResult[Any]:
        try:
            return await self.connection.execute(statement, parameters)
        except DRIVER_ERRORS as error:
            self.error = translate(error)  # noted here: a caller who was cancelled meanwhile does not hear of it
            raise self.error from error


class Seat:
    """A caller's place in the writer's queue."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.turn: asyncio.Future[CommitGroup] = loop.create_future()
        self.finished: asyncio.Future[None] = loop.create_future()
