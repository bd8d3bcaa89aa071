"""Opens a database: looks at what is there, migrates it, and reads it into an index."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import uuid
from pathlib import Path

from sqlalchemy import insert, select

from orchestration.store import catchup
from orchestration.store.database import DRIVER_ERRORS, Database, translate
from orchestration.store.errors import StoreOpenError, StoreUnavailableError
from orchestration.store.index import Index
from orchestration.store.migrate import migrate
from orchestration.store.tables import store_meta

_NOT_OURS = "file is not a database"
_DAMAGED = "malformed"
_NO_FILE = "unable to open database file"


async def open_database(database: Database, index: Index) -> str:
    """Migrate the database, fill the index, and return the installation id.

    Raises StoreOpenError when it cannot be opened as it is, StoreUnavailableError when trying again may help.
    """
    try:
        if database.is_sqlite:
            await asyncio.to_thread(_check_file, Path(database.name), database.busy_timeout_s)
        connection = await database.connect_writer()
        try:
            async with connection.begin():
                await connection.run_sync(migrate, database.name)
                found = await connection.execute(select(store_meta.c.installation_id))
                installation_id: str | None = found.scalar_one_or_none()
                if installation_id is None:
                    installation_id = str(uuid.uuid4())
                    row = {"id": 1, "installation_id": installation_id, "revision": 0, "trimmed_revision": 0}
                    await connection.execute(insert(store_meta), row)
        finally:
            await connection.close()
        async with database.snapshot() as snapshot:
            await catchup.load(snapshot, index)
    except DRIVER_ERRORS as error:
        raise _told(database, error) from error
    return installation_id


def _told(database: Database, error: BaseException) -> Exception:
    """What an operator has to repair is told apart from what may pass."""
    if isinstance(error, StoreOpenError):
        return error
    cause = getattr(error, "orig", error)
    told = str(cause)
    if _NOT_OURS in told:
        return StoreOpenError(
            f"database {database.name} is not a SQLite database, or it is damaged; nothing was changed"
        )
    if _DAMAGED in told:
        return StoreOpenError(f"database {database.name} is damaged ({told}): restore the backup; nothing was changed")
    if _NO_FILE in told:
        return StoreOpenError(f"database {database.name} cannot be opened: SQLite can make no file there")
    known = translate(error)
    if isinstance(known, StoreUnavailableError):
        if known.reason == "DATABASE_READ_ONLY":
            return StoreOpenError(f"database {database.name} cannot be written: {cause}")
        return StoreUnavailableError(known.reason, f"database {database.name}: {known}")
    return StoreOpenError(f"database {database.name} cannot be opened: {known}")


def _check_file(path: Path, busy_timeout_s: float) -> None:
    """Raise StoreOpenError or an error of SQLite when there is no usable database at this path, and cannot be one."""
    folder = path.absolute().parent
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StoreOpenError(f"database {path} cannot be opened: the folder {folder} {what}")
    if path.is_dir():
        raise StoreOpenError(f"database {path} cannot be opened: it is a folder, give the path of a file in it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreOpenError(f"database {path} cannot be opened: the folder {folder} cannot be written by this user")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise StoreOpenError(f"database {path} cannot be opened: this user may not read and write the file")
    with contextlib.closing(sqlite3.connect(path, timeout=busy_timeout_s)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
