"""Which part of the work this gateway does: leases on shards of the deployments, and on the single jobs."""

from __future__ import annotations

import asyncio
import os
import socket
import zlib
from collections.abc import Callable

import psutil
import structlog

from orchestration.store.errors import StoreError
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Lease

log = structlog.get_logger(__name__)

SHARDS = 16
NODES = "nodes"
REAPER = "reaper"
_NAMES = (*(f"replicas/{number}" for number in range(SHARDS)), NODES, REAPER)


def process_owner() -> str:
    """A name for this process that no other has, at any time: host, pid and start."""
    return f"{socket.gethostname()}|{os.getpid()}|{psutil.Process().create_time():.2f}"


def is_dead(owner: str) -> bool:
    """Whether an owner is a process of this host that is gone, so that its leases need not run out first."""
    host, _, rest = owner.partition("|")
    pid, _, started = rest.partition("|")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True


def shard_name(deployment_id: str) -> str:
    """The lease under which a deployment is worked on."""
    return f"replicas/{zlib.crc32(deployment_id.encode()) % SHARDS}"


class ShardLeases:
    """Takes every lease that nobody holds, renews them, and says which are held."""

    def __init__(self, leases: LeaseManager, ttl_s: float, clock: Callable[[], float]) -> None:
        self._leases = leases
        self._owner = process_owner()
        self._ttl_s = ttl_s
        self._clock = clock
        self._held: dict[str, Lease] = {}

    def lease(self, name: str) -> Lease | None:
        """The lease of this name while this gateway holds it."""
        lease = self._held.get(name)
        return lease if lease is not None and lease.expires_at > self._clock() else None

    def lease_for(self, deployment_id: str) -> Lease | None:
        """The lease under which this gateway may work on the deployment."""
        return self.lease(shard_name(deployment_id))

    async def run(self, on_acquired: Callable[[], None]) -> None:
        """Renew and acquire three times in a lease's life, until cancelled; tell when any was acquired."""
        while True:
            try:
                await self.turn(on_acquired)
            except StoreError as error:
                log.warning("leases cannot be renewed", error=str(error))
            except Exception as error:  # without this loop the gateway would do nothing any more, and say nothing
                log.error("leases cannot be renewed", exc_info=error)
            await asyncio.sleep(self._ttl_s / 3)

    async def turn(self, on_acquired: Callable[[], None]) -> None:
        """Renew what is held and take what is free, once."""
        # Work that met an expired lease has stopped: it begins again when the lease is had back, whichever way.
        resumed = any(self.lease(name) is None for name in self._held)
        if self._held:
            renewed = await self._leases.renew(list(self._held.values()), self._ttl_s)
            lost = set(self._held) - {lease.name for lease in renewed}
            self._held = {lease.name: lease for lease in renewed}
            if lost:
                log.warning("leases lost to another gateway", names=sorted(lost))
        missing = [name for name in _NAMES if name not in self._held]
        taken = await self._leases.acquire(missing, self._owner, self._ttl_s) if missing else []
        if taken:
            self._held.update({lease.name: lease for lease in taken})
            log.info("leases acquired", count=len(taken))
        if taken or resumed:
            on_acquired()

    async def close(self) -> None:
        """Give all leases up, so that another gateway need not wait for them."""
        held, self._held = list(self._held.values()), {}
        try:
            await self._leases.release(held)
        except StoreError as error:
            log.warning("leases cannot be released; they run out", error=str(error))
