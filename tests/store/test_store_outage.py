# pyright: reportPrivateUsage=false
"""A database that is locked, slow, frozen or gone: callers hear of it in time, and all resumes by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store.errors import LeaseLostError, StoreUnavailableError
from orchestration.store.flush import flush
from orchestration.store.group import CommitGroup
from orchestration.store.leases import LeaseManager
from orchestration.store.outage import Probe, WriteHealth
from orchestration.store.records import Node, Pool
from orchestration.store.store import Store
from tests.support.stores import FakeClock, add_pool, eventually, node, sqlite_url

BUSY_S = 1.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def kept(path: Path) -> AsyncGenerator[Store]:
    """A store whose writes wait one second for another process."""
    async with await Store.open(sqlite_url(path), busy_timeout_s=BUSY_S) as opened:
        yield opened


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the write lock as another process would."""
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")
    finally:
        holder.close()


async def refused(store: Store) -> StoreUnavailableError:
    """The error that a write meets now."""
    with pytest.raises(StoreUnavailableError) as caught:
        await add_pool(store)
    return caught.value


def found(path: Path) -> bool:
    return path.exists()


def contents(path: Path) -> bytes:
    return path.read_bytes()


def heard_at(store: Store, one: Node) -> float:
    known = store.index.get(Node, one.id)
    assert known is not None
    return known.last_heartbeat_at


async def took(work: Awaitable[object]) -> float:
    begin = time.monotonic()
    await work
    return time.monotonic() - begin


async def test_a_locked_database_is_known_to_be_and_keeps_nobody_waiting(kept: Store, path: Path) -> None:
    first = await add_pool(kept)
    with locked(path):
        begin = time.monotonic()
        assert (await refused(kept)).reason == "DATABASE_LOCKED"
        assert BUSY_S <= time.monotonic() - begin < BUSY_S + 10
        failure = kept.write_failure
        assert failure is not None
        assert failure.reason == "DATABASE_LOCKED"
        errors = await asyncio.gather(*(refused(kept) for _ in range(200)))
        assert {error.reason for error in errors} == {"DATABASE_LOCKED"}
        seconds = [await took(refused(kept)) for _ in range(3)]
        assert min(seconds) < 0.9 * BUSY_S, "the next ones waited for the database again"
        assert len(kept._writer._queue) <= 1, "only the probe waits"
        failure = kept.write_failure
        assert failure is not None
        assert failure.for_s > 1.0, "the outage begins with its first failure"
    await eventually(lambda: kept.write_failure is None)
    second = await add_pool(kept)
    assert kept.index.all(Pool) == [first, second]


async def test_a_caller_finds_out_at_once_that_the_lock_is_gone(kept: Store, path: Path) -> None:
    with locked(path):
        await refused(kept)
    added = await add_pool(kept)
    assert kept.index.all(Pool) == [added]


async def test_recovery_is_told_once(kept: Store, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    kept.on_recovery(lambda: told.append("recovered"))
    with caplog.at_level(logging.WARNING, logger="orchestration.store"):
        with locked(path):
            await refused(kept)
            await refused(kept)
        await eventually(lambda: told == ["recovered"])
        await add_pool(kept)
    assert told == ["recovered"]
    assert caplog.text.count("takes no writes") == caplog.text.count("takes writes again") == 1


async def test_heartbeats_are_kept_while_the_database_is_locked(
    kept: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent = await add_pool(kept)
    async with kept.write(actor="test") as tx:
        one = await tx.insert(node(parent.id))
    with locked(path), caplog.at_level(logging.WARNING, logger="orchestration.store.beats"):
        for second in range(1, 4):
            kept.beat(one.id, last_heartbeat_at=float(second))
            with pytest.raises(StoreUnavailableError):
                await kept.flush_beats()
        assert heard_at(kept, one) == 3.0
        await eventually(lambda: "kept and written later" in caplog.text)
        await asyncio.sleep(2.5)
        assert caplog.text.count("kept and written later") == 1, "once for each outage"
    await eventually(lambda: kept.write_failure is None)
    await kept.flush_beats()
    async with await Store.open(sqlite_url(path)) as reopened:
        assert heard_at(reopened, one) == 3.0


@contextlib.contextmanager
def slow_commits(monkeypatch: pytest.MonkeyPatch, pause: Callable[[], Awaitable[object]]) -> Generator[None]:
    """Make every commit that writes something wait, as on a disk that is busy."""

    async def slow(*arguments: Any, **options: Any) -> object:
        result = await flush(*arguments, **options)
        await pause()
        return result

    with monkeypatch.context() as patch:
        patch.setattr("orchestration.store.writer.flush", slow)
        yield


async def test_a_slow_database_keeps_no_caller_beyond_its_deadline(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = asyncio.Event()
    with slow_commits(monkeypatch, done.wait):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await add_pool(kept)
        assert kept.index.all(Pool) == []
        done.set()
        await eventually(lambda: len(kept.index.all(Pool)) == 1)  # it was under way, and is applied all the same


async def test_a_slow_database_lets_no_queue_grow(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    began, done = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        began.set()
        await done.wait()

    with slow_commits(monkeypatch, pause):
        first = asyncio.create_task(add_pool(kept))
        await began.wait()
        errors = await asyncio.gather(*(refused(kept) for _ in range(500)))
        seconds = [await took(refused(kept)) for _ in range(3)]
        waiting, under_way = len(kept._writer._queue), not first.done()
        done.set()
        await first
    assert {error.reason for error in errors} == {"DATABASE_SLOW"}
    assert min(seconds) < 0.9 * BUSY_S, "the next ones waited as well"
    assert waiting <= 1, "only the probe waits"
    assert under_way
    await eventually(lambda: kept.write_failure is None)
    await add_pool(kept)
    assert len(kept.index.all(Pool)) == 2, "those that were refused were not applied"


async def test_more_than_a_bound_do_not_wait(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.store.writer.MAX_WAITING", 3)
    results = await asyncio.gather(*(add_pool(kept) for _ in range(5)), return_exceptions=True)
    assert [getattr(result, "reason", "") for result in results] == ["", "", "", "DATABASE_SLOW", "DATABASE_SLOW"]
    assert kept.write_failure is None, "the database itself is well"


async def test_a_renewal_slower_than_its_lease_ends_the_work(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease runs from before the commit: when that took longer, nobody here holds it to be his."""
    manager = LeaseManager(kept, clock=time.time)
    (lease,) = await manager.acquire(["work"], "me", 60.0)
    with slow_commits(monkeypatch, lambda: asyncio.sleep(1.5)):
        (renewed,) = await manager.renew([lease], 1.0)
    assert renewed.expires_at < time.time()
    with pytest.raises(LeaseLostError):
        async with kept.write(actor="test") as tx:
            await tx.check_lease(renewed)


async def test_a_moved_file_takes_no_writes_until_it_is_back(kept: Store, path: Path, tmp_path: Path) -> None:
    first = await add_pool(kept)
    aside = tmp_path / "aside.db"
    shutil.move(path, aside)
    error = await refused(kept)
    assert error.reason == "DATABASE_GONE"
    assert str(path) in str(error)
    assert "not there any more" in str(error)
    # More than there are connections, so that new ones are made.
    await asyncio.gather(*(kept.ping(timeout_s=5.0) for _ in range(12)), return_exceptions=True)
    assert not found(path), "a new database was made in its place"
    assert (await refused(kept)).reason == "DATABASE_GONE"
    shutil.move(aside, path)
    await eventually(lambda: kept.write_failure is None)
    second = await add_pool(kept)
    async with await Store.open(sqlite_url(path)) as reopened:
        assert reopened.index.all(Pool) == kept.index.all(Pool) == [first, second]


async def test_a_file_that_was_replaced_is_not_written(kept: Store, path: Path, tmp_path: Path) -> None:
    await add_pool(kept)
    async with await Store.open(sqlite_url(tmp_path / "other.db")) as other:
        await add_pool(other)
    replacement = tmp_path / "replacement.db"
    shutil.copy(tmp_path / "other.db", replacement)
    shutil.move(replacement, path)
    before = contents(path)
    error = await refused(kept)
    assert error.reason == "DATABASE_GONE"
    assert "replaced" in str(error)
    assert contents(path) == before


async def test_a_file_that_goes_during_the_commit_is_no_success(
    kept: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = False

    async def move() -> None:
        nonlocal moved
        if not moved:
            moved = True
            shutil.move(path, path.with_name("aside.db"))

    with slow_commits(monkeypatch, move):
        assert (await refused(kept)).reason == "DATABASE_GONE"
    assert kept.index.all(Pool) == []
    path.with_name("aside.db").rename(path)
    await add_pool(kept)


@pytest.mark.parametrize("replace", [False, True])
async def test_a_log_that_is_removed_is_saved_and_made_anew(kept: Store, path: Path, *, replace: bool) -> None:
    log = path.with_name(path.name + "-wal")
    first = [await add_pool(kept) for _ in range(3)]
    log.unlink()
    if replace:
        log.write_bytes(b"something else")
    second = await add_pool(kept)
    assert log.exists()
    third = await add_pool(kept)
    await eventually(lambda: kept.write_failure is None)
    copy = path.with_name("copy.db")  # what a process finds that comes after a SIGKILL
    shutil.copy(path, copy)
    shutil.copy(log, copy.with_name(copy.name + "-wal"))
    async with await Store.open(sqlite_url(copy)) as reopened:
        assert reopened.index.all(Pool) == kept.index.all(Pool) == [*first, second, third]


async def test_a_log_is_not_made_anew_while_somebody_else_has_the_old_one(kept: Store, path: Path) -> None:
    """Two logs of one database at once would ruin it."""
    first = await add_pool(kept)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        assert other.execute("SELECT count(*) FROM pools").fetchone() == (1,)
        path.with_name(path.name + "-wal").unlink()
        for _ in range(10):
            assert (await refused(kept)).reason == "DATABASE_GONE"
            await asyncio.sleep(0.1)
        assert other.execute("SELECT count(*) FROM pools").fetchone() == (1,)
    finally:
        other.close()
    await eventually(lambda: kept.write_failure is None)
    second = await add_pool(kept)
    assert kept.index.all(Pool) == [first, second]


async def test_a_log_that_two_have_open_is_made_anew_by_both(kept: Store, path: Path) -> None:
    async with await Store.open(sqlite_url(path), busy_timeout_s=BUSY_S) as other:
        first = await add_pool(kept)
        await add_pool(other)
        path.with_name(path.name + "-wal").unlink()

        async def add(store: Store) -> Pool:
            while True:
                with contextlib.suppress(StoreUnavailableError):
                    return await add_pool(store)
                await asyncio.sleep(0.05)

        async with asyncio.timeout(20):
            added = [first, *await asyncio.gather(add(kept), add(other))]
            await add(kept)
            await add(other)
        await eventually(lambda: len(other.index.all(Pool)) == len(kept.index.all(Pool)) == 6)
        assert {pool.id for pool in added} <= {pool.id for pool in other.index.all(Pool)}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM pools").fetchone() == (6,)
    connection.close()


async def test_an_older_database_in_the_place_of_this_one(store: Store, url: str, clock: FakeClock) -> None:
    """A backup that is restored under a running gateway is not written with what the gateway knows."""
    await add_pool(store)
    async with store.database.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE store_meta SET revision = 0")
    error = await refused(store)
    assert error.reason == "DATABASE_GONE"
    assert "older" in str(error)


async def test_a_log_that_is_removed_while_the_writer_has_no_connection(kept: Store, path: Path) -> None:
    """As after a full disk, which costs the writer its connection."""
    first = await add_pool(kept)
    await kept._writer._drop_connection()
    path.with_name(path.name + "-wal").unlink()
    with contextlib.suppress(StoreUnavailableError):
        await add_pool(kept)
    await eventually(lambda: kept.write_failure is None, within_s=20)
    await add_pool(kept)
    assert first in kept.index.all(Pool)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM pools WHERE id = ?", (first.id,)).fetchone() == (1,)
    connection.close()


async def test_a_probe_outlives_what_it_did_not_expect(caplog: pytest.LogCaptureFixture) -> None:
    health = WriteHealth()
    tries = 0

    async def write() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("a defect")
        health.succeeded()

    probe = Probe(health, write)
    health.failed(StoreUnavailableError("DATABASE_LOCKED", "locked"), costly=True)
    probe.start()
    for _ in range(2):
        with contextlib.suppress(StoreUnavailableError):
            await health.admit()
    await eventually(lambda: health.failure is None)
    await health.admit()
    await probe.close()
    assert "a defect" in caplog.text


async def test_a_listener_that_fails_keeps_nobody_from_hearing_of_the_recovery(
    kept: Store, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def broken() -> None:
        raise RuntimeError("a defect")

    kept._writer.health.on_recovery(broken)
    kept._writer.health.on_recovery(lambda: told.append("recovered"))
    kept._writer.health.failed(StoreUnavailableError("DATABASE_LOCKED", "locked"), costly=False)
    await add_pool(kept)
    assert told == ["recovered"]
    assert "a defect" in caplog.text
    await add_pool(kept)


async def test_a_statement_that_failed_for_a_caller_who_is_gone_fails_its_group(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL nothing that came after could be committed; a group that goes on would do all of it in vain."""
    begun, cancelled = asyncio.Event(), asyncio.Event()
    original = AsyncConnection.execute
    groups: list[CommitGroup] = []

    async def execute(self: AsyncConnection, statement: Any, *arguments: Any, **options: Any) -> Any:
        if "nowhere" in str(statement):
            begun.set()
            await cancelled.wait()
        return await original(self, statement, *arguments, **options)

    async def fail() -> None:
        async with store.write(actor="test") as tx:
            groups.append(cast("CommitGroup", tx._group))
            await tx.run(text("SELECT nowhere"))

    monkeypatch.setattr(AsyncConnection, "execute", execute)
    failing = asyncio.create_task(fail())
    await begun.wait()
    failing.cancel()
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await failing
    assert groups[0].error is not None
    await add_pool(store)


async def test_connections_that_died_unseen_are_made_anew(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "store.db")
    async with await Store.open(url) as store, await Store.open(url) as other:
        first = await add_pool(other)
        await eventually(lambda: store.index.get(Pool, first.id) == first)
        for connection in list(store.database.open_connections):
            await connection.close()
        second = await add_pool(other)
        await eventually(lambda: store.index.get(Pool, second.id) == second, within_s=20)
