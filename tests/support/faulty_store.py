"""A store whose calls fail or are late on demand, around the real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, cast

from orchestration.store.errors import StoreUnavailableError
from orchestration.store.store import Store
from orchestration.store.transaction import Transaction

STORE_METHODS = ("write", "commit", "ping", "list_events", "trim", "flush_beats")
TRANSACTION_METHODS = ("get", "select", "insert", "update", "delete", "recall", "remember", "check_lease")


@dataclass(frozen=True)
class Fault:
    """What happens to one call: it waits, then raises (None: it only waits)."""

    error: Exception | None = None
    delay_s: float = 0.0

    async def strike(self) -> None:
        """Let it happen."""
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error


class Faults:
    """Which calls fail. Methods are those of Store and Transaction; ``commit`` is the end of a transaction's block."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._planned: dict[tuple[str, int], Fault] = {}
        self._always: dict[str, Fault] = {}

    def fail(self, method: str, *, nth: int = 1, error: Exception | None = None, delay_s: float = 0.0) -> None:
        """Make the ``nth`` call from now of a method fail; without an error and a delay, as when the disk is full."""
        self._planned[self._known(method), self.calls[method] + nth] = _fault(error, delay_s)

    def fail_always(self, method: str, *, error: Exception | None = None, delay_s: float = 0.0) -> None:
        """Make every call of a method fail until ``heal``."""
        self._always[self._known(method)] = _fault(error, delay_s)

    def heal(self) -> None:
        """Nothing fails any more."""
        self._planned.clear()
        self._always.clear()

    async def called(self, method: str) -> None:
        """Count a call, and let its fault happen if it has one."""
        self.calls[method] += 1
        fault = self._planned.pop((method, self.calls[method]), None) or self._always.get(method)
        if fault is not None:
            await fault.strike()

    def _known(self, method: str) -> str:
        if method not in (*STORE_METHODS, *TRANSACTION_METHODS):
            raise ValueError(f"{method!r} is no method that can be made to fail")
        return method


def _fault(error: Exception | None, delay_s: float) -> Fault:
    if error is None and delay_s == 0.0:
        error = StoreUnavailableError("DISK_FULL", "the disk of the database is full")
    return Fault(error, delay_s)


class _FaultyTransaction:
    def __init__(self, real: Transaction, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in TRANSACTION_METHODS:
            return real

        async def faulty(*args: Any, **kwargs: Any) -> Any:
            await self._faults.called(name)
            return await real(*args, **kwargs)

        return faulty


class _FaultyStore:
    def __init__(self, real: Store, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    @contextlib.asynccontextmanager
    async def write(self, *, actor: str) -> AsyncGenerator[Any]:
        await self._faults.called("write")
        async with self._real.write(actor=actor) as tx:
            yield _FaultyTransaction(tx, self._faults)
            await self._faults.called("commit")

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in STORE_METHODS:
            return real

        async def faulty(*args: Any, **kwargs: Any) -> Any:
            await self._faults.called(name)
            return await real(*args, **kwargs)

        return faulty


def faulty_store(store: Store) -> tuple[Store, Faults]:
    """The store behind a wrapper, and the faults to plan for it."""
    faults = Faults()
    return cast("Store", _FaultyStore(store, faults)), faults
