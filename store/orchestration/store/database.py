"""Engine, connection settings, and the driver's errors in the store's words."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Generator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import Pool
from sqlalchemy.util import greenlet_spawn

from orchestration.store.errors import StoreError, StoreOpenError, StoreUnavailableError
from orchestration.store.files import SqliteFiles

T = TypeVar("T")

_DRIVERS = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}
_FULL = ("disk is full", "No space left", "could not extend file", "file too large")
_LOCKED = ("locked", "lock timeout", "canceling statement due to lock")
_READ_ONLY = ("readonly", "read-only")
_STATEMENT_TIMEOUT_S = 20.0
"""A PostgreSQL that has not answered a statement for so long is given up, and connected to anew."""

_CLOSED_LOOK_S = 0.01


class Database:
    """One database: where it is and how to speak to it."""

    def __init__(self, url: str, *, busy_timeout_s: float) -> None:
        self.url = _checked_url(url)
        self.busy_timeout_s = busy_timeout_s
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.files = SqliteFiles(Path(self.url.database or "")) if self.is_sqlite else None
        self.epoch = 0
        """Grows when every connection is to be given up and made anew."""
        self._given_up: list[Pool] = []
        """Pools that may still have connections."""
        self.open_connections: list[Any] = []
        """Of SQLite, the driver's connections, in use or not; a log that was removed can be saved through any."""
        self.engine = self._create_engine()

    @property
    def name(self) -> str:
        """The database as an operator knows it: a file's path, or the URL without its password."""
        return self.url.database or "" if self.is_sqlite else self.url.render_as_string(hide_password=True)

    def _create_engine(self) -> AsyncEngine:
        if self.files is not None:
            options = {"timeout": self.busy_timeout_s, "uri": True}
            engine = create_async_engine(self.url, connect_args=options, pool_size=5)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
            _watch_files(engine, self.files, self.open_connections)
            return engine
        timeout_ms = str(max(1, int(self.busy_timeout_s * 1000)))
        arguments: dict[str, Any] = {
            "timeout": self.busy_timeout_s,
            "command_timeout": max(_STATEMENT_TIMEOUT_S, 2 * self.busy_timeout_s),
            "server_settings": {
                "lock_timeout": timeout_ms,
                # Of a process that was stopped, or cut off, within its transaction: it would hold the write lock on.
                "idle_in_transaction_session_timeout": timeout_ms,
                "application_name": "orchestration",
            },
        }
        return create_async_engine(self.url, connect_args=arguments, pool_size=5, pool_pre_ping=True)

    def check_files(self) -> None:
        """Raise StoreUnavailableError (DATABASE_GONE) when the files are not those that are open; cheap."""
        if self.files is not None:
            self.files.check()

    async def connect_writer(self) -> AsyncConnection:
        """A connection whose transactions take the write lock when they begin."""
        connection = await self.engine.connect()
        return await connection.execution_options(orchestration_write=True)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncGenerator[AsyncConnection]:
        """A connection of the pool; one that was to be given up meanwhile does not go back into it."""
        epoch = self.epoch
        async with self.engine.connect() as connection:
            try:
                yield connection
            finally:
                if epoch != self.epoch:
                    await connection.invalidate()

    async def give_up_connections(self) -> None:
        """Close every connection of the pool, those that are in use as soon as they are not."""
        self.epoch += 1
        self._given_up.append(self.engine.sync_engine.pool)
        await self.engine.dispose()
        # What was taken from the old pool while it was being emptied must not go back into it: nobody would close it.
        self.epoch += 1

    async def closed(self) -> None:
        """Wait until no connection is open that was given up, for ever if need be.

        Some come back into a pool that was emptied: they were on their way there in that moment. (SQLite.)
        """
        while self.files is not None and self.files.is_open:
            for pool in self._given_up:
                await greenlet_spawn(pool.dispose)
            await asyncio.sleep(_CLOSED_LOOK_S)
        self._given_up.clear()

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[AsyncConnection]:
        """A short read transaction that sees one moment of the database."""
        async with self.connect() as connection:
            if not self.is_sqlite:
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                yield connection

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()
        if self.files is not None:
            self.files.close()


def _checked_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise StoreOpenError(
            f"{url!r} is no database URL: give sqlite+aiosqlite:///PATH or postgresql+asyncpg://HOST/NAME"
        ) from error
    backend = parsed.get_backend_name()
    driver = _DRIVERS.get(backend)
    if driver is None:
        raise StoreOpenError(f"database {backend!r} is not supported: give a sqlite or postgresql URL")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreOpenError("a SQLite database needs a file: give sqlite+aiosqlite:///PATH")
    return parsed.set(drivername=f"{backend}+{driver}")


def _watch_files(engine: AsyncEngine, files: SqliteFiles, connections: list[Any]) -> None:
    """Connect to the file that was opened first and to no other, and know which connections there are."""

    def before(_dialect: object, _record: object, arguments: list[Any], _options: dict[str, Any]) -> None:
        files.check()
        arguments[0] = files.uri

    def connected(connection: Any, record: object) -> None:
        _set_sqlite_pragmas(connection, record)
        files.connected()
        connections.append(connection.driver_connection)

    def closed(connection: Any, _record: object) -> None:
        files.closed()
        if connection.driver_connection in connections:
            connections.remove(connection.driver_connection)

    event.listen(engine.sync_engine, "do_connect", before)
    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine.pool, "close", closed)


def _set_sqlite_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1")  # opens the log
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("orchestration_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def translate(error: BaseException) -> StoreError:
    """What an error of the driver, the pool or the network means to a caller of the store."""
    if isinstance(error, StoreError):
        return error
    told = str(error.orig) if isinstance(error, exc.DBAPIError) else str(error) or type(error).__name__
    if isinstance(error, (exc.IntegrityError, exc.ProgrammingError, exc.DataError)) or _is_of_its_data(error):
        return StoreError(f"the database refused a statement: {told}")
    if any(word in told for word in _FULL) or getattr(error, "errno", None) == 28:
        return StoreUnavailableError("DISK_FULL", f"the disk of the database is full: {told}")
    if any(word in told for word in _LOCKED):
        return StoreUnavailableError("DATABASE_LOCKED", f"the database was locked for too long: {told}")
    if any(word in told for word in _READ_ONLY):
        return StoreUnavailableError("DATABASE_READ_ONLY", f"the database cannot be written: {told}")
    return StoreUnavailableError("DATABASE_UNREACHABLE", f"the database did not answer: {told}")


def _is_of_its_data(error: BaseException) -> bool:
    """Whether the statement's own values are wrong: the same again would fail again, and any other may succeed."""
    origin = error.orig if isinstance(error, exc.DBAPIError) else None
    # SQLSTATE class 22 is "data exception"; what asyncpg cannot encode, it does not send, and raises as a ValueError.
    state = getattr(origin, "sqlstate", None)
    return (isinstance(state, str) and state.startswith("22")) or isinstance(
        getattr(origin, "__cause__", None), ValueError
    )


DRIVER_ERRORS = (exc.SQLAlchemyError, sqlite3.Error, OSError, TimeoutError, StoreUnavailableError)
"""What drivers and the pool raise; asyncpg's own errors arrive wrapped, those of its connecting as OSError."""


@contextlib.contextmanager
def translated() -> Generator[None]:
    """Turn what the driver raises inside into the store's errors."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error) from error


async def settle(work: Awaitable[T]) -> T:
    """Await to the end what must not be torn apart half-way; a cancellation is raised after that."""
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            if future.cancelled():
                raise
            cancelled = error
        except Exception:
            break
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # looked at, so that the loop does not report it as forgotten
        raise cancelled
    return future.result()
