"""Notices what other processes commit to the same database, and brings the index up to it.

SQLite's log is looked at in short intervals, and when it may have grown, the database is asked for its data version,
which is a number in shared memory. PostgreSQL tells by NOTIFY;
it is asked all the same, more slowly, because a connection that listens can be lost unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestration.store.catchup import read_changes
from orchestration.store.database import DRIVER_ERRORS, Database, translate
from orchestration.store.flush import NOTIFY_CHANNEL
from orchestration.store.index import Index
from orchestration.store.liveness import LIVENESS_FIELDS, possible_heartbeat, with_liveness
from orchestration.store.logwatch import LogWatch
from orchestration.store.records import Node
from orchestration.store.tables import nodes, store_meta

logger = logging.getLogger(__name__)

SQLITE_POLL_S = 0.05
POSTGRESQL_POLL_S = 1.0
LIVENESS_POLL_S = 1.0
_RETRY_S = 1.0
_BATCH = 500  # ids in one query; SQLite allows 999 parameters in its oldest builds
_SIGHTS = select(
    nodes.c.id,
    nodes.c.revision,
    nodes.c.incarnation,
    nodes.c.sequence,
    nodes.c.last_heartbeat_at,
)
_LIVENESS = select(nodes.c.id, *(nodes.c[name] for name in LIVENESS_FIELDS))


class _Sight(NamedTuple):
    """What a node's row held when it was looked at."""

    revision: int
    incarnation: int
    sequence: int
    heard_at: float
    """By the clock of whoever heard it."""

    def is_heartbeat_after(self, before: _Sight) -> bool:
        """Whether a heartbeat came between; a change of the node writes the time of the last one again."""
        if (self.incarnation, self.sequence) != (before.incarnation, before.sequence):
            return (self.incarnation, self.sequence) > (before.incarnation, before.sequence)
        return self.revision == before.revision and self.heard_at != before.heard_at


class Follower:
    """Follows one database."""

    def __init__(self, database: Database, index: Index, clock: Callable[[], float]) -> None:
        self._database = database
        self._index = index
        self._clock = clock
        self._notified = asyncio.Event()
        self._version: int | None = None
        self._seen: dict[str, _Sight] = {}
        """By node, what its row held at the last look at heartbeats."""
        self._unread_beats = True
        self._next_liveness = 0.0
        self._failing = False
        self._log = None if database.files is None else LogWatch(database.files.log_path)

    async def run(self) -> None:
        """Follow for ever, over lost connections."""
        while True:
            try:
                async with self._database.connect() as connection:
                    await self._follow(connection)
            except Exception as error:  # whatever it is, nobody else would begin again
                self._tell(error)
            await asyncio.sleep(_RETRY_S)

    def _tell(self, error: Exception) -> None:
        """Say once for each outage that nothing can be read."""
        if not self._failing:
            unknown = not isinstance(error, DRIVER_ERRORS)
            logger.warning("changes of other processes cannot be read now: %s", error, exc_info=unknown)
        self._failing = True

    async def _follow(self, connection: AsyncConnection) -> None:
        async with contextlib.AsyncExitStack() as stack:
            is_lost: Callable[[], bool] | None = None
            if not self._database.is_sqlite:
                is_lost = await stack.enter_async_context(self._listening(connection))
            self._version = None
            epoch = self._database.epoch
            while not (epoch != self._database.epoch or (is_lost is not None and is_lost())):
                if await self._changed(connection):
                    self._unread_beats = True
                    await self.catch_up()
                if self._unread_beats and asyncio.get_running_loop().time() >= self._next_liveness:
                    await self.read_liveness()
                if self._failing:
                    logger.warning("changes of other processes are read again")
                    self._failing = False
                await self._pause()

    @contextlib.asynccontextmanager
    async def _listening(self, connection: AsyncConnection) -> AsyncGenerator[Callable[[], bool]]:
        """Be woken by notifications; yields a function that tells when the connection is lost."""
        raw = (await connection.get_raw_connection()).driver_connection
        if raw is None:
            raise ConnectionError("the connection was lost before it could listen")

        def wake(*_: object) -> None:
            self._notified.set()

        await raw.add_listener(NOTIFY_CHANNEL, wake)
        try:
            yield raw.is_closed
        finally:
            await raw.remove_listener(NOTIFY_CHANNEL, wake)

    async def _pause(self) -> None:
        timeout = SQLITE_POLL_S if self._database.is_sqlite else POSTGRESQL_POLL_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):  # wait_for of Python 3.11 can lose a cancellation
                await self._notified.wait()
        self._notified.clear()

    async def _changed(self, connection: AsyncConnection) -> bool:
        """Whether anybody, this process too, has committed since the last look."""
        if not self._database.is_sqlite:
            return True
        if self._log is not None and self._version is not None and not self._log.may_have_changed():
            return False
        # Asked of the driver itself, which is one step of its thread; a transaction around it would be five.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        try:
            rows: list[tuple[int]] = await driver.execute_fetchall("PRAGMA data_version")
        except Exception as error:
            await connection.invalidate()  # nobody else sees that it is dead, and it would be handed out again
            raise translate(error) from error
        version = rows[0][0]
        changed, self._version = version != self._version, version
        return changed

    async def catch_up(self) -> None:
        """Bring the index up to the database."""
        async with self._database.snapshot() as snapshot:
            revision = (await snapshot.execute(select(store_meta.c.revision))).scalar_one()
            if revision > self._index.revision:
                self._index.apply(*await read_changes(snapshot, self._index.revision, self._index))

    async def read_liveness(self) -> None:
        """Show the heartbeats that other processes took.

        When they say that was counts for little: their clocks may differ from this one's. What a row held at the last
        look tells whether a heartbeat came since, and that one is of now.
        """
        self._unread_beats = False
        self._next_liveness = asyncio.get_running_loop().time() + LIVENESS_POLL_S
        async with self._database.snapshot() as snapshot:
            rows = (await snapshot.execute(_SIGHTS)).all()
            seen = {row.id: _Sight(*row[1:]) for row in rows}
            changed = [id_ for id_, sight in seen.items() if self._is_news(id_, sight)]
            liveness: dict[str, dict[str, Any]] = {}
            for start in range(0, len(changed), _BATCH):
                found = await snapshot.execute(_LIVENESS.where(nodes.c.id.in_(changed[start : start + _BATCH])))
                liveness |= {row["id"]: dict(row) for row in found.mappings()}
        before, self._seen = self._seen, seen
        for id_, values in liveness.items():
            self._show(id_, values, seen[id_], before.get(id_))

    def _is_news(self, id_: str, sight: _Sight) -> bool:
        """Whether a row has changed, and not by what the index shows already (this process's own writes, mostly)."""
        if sight == self._seen.get(id_):
            return False
        known = self._index.get(Node, id_)
        return known is not None and (known.sequence, known.last_heartbeat_at) != (sight.sequence, sight.heard_at)

    def _show(self, id_: str, values: dict[str, Any], sight: _Sight, before: _Sight | None) -> None:
        known = self._index.get(Node, id_)
        if known is None or known.incarnation != sight.incarnation:
            return  # changed meanwhile; what the index shows is newer
        now = self._clock()
        if before is None:  # at the first look a row may be older than what the index shows
            heard = (sight.sequence, sight.heard_at) > (known.sequence, known.last_heartbeat_at)
        else:
            heard = sight.is_heartbeat_after(before) and sight.sequence >= known.sequence
        heard_at = now if heard else possible_heartbeat(sight.heard_at, now)
        shown_at = possible_heartbeat(known.last_heartbeat_at, now)
        if shown_at == known.last_heartbeat_at >= heard_at:
            return
        is_newer = (sight.sequence, sight.heard_at) >= (known.sequence, known.last_heartbeat_at)
        told = {name: values[name] for name in LIVENESS_FIELDS} if is_newer else {}
        self._index.replace_liveness(with_liveness(known, told | {"last_heartbeat_at": max(shown_at, heard_at)}))
