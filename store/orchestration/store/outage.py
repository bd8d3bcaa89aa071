"""Whether the database takes writes: since when not, why, and who may find out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestration.store.errors import StoreError, StoreUnavailableError

logger = logging.getLogger(__name__)

PROBE_INTERVAL_S = 1.0
"""While writes fail, one is tried this often, whether anybody asks or not."""
_PROBE_PAUSE_S = 0.05
"""A probe that a caller asks for comes no sooner than this after the last one."""
PATIENCE_S = 0.5
"""How long a caller waits for the probe under way while the database is known to keep writers waiting."""
COSTLY_S = 0.25
"""A failure that came faster is no burden: the next caller may find out for himself whether it still holds."""


@dataclass(frozen=True, slots=True)
class WriteFailure:
    """Writes fail."""

    reason: str
    """Of the latest failure; see ``StoreUnavailableError``."""
    message: str
    """What the latest failure said."""
    for_s: float
    """How long writes have been failing, in seconds."""


class WriteHealth:
    """What the writer has last seen of its database."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._error: StoreUnavailableError | None = None
        self._since = 0.0
        self._costly = False
        self._asked = asyncio.Event()
        self._recovered = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def failure(self) -> WriteFailure | None:
        """Why writes fail now; None when the last one succeeded, or none was tried yet."""
        if self._error is None:
            return None
        return WriteFailure(self._error.reason, str(self._error), self._monotonic() - self._since)

    def on_recovery(self, listener: Callable[[], None]) -> None:
        """Call this whenever writes succeed again after they had failed."""
        self._listeners.append(listener)

    def failed(self, error: StoreUnavailableError, *, costly: bool) -> None:
        """Note a write that failed; ``costly``: its caller had to wait for that."""
        if self._error is None:
            self._since = self._monotonic()
            self._recovered.clear()
            logger.error("the database takes no writes (%s): %s", error.reason, error)
        self._error = error
        self._costly = costly

    def succeeded(self) -> None:
        """Note a commit."""
        if self._error is None:
            return
        logger.warning("the database takes writes again, after %.1f s", self._monotonic() - self._since)
        self._error = None
        self._recovered.set()
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # the commit stands all the same, and the others are to hear of it
                logger.exception("a listener could not be told that the database takes writes again")

    async def admit(self) -> None:
        """Let a caller through unless he would only wait for what is known to fail.

        Raises StoreUnavailableError after ``PATIENCE_S`` then: the probe that he has asked for has not succeeded.
        """
        if self._error is None or not self._costly:
            return
        self._asked.set()
        error = self._error
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._recovered.wait()
        except TimeoutError:
            raise again(error) from error

    async def next_probe(self) -> None:
        """Wait until it is time for a probe."""
        await asyncio.sleep(_PROBE_PAUSE_S)
        try:
            async with asyncio.timeout(PROBE_INTERVAL_S):
                await self._asked.wait()
        except TimeoutError:
            pass  # nobody asked
        self._asked.clear()


class Probe:
    """Tries a write again and again while writes fail."""

    def __init__(self, health: WriteHealth, write: Callable[[], Awaitable[None]]) -> None:
        self._health = health
        self._write = write
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless it is under way."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="store write probe")

    async def _run(self) -> None:
        while self._health.failure is not None:
            await self._health.next_probe()
            try:
                await self._write()
            except StoreError:
                continue  # noted by the writer already
            except Exception:  # nobody else would find out when the outage is over
                logger.exception("a write could not be tried; it is tried again")

    async def close(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def again(error: StoreUnavailableError) -> StoreUnavailableError:
    """The same error for another caller; an exception object belongs to one task."""
    return StoreUnavailableError(error.reason, str(error))
