"""Leases: who of several gateways may work on something, until when.

A worker acquires a lease, works with no transaction open, and writes what came of it guarded by
``Transaction.check_lease``. It renews well before the lease expires; one that died is waited for no longer than that.

Expiry is told by clocks that should differ by much less than a lease lives. Where they do not, a lease is judged by
what is seen of it: one whose row stays as it is for a whole life, by the monotonic clock of whoever looks, is free
however far away its end is, and one that is renewed is held though its end has passed. The harm that such clocks do is
that whoever looks for the first time may take what is held still. Two holders are impossible even then: each
acquisition makes a new token, and a write guarded by an older one is refused.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from orchestration.store.records import Lease
from orchestration.store.transaction import Transaction

_MAX_SEEN = 1024
"""Leases that are remembered; those not looked at for longest are those that are gone."""
_BEHIND_SHARE = 0.1
"""A lease that was renewed and is over for this share of its life already was renewed by a clock that is behind."""


class _Writes(Protocol):
    def write(self, *, actor: str) -> AbstractAsyncContextManager[Transaction]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Sight:
    """A lease as it was last seen."""

    lease: Lease
    since: float
    """When it was first seen to be so, by the monotonic clock."""
    behind: bool
    """Whether it was renewed under the eyes of this process by a clock that is behind this one's."""


class _Judge:
    """What one process knows of the owners of leases beside what their rows say."""

    def __init__(self, is_dead: Callable[[str], bool], monotonic: Callable[[], float]) -> None:
        self.is_dead = is_dead
        self._monotonic = monotonic
        self._seen: dict[str, _Sight] = {}

    def left_s(self, lease: Lease, now: float, ttl_s: float) -> float:
        """Seconds until the lease is free if nobody renews it; 0 or less when it is."""
        if not lease.owner or self.is_dead(lease.owner):
            return 0.0
        sight = self._look(lease, now, ttl_s)
        unchanged_until = sight.since + ttl_s - self._monotonic()
        return unchanged_until if sight.behind else min(unchanged_until, lease.expires_at - now)

    def _look(self, lease: Lease, now: float, ttl_s: float) -> _Sight:
        sight = self._seen.pop(lease.name, None)
        if sight is None or sight.lease != lease:
            # Renewed, and over already: its holder's clock is behind, and says nothing about whether it lives.
            # One that is over only just may have been so renewed right after the last look, and its holder be dead.
            over_s = now - lease.expires_at
            behind = sight is not None and over_s >= 0 and (sight.behind or over_s >= ttl_s * _BEHIND_SHARE)
            sight = _Sight(lease, self._monotonic(), behind)
        self._seen[lease.name] = sight
        if len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        return sight


class LeaseSession:
    """One transaction's view of the leases, for one owner. What it does is done when the transaction is committed."""

    def __init__(self, tx: Transaction, owner: str, ttl_s: float, now: float, judge: _Judge) -> None:
        self._tx = tx
        self._owner = owner
        self._ttl_s = ttl_s
        self._judge = judge
        self.now = now
        """The store's time when the transaction began."""

    async def find(self, prefix: str) -> list[Lease]:
        """The leases whose names begin with ``prefix``, those that are free among them, ordered by name."""
        return await self._tx.find_leases(prefix)

    def is_free(self, lease: Lease) -> bool:
        """Whether it was released, has expired, or its owner is dead or has not renewed it for a whole life."""
        return self.left_s(lease) <= 0

    def left_s(self, lease: Lease) -> float:
        """Seconds until the lease is free if nobody renews it; 0 or less when it is."""
        return self._judge.left_s(lease, self.now, self._ttl_s)

    def is_dead(self, owner: str) -> bool:
        """Whether an owner will not come back."""
        return self._judge.is_dead(owner)

    async def take(self, name: str) -> Lease | None:
        """Acquire the lease; None when somebody holds it, the owner itself included."""
        held = await self._tx.lease(name)
        if held is not None and not self.is_free(held):
            return None
        lease = Lease(
            name=name,
            owner=self._owner,
            token=str(uuid.uuid4()),
            generation=1 if held is None else held.generation + 1,
            expires_at=self.now + self._ttl_s,
        )
        self._tx.set_lease(name, lease)
        return lease

    async def renew(self, lease: Lease) -> Lease | None:
        """Extend the lease to a whole life from now; None when it is not held any more.

        One that expired but that nobody took since is still held: its work was not done by anybody else.
        """
        held = await self._tx.lease(lease.name)
        if held is None or held.token != lease.token:
            return None
        renewed = dataclasses.replace(held, expires_at=self.now + self._ttl_s)
        self._tx.set_lease(lease.name, renewed)
        return renewed

    async def release(self, lease: Lease) -> None:
        """Give the lease up; one that is not held any more is left alone.

        A released lease keeps its row and generation, so that a token never returns and generations only grow.
        """
        held = await self._tx.lease(lease.name)
        if held is not None and held.token == lease.token:
            self._tx.set_lease(lease.name, dataclasses.replace(held, owner="", token="", expires_at=0.0))

    def forget(self, name: str) -> None:
        """Delete the lease's row. Only for names that never come back: generations begin anew."""
        self._tx.set_lease(name, None)


class LeaseManager:
    """Acquires, renews and releases leases, each in one short transaction for all of them.

    ``clock`` must be the store's. ``is_dead`` tells of an owner that will not come back (its process is gone), so that
    its leases need not expire first.
    """

    def __init__(
        self,
        store: _Writes,
        *,
        clock: Callable[[], float],
        is_dead: Callable[[str], bool] = lambda owner: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._judge = _Judge(is_dead, monotonic)

    def is_dead(self, owner: str) -> bool:
        """Whether an owner will not come back."""
        return self._judge.is_dead(owner)

    @asynccontextmanager
    async def session(self, owner: str, ttl_s: float) -> AsyncGenerator[LeaseSession]:
        """A transaction on the leases; ``ttl_s`` is how long those that are taken and renewed in it live."""
        if ttl_s <= 0:
            raise ValueError(f"ttl_s must be positive, not {ttl_s}")
        async with self._store.write(actor=owner) as tx:
            yield LeaseSession(tx, owner, ttl_s, self._clock(), self._judge)

    async def acquire(self, names: Iterable[str], owner: str, ttl_s: float) -> list[Lease]:
        """Take those of the named leases that nobody holds; returns them, in the order of the names.

        One that ``owner`` holds itself is not taken a second time.
        """
        async with self.session(owner, ttl_s) as session:
            taken = [await session.take(name) for name in dict.fromkeys(names)]
        return [lease for lease in taken if lease is not None]

    async def renew(self, leases: Iterable[Lease], ttl_s: float) -> list[Lease]:
        """Extend leases to ``ttl_s`` from now; returns those that are still held."""
        async with self.session("leases", ttl_s) as session:
            renewed = [await session.renew(lease) for lease in leases]
        return [lease for lease in renewed if lease is not None]

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases up; those that are not held any more are left alone."""
        async with self.session("leases", 1.0) as session:
            for lease in leases:
                await session.release(lease)
