"""A watch that breaks anywhere, any number of times, tells everything and nothing twice."""

from __future__ import annotations

import asyncio
import base64
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from orchestration.service.errors import InvalidArgumentError, OrchestrationError, OutOfRangeError
from orchestration.service.usecases import watch_log
from orchestration.service.usecases.views import deployment_view
from orchestration.service.usecases.watch_log import WatchLog
from orchestration.service.usecases.watches import WatchUseCase
from orchestration.store import feed
from orchestration.store.records import Deployment, Replica, ReplicaState
from orchestration.store.store import Store
from orchestration.store.tables import changes
from orchestration.v1 import model_deployments_pb2 as pb
from tests.support.stores import deployment, replica, sqlite_url

Kind = pb.WatchDeploymentsResponse
SEEDS = range(8)
ROUNDS = 60


@dataclass
class Watcher:
    """A client that keeps a picture of what it was told, and goes on from its token after a break."""

    filters: dict[str, str]
    picture: dict[str, bytes] = field(default_factory=dict[str, bytes])
    token: str = ""
    told: int = 0
    connected: AsyncExitStack = field(default_factory=AsyncExitStack)
    stream: AsyncIterator[Any] | None = None
    broken: bool = False
    _following: asyncio.Future[Any] | None = None
    _last: dict[str, bytes] = field(default_factory=dict[str, bytes])

    async def connect(self, watches: WatchUseCase) -> None:
        request = pb.WatchDeploymentsRequest(**self.filters, resume_token=self.token)
        stream = watches.watch_deployments(request)
        self.stream = await self.connected.enter_async_context(aclosing(stream))
        self._last = {}

    async def disconnect(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        await self.connected.aclose()
        self.connected, self.stream = AsyncExitStack(), None

    async def lose_connection(self) -> None:
        self.broken = bool(self.token)
        if not self.token:
            self.picture.clear()  # it broke within the snapshot, which begins anew
        await self.disconnect()

    async def read(self, count: int) -> int:
        """Take in so many messages at most; how many came before there was nothing more to tell."""
        assert self.stream is not None
        for number in range(count):
            self._following = self._following or asyncio.ensure_future(anext(self.stream))
            for _ in range(50):  # all happens in this loop: what does not come now does not come
                await asyncio.sleep(0)
            if not self._following.done():
                return number
            following, self._following = self._following, None
            self.take(following.result())
        return count

    def take(self, message: pb.WatchDeploymentsResponse) -> None:
        self.told += 1
        id_ = message.deployment.deployment_id
        content = message.deployment.SerializeToString(deterministic=True)
        match message.type:
            case Kind.ADDED:
                assert id_ not in self.picture or self.broken, "one that is known was told as new"
                self.picture[id_] = content
            case Kind.MODIFIED:
                assert id_ in self.picture, "one that was never told has changed"
                self.picture[id_] = content
            case Kind.DELETED:
                assert id_ in self.picture or self.broken, "one that was never told has gone"
                self.picture.pop(id_, None)
            case _:
                assert message.type == Kind.SYNCED
        if id_:
            assert self._last.get(id_) != content or message.type == Kind.DELETED, "told twice in a row"
            self._last[id_] = content
        self.token = message.resume_token or self.token


class World:
    """Deployments of two tenants that change at random."""

    def __init__(self, seed: int, url: str) -> None:
        self.random = random.Random(seed)
        self.url = url
        self.store: Store = None  # type: ignore[assignment]
        self.other: Store = None  # type: ignore[assignment]
        self.gateways: list[WatchUseCase] = []

    async def start(self) -> None:
        """Two gateways; all changes are made by the first, and the second hears of them a little later."""
        self.store, self.other = await Store.open(self.url), await Store.open(self.url)
        self.gateways = [WatchUseCase(self.store), WatchUseCase(self.other)]

    async def close(self) -> None:
        await self.store.close()
        await self.other.close()

    async def restart(self) -> None:
        await self.close()
        await self.start()

    @property
    def watches(self) -> WatchUseCase:
        """Either gateway's."""
        return self.random.choice(self.gateways)

    async def change(self) -> None:
        """One transaction that makes, changes or deletes some."""
        async with self.store.write(actor="test") as tx:
            for _ in range(self.random.randint(1, 4)):
                known = await tx.select(Deployment)
                action = self.random.choice(("make", "change", "change", "touch", "replica", "replica", "purge"))
                if action == "make" or not known:
                    await tx.insert(deployment("p", org_id=self.random.choice(("acme", "zeta"))))
                    continue
                one = self.random.choice(known)
                replicas = await tx.select(Replica, deployment_id=one.id)
                if action == "change":
                    await tx.update(replace(one, version=one.version + 1))
                elif action == "touch":  # nothing that anybody can see
                    await tx.update(replace(one, observed_status=str(self.random.random())))
                elif action == "purge":
                    for each in replicas:
                        await tx.delete(each)
                    await tx.delete(one)
                elif replicas and self.random.random() < 0.5:
                    await tx.delete(replicas[0])
                    await tx.update(replace(one, version=one.version + 1))  # or it might look as before it was made
                else:
                    await tx.insert(replica(one.id, state=ReplicaState.PENDING))

    def truth(self, filters: dict[str, str]) -> dict[str, bytes]:
        return {
            found.id: deployment_view(
                found, self.store.index.find(Replica, deployment_id=found.id), clock=self.store.clock
            ).SerializeToString(deterministic=True)
            for found in self.store.index.find(Deployment, **filters)
        }


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_breaks_the_picture_is_true_in_the_end(seed: int, tmp_path: Path) -> None:
    world = World(seed, sqlite_url(tmp_path / "store.db"))
    await world.start()
    try:
        await live_through(world, f"seed {seed}")
    finally:
        await world.close()


async def live_through(world: World, run: str) -> None:
    """Changes, breaks and restarts at random; in the end every picture must be what there is."""
    watchers = [Watcher({}), Watcher({"org_id": "acme"}), Watcher({"org_id": "zeta"})]
    for _ in range(ROUNDS):
        for _ in range(world.random.randint(0, 4)):
            await world.change()
        for watcher in watchers:
            if watcher.stream is None:
                await watcher.connect(world.watches)
            await watcher.read(world.random.randint(0, 6))
            if watcher.stream is not None and world.random.random() < 0.3:
                await watcher.lose_connection()
        if world.random.random() < 0.15:
            for watcher in watchers:
                await watcher.lose_connection()
            await world.restart()
    async with world.store.write(actor="test") as tx:  # so that everybody's last token is of the last change
        for org_id in ("acme", "zeta"):
            await tx.insert(deployment("p", org_id=org_id))
    for watcher in watchers:
        await come_to_rest(world, watcher, run)
        again = Watcher(watcher.filters, picture=watcher.picture, token=watcher.token)
        await again.connect(world.watches)
        assert await again.read(10) == 0, "who knows everything was told something"
        await watcher.disconnect()
        await again.disconnect()


async def come_to_rest(world: World, watcher: Watcher, run: str) -> None:
    """Read until there is nothing more to tell: a watch that was just taken up again may be asking the database."""
    if watcher.stream is None:
        await watcher.connect(world.watches)
    await world.other.follower.catch_up()
    for _ in range(100):
        await watcher.read(10_000)
        if watcher.picture == world.truth(watcher.filters):
            return
        await asyncio.sleep(0.02)
    assert watcher.picture == world.truth(watcher.filters), f"{run}, watcher of {watcher.filters}"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(sqlite_url(tmp_path / "store.db")) as opened:
        yield opened


async def make(store: Store, **fields: Any) -> Deployment:
    async with store.write(actor="test") as tx:
        return await tx.insert(deployment("p", **fields))


async def purge(store: Store, *deployments: Deployment) -> None:
    async with store.write(actor="test") as tx:
        for each in deployments:
            current = await tx.get(Deployment, each.id)
            assert current is not None
            await tx.delete(current)


async def token_of(store: Store, **filters: str) -> str:
    """The token at the end of a snapshot."""
    async with aclosing(WatchUseCase(store).watch_deployments(pb.WatchDeploymentsRequest(**filters))) as stream:
        async for message in stream:
            if message.type == Kind.SYNCED:
                return message.resume_token
    raise AssertionError("the stream ended")


async def resumed(watches: WatchUseCase, token: str, count: int, **filters: str) -> list[tuple[int, str]]:
    """So many messages after a token: type and deployment."""
    request = pb.WatchDeploymentsRequest(**filters, resume_token=token)
    told: list[tuple[int, str]] = []
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(request)) as stream:
        async for message in stream:
            told.append((message.type, message.deployment.deployment_id))
            if len(told) == count:
                return told
    return told


async def refused(store: Store, token: str, **filters: str) -> OrchestrationError:
    with pytest.raises(OrchestrationError) as caught:
        await resumed(WatchUseCase(store), token, 1, **filters)
    return caught.value


async def test_after_a_restart_no_tenant_hears_of_what_another_purged(store: Store, tmp_path: Path) -> None:
    """Only the tombstone is left to tell by."""
    acme, zeta = await make(store, org_id="acme"), await make(store, org_id="zeta")
    token = await token_of(store, org_id="acme")
    passing = await make(store, org_id="acme")
    await purge(store, zeta, passing, acme)
    last = await make(store, org_id="acme")
    async with await Store.open(sqlite_url(tmp_path / "store.db")) as restarted:
        told = await resumed(WatchUseCase(restarted), token, 2, org_id="acme")
    assert told == [(Kind.DELETED, acme.id), (Kind.ADDED, last.id)], "nor of what came and went meanwhile"


async def test_a_replica_that_is_gone_is_told_of_its_own_deployment_alone(store: Store, tmp_path: Path) -> None:
    owner, bystander = await make(store), await make(store)
    async with store.write(actor="test") as tx:
        gone = await tx.insert(replica(owner.id))
    token = await token_of(store)
    async with store.write(actor="test") as tx:
        await tx.delete(gone)
        await tx.insert(deployment("p"))
    async with await Store.open(sqlite_url(tmp_path / "store.db")) as restarted:
        told = await resumed(WatchUseCase(restarted), token, 2)
    assert (Kind.MODIFIED, owner.id) in told
    assert bystander.id not in {id_ for _, id_ in told}


async def test_a_replica_whose_deployment_was_not_kept_makes_the_token_too_old(store: Store, tmp_path: Path) -> None:
    """As a version before this one has left the feed."""
    owner = await make(store)
    async with store.write(actor="test") as tx:
        gone = await tx.insert(replica(owner.id))
    token = await token_of(store)
    async with store.write(actor="test") as tx:
        await tx.delete(gone)
    async with store.write(actor="test") as tx:
        await tx.run(update(changes).values(parent=""))
    async with await Store.open(sqlite_url(tmp_path / "store.db")) as restarted:
        assert (await refused(restarted, token)).reason == "RESUME_TOKEN_TOO_OLD"


async def test_what_memory_forgot_is_told_from_the_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RING_SIZE", 10)
    monkeypatch.setattr(feed, "_CHUNK", 1)
    gone = await make(store)
    token = await token_of(store)
    made = [await make(store) for _ in range(30)]
    await purge(store, gone)
    told = await resumed(WatchUseCase(store), token, 31)
    assert told == [*((Kind.ADDED, each.id) for each in made), (Kind.DELETED, gone.id)]
    await store.trim(changes_s=-1)
    error = await refused(store, token)
    assert isinstance(error, OutOfRangeError)
    assert error.reason == "RESUME_TOKEN_TOO_OLD"


async def test_a_watch_that_nobody_reads_is_told_the_rest_from_the_database(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RING_SIZE", 10)
    monkeypatch.setattr(feed, "_CHUNK", 1)
    request = pb.WatchDeploymentsRequest()
    async with asyncio.timeout(10), aclosing(WatchUseCase(store).watch_deployments(request)) as stream:
        assert (await anext(stream)).type == Kind.SYNCED
        made = [(await make(store)).id for _ in range(40)]
        assert [(await anext(stream)).deployment.deployment_id for _ in made] == made


async def test_what_is_gone_is_not_remembered_for_ever(store: Store) -> None:
    log = WatchLog(store.index, store.clock, max_gone=10)
    start = log.revision
    await make(store, model_name="stays")
    for _ in range(12):
        await purge(store, await make(store))
        log.after(log.revision)
    assert log.after(start) is None
    assert log.floor > start
    kept = log.after(log.floor)
    assert kept is not None
    assert len(kept) <= 11


async def test_a_token_of_another_database_is_never_taken_for_one_of_this(store: Store, tmp_path: Path) -> None:
    await make(store)
    token = await token_of(store)
    async with await Store.open(sqlite_url(tmp_path / "other.db")) as other:
        for _ in range(5):
            await make(other)
        error = await refused(other, token)
    assert isinstance(error, OutOfRangeError)
    assert error.reason == "RESUME_TOKEN_FOREIGN"


async def test_a_token_of_the_first_release_sends_the_watcher_for_a_snapshot(store: Store) -> None:
    token = base64.urlsafe_b64encode(b"r17").decode().rstrip("=")
    error = await refused(store, token)
    assert isinstance(error, OutOfRangeError)
    assert error.reason == "RESUME_TOKEN_TOO_OLD"
    assert isinstance(await refused(store, base64.urlsafe_b64encode(b"r1x").decode()), InvalidArgumentError)


async def test_a_token_from_before_a_backup_was_restored_is_refused(store: Store, tmp_path: Path) -> None:
    await make(store)
    backup = tmp_path / "backup.db"
    with closing(sqlite3.connect(tmp_path / "store.db")) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    await make(store)
    token = await token_of(store)
    async with await Store.open(sqlite_url(backup)) as restored:
        assert (await refused(restored, token)).reason == "RESUME_TOKEN_FOREIGN"


async def test_a_token_belongs_to_its_filters(store: Store) -> None:
    error = await refused(store, await token_of(store, org_id="acme"), org_id="zeta")
    assert isinstance(error, InvalidArgumentError)
    assert "filters" in error.message


async def test_a_token_that_is_ahead_of_this_gateway_waits_for_it(store: Store, tmp_path: Path) -> None:
    """Given out by another gateway on the same database, of whose last commit this one has not heard yet."""
    async with await Store.open(sqlite_url(tmp_path / "store.db")) as other:
        await make(store)
        token = await token_of(store)
        assert other.index.revision < store.index.revision
        later = await make(store)
        assert await resumed(WatchUseCase(other), token, 1) == [(Kind.ADDED, later.id)]


async def test_what_cannot_be_seen_is_not_told(store: Store) -> None:
    one = await make(store)
    request = pb.WatchDeploymentsRequest()
    async with asyncio.timeout(10), aclosing(WatchUseCase(store).watch_deployments(request)) as stream:
        assert [(await anext(stream)).type for _ in range(2)] == [Kind.ADDED, Kind.SYNCED]
        following = asyncio.ensure_future(anext(stream))
        async with store.write(actor="test") as tx:
            one = await tx.update(replace(one, observed_status="RUNNING"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not following.done()
        async with store.write(actor="test") as tx:
            await tx.update(replace(one, labels={"a": "b"}))
        assert dict((await following).deployment.labels) == {"a": "b"}


async def test_one_that_was_told_before_a_break_and_goes_just_after_it_is_told_to_be_gone(store: Store) -> None:
    """It was made after the place up to which everything was told, and went while the watcher read of another."""
    watches, request = WatchUseCase(store), pb.WatchDeploymentsRequest()
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(request)) as stream:
        assert (await anext(stream)).type == Kind.SYNCED
        one, other = await make(store), await make(store)
        first = await anext(stream)
        assert first.deployment.deployment_id == one.id
    async with store.write(actor="test") as tx:
        await tx.update(replace(one, labels={"a": "b"}))
    request.resume_token = first.resume_token
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(request)) as stream:
        assert (await anext(stream)).deployment.deployment_id == other.id
        await purge(store, one)
        gone = await anext(stream)
    assert (gone.type, gone.deployment.deployment_id) == (Kind.DELETED, one.id)


async def label(store: Store, *deployments: Deployment, **labels: str) -> None:
    async with store.write(actor="test") as tx:
        for each in deployments:
            current = await tx.get(Deployment, each.id)
            assert current is not None
            await tx.update(replace(current, labels=labels))


async def touch(store: Store, *deployments: Deployment) -> None:
    """Change nothing that anybody can see."""
    async with store.write(actor="test") as tx:
        for each in deployments:
            current = await tx.get(Deployment, each.id)
            assert current is not None
            await tx.update(replace(current, observed_status=str(random.random())))


async def synced(stream: AsyncIterator[pb.WatchDeploymentsResponse]) -> pb.WatchDeploymentsResponse:
    """The end of a snapshot."""
    async for message in stream:
        if message.type == Kind.SYNCED:
            return message
    raise AssertionError("the stream ended")


async def test_what_another_gateway_told_is_told_again_when_it_is_not_so_any_more(store: Store, tmp_path: Path) -> None:
    """The gateway that goes on with the watch has told somebody else the same state before, and missed the other."""
    one, watches = await make(store), WatchUseCase(store)
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(pb.WatchDeploymentsRequest())) as stalled:
        await synced(stalled)
        async with await Store.open(sqlite_url(tmp_path / "store.db")) as other:
            await label(other, one, a="b")
            token = await token_of(other)
            await label(other, one)
        await store.follower.catch_up()
        assert await resumed(watches, token, 1) == [(Kind.MODIFIED, one.id)]


async def test_nothing_is_told_as_it_was_before_what_another_gateway_told(store: Store, tmp_path: Path) -> None:
    first, second = await make(store), await make(store)
    async with (
        asyncio.timeout(10),
        await Store.open(sqlite_url(tmp_path / "store.db")) as behind,
        aclosing(WatchUseCase(store).watch_deployments(pb.WatchDeploymentsRequest())) as stream,
    ):
        assert (await anext(stream)).deployment.deployment_id == first.id
        await label(store, second, number="1")
        await behind.follower.catch_up()
        await label(store, second, number="2")
        assert dict((await anext(stream)).deployment.labels) == {"number": "2"}
        token = (await synced(stream)).resume_token
        request = pb.WatchDeploymentsRequest(resume_token=token)
        async with aclosing(WatchUseCase(behind).watch_deployments(request)) as going_on:
            assert dict((await anext(going_on)).deployment.labels) == {"number": "2"}


async def test_one_that_changes_again_while_the_feed_is_read_is_told_with_what_was_missed(store: Store) -> None:
    """Else it would be told later, as one that had been told."""
    log, start = WatchLog(store.index, store.clock), store.index.revision
    one, gone = await make(store), await make(store)
    missed, upto = store.index.changes_after(start, {Deployment.kind}), store.index.revision
    assert missed is not None
    await label(store, one, a="b")
    await purge(store, gone)
    news, reached = log.missed(missed, upto)
    assert reached == upto
    assert [(each.deployment_id, each.revision <= upto, each.gone) for each in news] == [
        (one.id, True, False),
        (gone.id, True, False),
    ]
    later = log.after(upto)
    assert later is not None
    assert [(each.deployment_id, each.gone) for each in later] == [(one.id, False), (gone.id, True)]


async def test_a_replica_that_an_older_version_removed_ends_a_watch_but_not_those_to_come(
    store: Store, tmp_path: Path
) -> None:
    """Such a version does not write which deployment the replica was of."""
    owner, watches = await make(store), WatchUseCase(store)
    async with store.write(actor="test") as tx:
        gone = await tx.insert(replica(owner.id))
    trigger = "CREATE TRIGGER older AFTER INSERT ON changes BEGIN UPDATE changes SET parent = '' WHERE id = NEW.id; END"
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute(trigger)
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(pb.WatchDeploymentsRequest())) as stream:
        await synced(stream)
        async with await Store.open(sqlite_url(tmp_path / "store.db")) as older, older.write(actor="test") as tx:
            await tx.delete(gone)
        await store.follower.catch_up()
        with pytest.raises(OutOfRangeError) as caught:
            await anext(stream)
        assert caught.value.reason == "RESUME_TOKEN_TOO_OLD"
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(pb.WatchDeploymentsRequest())) as stream:
        await synced(stream)
        await label(store, owner, a="b")
        assert dict((await anext(stream)).deployment.labels) == {"a": "b"}


class Looks:
    """Counts how often a deployment is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(watch_log, "deployment_view", self._look)

    def _look(self, *args: Any, clock: Callable[[], float]) -> pb.Deployment:
        self.count += 1
        return deployment_view(*args, clock=clock)


async def test_many_changes_at_once_are_not_looked_at_in_one_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And yet nobody is told of those that cannot be seen."""
    monkeypatch.setattr(watch_log, "_MAX_LOOKS", 5)
    looks = Looks(monkeypatch)
    many = [await make(store) for _ in range(20)]
    log = WatchLog(store.index, store.clock)
    with log.watching():
        for each in many:
            log.view(each.id)
        start, looks.count = log.revision, 0
        await touch(store, *many)
        assert len(log.after(start) or ()) == 20
        assert looks.count == 0
    request = pb.WatchDeploymentsRequest()
    async with asyncio.timeout(10), aclosing(WatchUseCase(store).watch_deployments(request)) as stream:
        await synced(stream)
        await touch(store, *many)
        await label(store, many[7], a="b")
        assert (await anext(stream)).deployment.deployment_id == many[7].id
        following = asyncio.ensure_future(anext(stream))
        await touch(store, *many)
        await label(store, many[3], a="b")
        assert (await following).deployment.deployment_id == many[3].id


async def test_after_a_pause_nothing_is_looked_at_but_what_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    many = [await make(store, org_id="acme") for _ in range(20)]
    watches = WatchUseCase(store)
    request = pb.WatchDeploymentsRequest()
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(request)) as stream:
        await synced(stream)
    looks.count = 0
    await touch(store, *many)
    await make(store, org_id="zeta")
    async with asyncio.timeout(10), aclosing(watches.watch_deployments(pb.WatchDeploymentsRequest(org_id="zeta"))) as s:
        await synced(s)
    assert looks.count == 1
