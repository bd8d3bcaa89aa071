"""Leases: who of several gateways may work on something, until when.

A worker acquires a lease, works with no transaction open, and writes what came of it guarded by
``Transaction.check_lease``. It renews well before the lease expires; one that died is waited for no longer than that.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from orchestration.store.records import Lease
from orchestration.store.transaction import Transaction


class _Writes(Protocol):
    def write(self, *, actor: str) -> AbstractAsyncContextManager[Transaction]: ...


class LeaseManager:
    """Acquires, renews and releases leases, each in one short transaction for all of them.

    ``clock`` must be the store's. ``is_dead`` tells of an owner that will not come back (its process is gone), so that
    its leases need not expire first.
    """

    def __init__(
        self, store: _Writes, *, clock: Callable[[], float], is_dead: Callable[[str], bool] = lambda owner: False
    ) -> None:
        self._store = store
        self._clock = clock
        self._is_dead = is_dead

    async def acquire(self, names: Iterable[str], owner: str, ttl_s: float) -> list[Lease]:
        """Take those of the named leases that nobody holds; returns them, in the order of the names.

        A lease is free when it was never taken or was released, has expired, or its owner is dead. One that ``owner``
        holds itself is not taken a second time.
        """
        if ttl_s <= 0:
            raise ValueError(f"ttl_s must be positive, not {ttl_s}")
        taken: list[Lease] = []
        async with self._store.write(actor=owner) as tx:
            now = self._clock()
            for name in dict.fromkeys(names):
                held = await tx.lease(name)
                if held is not None and held.expires_at > now and not self._is_dead(held.owner):
                    continue
                generation = 1 if held is None else held.generation + 1
                lease = Lease(
                    name=name, owner=owner, token=str(uuid.uuid4()), generation=generation, expires_at=now + ttl_s
                )
                tx.set_lease(name, lease)
                taken.append(lease)
        return taken

    async def renew(self, leases: Iterable[Lease], ttl_s: float) -> list[Lease]:
        """Extend leases to ``ttl_s`` from now; returns those that are still held.

        One that expired but that nobody took since is still held: its work was not done by anybody else.
        """
        kept: list[Lease] = []
        async with self._store.write(actor="leases") as tx:
            expires_at = self._clock() + ttl_s
            for lease in leases:
                held = await tx.lease(lease.name)
                if held is None or held.token != lease.token:
                    continue
                renewed = dataclasses.replace(held, expires_at=expires_at)
                tx.set_lease(lease.name, renewed)
                kept.append(renewed)
        return kept

    async def release(self, leases: Iterable[Lease]) -> None:
        """Give leases up; those that are not held any more are left alone.

        A released lease keeps its row and generation, so that a token never returns and generations only grow.
        """
        async with self._store.write(actor="leases") as tx:
            for lease in leases:
                held = await tx.lease(lease.name)
                if held is not None and held.token == lease.token:
                    tx.set_lease(lease.name, dataclasses.replace(held, owner="", token="", expires_at=0.0))
