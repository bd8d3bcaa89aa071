"""Opening a database: an older one is migrated, a strange one refused in a sentence, and nothing is lost."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestration.store import migrate
from orchestration.store.errors import StoreOpenError, StoreUnavailableError
from orchestration.store.migrate import known_revisions
from orchestration.store.records import Deployment, Node, Pool
from orchestration.store.store import Store
from orchestration.store.tables import TABLES, metadata
from tests.support.disks import fill, small_disk
from tests.support.stores import add_pool, deployment, eventually, model, node, pool, sqlite_url


async def execute(store: Store, statement: str) -> None:
    async with store.database.engine.begin() as connection:
        await connection.execute(text(statement))


async def test_the_migrated_schema_is_that_of_the_tables(store: Store) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    async with store.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_installation_keeps_its_id(store: Store, other: Store) -> None:
    assert uuid.UUID(store.installation_id)
    assert other.installation_id == store.installation_id


async def test_a_database_of_the_first_release_is_migrated_with_what_is_in_it(url: str) -> None:
    registered = model(name="llama", backend="vllm", artifact_uri="meta/llama")
    unregistered = deployment("p", requested_engine="vllm", requested_inference_model="meta/llama")
    follows = deployment("p", model_id=registered.id)
    chose = deployment("p", model_id=registered.id, engine="sglang", requested_engine="sglang")
    made = pool(), registered, unregistered, follows, chose
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    engine = create_async_engine(url)

    def first_release(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for record in made:
            columns = inspect(connection).get_columns(TABLES[type(record)].name)
            values = {column["name"]: getattr(record, column["name"]) for column in columns}
            connection.execute(insert(TABLES[type(record)]).values({**values, "revision": 1}))

    async with engine.begin() as connection:
        await connection.run_sync(first_release)
    await engine.dispose()
    async with await Store.open(url) as store:
        for record in (unregistered, follows, chose):
            assert store.index.get(Deployment, record.id) == dataclasses.replace(record, revision=1), (
                "a column that is new means something else than it should"
            )
        assert store.index.get(Pool, made[0].id) is not None


async def test_many_can_open_an_empty_database_at_once(url: str) -> None:
    stores = await asyncio.gather(*(Store.open(url) for _ in range(4)))
    try:
        assert len({store.installation_id for store in stores}) == 1
    finally:
        for store in stores:
            await store.close()


async def test_a_newer_schema_is_refused(store: Store, url: str) -> None:
    await execute(store, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreOpenError, match=f"has schema 9999, this version knows up to {known_revisions()[-1]}:"):
        await Store.open(url)
    with pytest.raises(StoreUnavailableError, match="9999"):
        await store.ping()


async def test_tables_of_another_program_are_refused(store: Store, url: str) -> None:
    await execute(store, "DROP TABLE alembic_version")
    with pytest.raises(StoreOpenError, match="another program"):
        await Store.open(url)


async def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    async with (
        await Store.open(sqlite_url(tmp_path / "store.db"), busy_timeout_s=3.0) as store,
        store.database.engine.connect() as one,
        store.database.engine.connect() as two,
    ):
        for connection in (one, two):
            found = {
                name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 3000}


async def test_the_database_itself_refuses_what_the_index_would(store: Store) -> None:
    """The constraints stand in the schema too, for whoever else writes to it."""
    one, two = await add_pool(store, name="one"), await add_pool(store, name="two")
    async with store.write(actor="test") as tx:
        await tx.insert(node(one.id))
    for statement in (
        f"UPDATE pools SET name = 'one' WHERE id = '{two.id}'",
        f"DELETE FROM pools WHERE id = '{one.id}'",
        "UPDATE store_meta SET id = 2",
    ):
        with pytest.raises(Exception, match=r"(?i)constraint|unique|foreign"):
            await execute(store, statement)


def _text_file(path: Path) -> None:
    path.write_text("this is no database " * 100)


def _damaged(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 100)
    connection.close()
    content = bytearray(path.read_bytes())
    content[20:4096] = os.urandom(4076)
    path.write_bytes(content)


def _no_folder(path: Path) -> None:
    path.parent.rmdir()


def _file_for_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (_text_file, "is not a SQLite database"),
        (_damaged, "damaged"),
        (Path.mkdir, "it is a folder"),
        (_no_folder, "does not exist"),
        (_file_for_folder, "is not a folder"),
    ],
)
async def test_a_file_that_cannot_be_used(tmp_path: Path, prepare: Callable[[Path], object], told: str) -> None:
    path = tmp_path / "data" / "store.db"
    path.parent.mkdir()
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreOpenError, match=told) as refused:
        await Store.open(sqlite_url(path))
    assert str(path) in str(refused.value)
    assert before is None or path.read_bytes() == before, "nothing is changed"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "no database URL"),
        ("mysql://host/name", "'mysql' is not supported"),
        ("sqlite+aiosqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////proc/store.db", "/proc"),
    ],
)
async def test_a_url_that_cannot_be_used(url: str, told: str) -> None:
    with pytest.raises((StoreOpenError, StoreUnavailableError), match=told):
        await Store.open(url)


async def test_a_postgresql_that_does_not_answer() -> None:
    with socket.socket() as taken:  # nobody listens there, and nobody else can
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1") as refused:
            await Store.open(f"postgresql://me:secret@127.0.0.1:{taken.getsockname()[1]}/db", busy_timeout_s=1.0)
    assert refused.value.reason == "DATABASE_UNREACHABLE"
    assert "secret" not in str(refused.value)


async def test_a_database_that_another_program_holds(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with await Store.open(sqlite_url(path), busy_timeout_s=1.0) as store:
        parent = await add_pool(store)
        holder = sqlite3.connect(path, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            begin = time.monotonic()
            results = await asyncio.gather(*(add_pool(store) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(e, StoreUnavailableError) and e.reason == "DATABASE_LOCKED" for e in results)
            assert time.monotonic() - begin < 20 * 1.0, "callers wait together, not one after the other"
            await store.ping()
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        added = await add_pool(store)
        assert store.index.all(Pool) == [parent, added]


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A file system of four megabytes."""
    with small_disk(tmp_path / "disk", 4) as folder:
        yield folder


async def test_a_full_disk_loses_nothing(disk: Path) -> None:
    url = sqlite_url(disk / "store.db")
    filler = disk / "filler"
    async with await Store.open(url) as store:
        kept = [await add_pool(store)]
        fill(filler)
        refused: StoreUnavailableError | None = None
        while refused is None:
            try:
                kept.append(await add_pool(store, scheduling_policy_json="x" * 2000))
            except StoreUnavailableError as error:
                refused = error
        assert refused.reason == "DISK_FULL"
        assert store.index.all(Pool) == kept
        assert store.write_failure is not None
        filler.unlink()
        kept.append(await add_pool(store))
        assert store.write_failure is None
    async with await Store.open(url) as reopened:
        assert reopened.index.all(Pool) == kept


async def test_a_connection_that_breaks_is_replaced(store: Store, url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("a SQLite file has no connection that could break")
    first = await add_pool(store)
    async with await Store.open(url) as killer:
        await execute(
            killer,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        second = await add_pool(store)  # nothing was done on the lost connection: the write is begun on a new one
        await store.ping()
        third = await add_pool(killer)
        await eventually(lambda: store.index.get(Pool, third.id) == third)
    assert store.index.all(Pool) == [first, second, third]


async def test_ten_thousand_of_each_are_there_when_opened_again(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "store.db")
    async with await Store.open(url) as store:
        parent = await add_pool(store)
        async with store.write(actor="test") as tx:
            for number in range(10_000):
                run = deployment(parent.id, configuration={"args": ["--tensor-parallel-size", "2"]}, env={"A": "b"})
                await tx.insert(dataclasses.replace(run, id=f"d{number:05}"))
                await tx.insert(node(parent.id, id=f"n{number:05}", telemetry={"load": 0.5}))
    async with await Store.open(url) as reopened:
        assert len(reopened.index.all(Deployment)) == len(reopened.index.all(Node)) == 10_000
