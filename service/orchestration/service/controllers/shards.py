"""Which part of the work this gateway does: leases on shards of the deployments, and on the single jobs.

Each gateway keeps a lease on its own name, by which the others count it, and takes an equal part of the shards. The
single jobs stay with whoever has them. A gateway that is gone is not counted once its lease has run out, and its shards
are taken at that moment; one whose process on this machine has ended is noticed sooner.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry

from orchestration.service.controllers.lease_metrics import LeaseMetrics
from orchestration.service.controllers.membership import RENEWALS, Look, Membership, Work
from orchestration.service.controllers.owner import process_owner
from orchestration.store.errors import StoreError
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Lease

log = structlog.get_logger(__name__)

SHARDS = 16
NODES = "nodes"
REAPER = "reaper"
_SHARDS = tuple(f"replicas/{number}" for number in range(SHARDS))
_WORK = Work(shared=_SHARDS, single=(NODES, REAPER))

_LIFE = 0.95
"""Part of the time to live that a lease is written for: the rest is for whoever takes it over to notice and commit."""
_RETRY_S = 1.0
_PEERS_S = 0.25
"""Pause between looks at whether the processes of other gateways on this machine have ended."""


def shard_name(deployment_id: str) -> str:
    """The lease under which a deployment is worked on."""
    return _SHARDS[zlib.crc32(deployment_id.encode()) % SHARDS]


class ShardLeases:
    """Takes this gateway's part, renews it, gives up what is more than that, and says which leases are held."""

    def __init__(
        self,
        leases: LeaseManager,
        ttl_s: float,
        clock: Callable[[], float],
        *,
        metrics: LeaseMetrics | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = process_owner()
        """This gateway's name among the others."""
        self.metrics = metrics or LeaseMetrics(CollectorRegistry())
        self._leases = leases
        self._life_s = ttl_s * _LIFE
        self._membership = Membership(self.owner, self._life_s, _WORK)
        self._clock = clock
        self._monotonic = monotonic
        self._held: dict[str, Lease] = {}
        self._valid_until = 0.0
        """Of all that is held, by the monotonic clock: a wall clock that is set back makes nothing last longer."""
        self._told: frozenset[str] = frozenset()
        """What those that work were last told that they may work on."""
        self._others: frozenset[str] = frozenset()
        self._next_look_s = 0.0

    def lease(self, name: str) -> Lease | None:
        """The lease of this name while this gateway holds it."""
        lease = self._held.get(name)
        valid = lease is not None and lease.expires_at > self._clock() and self._valid_until > self._monotonic()
        return lease if valid else None

    def lease_for(self, deployment_id: str) -> Lease | None:
        """The lease under which this gateway may work on the deployment."""
        return self.lease(shard_name(deployment_id))

    @property
    def held(self) -> frozenset[str]:
        """Names of the leases that are held now."""
        return frozenset(name for name in self._held if self.lease(name) is not None)

    @property
    def next_look_s(self) -> float:
        """Seconds from the last look to the next."""
        return self._next_look_s

    async def run(self, on_change: Callable[[], None]) -> None:
        """Keep this gateway's part, until cancelled; tell when what it may work on has changed."""
        while True:
            try:
                await self.turn(on_change)
            except StoreError as error:
                log.warning("leases cannot be renewed", error=str(error))
            except Exception as error:  # without this loop the gateway would do nothing any more, and say nothing
                log.error("leases cannot be renewed", exc_info=error)
            await self._pause()

    async def turn(self, on_change: Callable[[], None]) -> None:
        """Look at all leases once, and tell when what may be worked on has changed. Raises `StoreError`."""
        self._others, self._next_look_s = frozenset(), min(_RETRY_S, self._life_s / RENEWALS)
        lapsed = False
        try:
            began = self._monotonic()
            # The rows may tell of a renewal whose answer was lost: what is not known to be valid is not used.
            renew = self._valid_until - began <= self._life_s * (1 - 1 / RENEWALS)
            async with self._leases.session(self.owner, self._life_s) as session:
                look = await self._membership.look(session, renew=renew)
            # Work that met a lease that had run out has stopped: it is told even where the lease is had back by now.
            lapsed = not self._told <= self.held
            self._adopt(look, began)
        finally:
            held = self.held
            self.metrics.held.set(len(held))
            if lapsed or held != self._told:
                self._told = held
                on_change()

    def _adopt(self, look: Look, began: float) -> None:
        lost = set(self._held) - set(look.held) - set(look.given)
        gained = set(look.held) - set(self._held)
        if look.renewed:
            self._valid_until = began + self._life_s
        self._held, self._others, self._next_look_s = look.held, look.others, look.next_s
        self.metrics.members.set(1 + len(look.others))
        self.metrics.lost.inc(len(lost))
        if lost:
            log.warning("leases lost to another gateway", names=sorted(lost))
        if gained or look.given:
            log.info("leases shared out", gained=len(gained), given=len(look.given), gateways=1 + len(look.others))

    async def _pause(self) -> None:
        """Wait until the next look is due, or the process of another gateway here has ended."""
        until = self._monotonic() + self._next_look_s
        while (left := until - self._monotonic()) > 0:
            if any(self._leases.is_dead(other) for other in self._others):
                return
            await asyncio.sleep(min(left, _PEERS_S) if self._others else left)

    async def close(self) -> None:
        """Give all leases up, so that another gateway need not wait for them."""
        self._held = {}
        try:
            async with self._leases.session(self.owner, self._life_s) as session:
                await self._membership.leave(session)
        except StoreError as error:
            log.warning("leases cannot be released; they run out", error=str(error))
