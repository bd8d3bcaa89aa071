"""Two lease managers side by side, whatever they do and however late: never two holders, never a late write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.store.errors import LeaseLostError
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Lease
from orchestration.store.store import Store
from tests.support.stores import FakeClock, PostgresServer, sqlite_url

TTL_S = 10.0
NAMES = ("a", "b")
Action = tuple[int, str, str]
"""Which of the two, what it does, and with which lease."""

ACTIONS = st.tuples(
    st.integers(0, 1), st.sampled_from(["acquire", "renew", "release", "write"]), st.sampled_from(NAMES)
)
WAVES = st.lists(st.tuples(st.lists(ACTIONS, max_size=5), st.sampled_from([0.0, 1.0, 6.0, 11.0])), max_size=12)


class Gateway:
    """Remembers what it acquired, and believes that it still has it until it is told otherwise."""

    def __init__(self, name: str, store: Store, clock: FakeClock) -> None:
        self.name = name
        self.store = store
        self.leases = LeaseManager(store, clock=clock, monotonic=clock)
        self.held: dict[str, Lease] = {}


class World:
    """Two gateways on one database, and what they wrote to it under leases."""

    def __init__(self, stores: list[Store], clock: FakeClock) -> None:
        self.clock = clock
        self.gateways = [Gateway(f"gateway{number}", store, clock) for number, store in enumerate(stores)]
        self.written: dict[str, list[int]] = {name: [] for name in NAMES}
        """Generations of the leases under which something was written, in the order of commits."""
        self.known: dict[tuple[str, int], tuple[str, str]] = {}
        """Owner and token of each generation."""

    async def act(self, action: Action) -> None:
        number, what, name = action
        gateway = self.gateways[number]
        held = gateway.held.get(name)
        if what == "acquire":
            for lease in await gateway.leases.acquire([name], gateway.name, TTL_S):
                gateway.held[name] = lease
        elif held is None:
            return
        elif what == "renew":
            for lease in await gateway.leases.renew([held], TTL_S):
                gateway.held[name] = lease
        elif what == "release":
            await gateway.leases.release([held])
        else:
            await self.write(gateway, held)

    async def write(self, gateway: Gateway, lease: Lease) -> None:
        try:
            async with gateway.store.write(actor=gateway.name) as tx:
                await tx.check_lease(lease)
                self.written[lease.name].append(lease.generation)
        except LeaseLostError:
            return

    async def check(self) -> None:
        for name in NAMES:
            believed = [gateway.held[name] for gateway in self.gateways if name in gateway.held]
            assert len([lease for lease in believed if await self.is_held(lease)]) <= 1, "two hold the same lease"
            assert self.written[name] == sorted(self.written[name]), "a late holder's write came through"
        async with self.gateways[0].store.write(actor="test") as tx:
            for lease in await tx.find_leases(""):
                assert lease.generation >= max((g for n, g in self.known if n == lease.name), default=0)
                if lease.owner:
                    made = self.known.setdefault((lease.name, lease.generation), (lease.owner, lease.token))
                    assert made == (lease.owner, lease.token), "one generation was given twice"

    async def is_held(self, lease: Lease) -> bool:
        try:
            async with self.gateways[1].store.write(actor="test") as tx:
                await tx.check_lease(lease)
        except LeaseLostError:
            return False
        return True

    async def clear(self) -> None:
        async with self.gateways[0].store.write(actor="test") as tx:
            for name in NAMES:
                tx.set_lease(name, None)


@asynccontextmanager
async def _database(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncGenerator[str]:
    if kind == "sqlite":
        yield sqlite_url(folder / "leases.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    async with server.database() as url:
        yield url


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_managers_in_parallel_never_hold_the_same_lease(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if kind == "postgresql":
        request.getfixturevalue("postgres")  # where it is missing, this skips

    async def play(stores: list[Store], clock: FakeClock, waves: list[tuple[list[Action], float]]) -> None:
        world = World(stores, clock)
        await world.clear()
        for actions, seconds in waves:
            await asyncio.gather(*map(world.act, actions))
            await world.check()
            clock.now += seconds

    with asyncio.Runner() as runner:
        clock = FakeClock()
        database = _database(kind, request, tmp_path)
        url = runner.run(database.__aenter__())
        stores = [runner.run(Store.open(url, clock=clock)) for _ in range(2)]

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(WAVES)
        def check(waves: list[tuple[list[Action], float]]) -> None:
            runner.run(play(stores, clock, waves))

        try:
            check()
        finally:
            for store in stores:
                runner.run(store.close())
            runner.run(database.__aexit__(None, None, None))
