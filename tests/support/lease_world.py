"""Gateways that share the leases of one database, with clocks of the test's own."""

from __future__ import annotations

from functools import partial

from prometheus_client import Counter, Gauge

from orchestration.service.controllers.shards import NODES, REAPER, SHARDS, ShardLeases
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Lease
from orchestration.store.store import Store
from tests.support.stores import FakeClock

TTL_S = 10.0
ALL = SHARDS + 2
"""Leases on work: those on shards, and those on the two single jobs."""


class SharedWork:
    """Several gateways, which look when they are told to."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.monotonic = FakeClock(0)
        self.dead: set[str] = set()
        self.told: list[ShardLeases] = []
        """Each time that a gateway was told that its work has changed."""

    def gateway(self, *, clock: FakeClock | None = None, ttl_s: float = TTL_S) -> ShardLeases:
        """One more gateway, which holds nothing yet."""
        clock = clock or self.clock
        leases = LeaseManager(self.store, clock=clock, is_dead=self.dead.__contains__, monotonic=self.monotonic)
        return ShardLeases(leases, ttl_s, clock, monotonic=self.monotonic)

    async def turn(self, *gateways: ShardLeases) -> None:
        """Let each look once, in this order."""
        for gateway in gateways:
            await gateway.turn(partial(self.told.append, gateway))

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.clock.now += seconds
        self.monotonic.now += seconds

    async def rows(self) -> list[Lease]:
        """All leases, as the database has them."""
        async with self.store.write(actor="test") as tx:
            return await tx.find_leases("")


def parts(*gateways: ShardLeases) -> list[int]:
    """How many shards each holds; fails unless no lease has two holders."""
    held = [gateway.held for gateway in gateways]
    assert sum(map(len, held)) == len({name for names in held for name in names}), "two gateways hold the same lease"
    return [len(names - {NODES, REAPER}) for names in held]


def figure(metric: Counter | Gauge) -> float:
    """What a metric without labels says now."""
    (found,) = metric.collect()
    return found.samples[0].value
