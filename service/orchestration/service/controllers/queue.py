"""A work queue keyed by id: what is added twice is done once, one worker at a time for each key, later when asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from orchestration.service.domain.backoff import Backoff
from orchestration.store.errors import LeaseLostError, StaleRecordError

log = structlog.get_logger(__name__)

LEASE_RETRY_S = 1.0
"""Pause after work for which the lease is not held: it comes with the lease's renewal or acquisition, not by asking."""

Handler = Callable[[str], Awaitable[float | None]]
"""Works on one key; returns the seconds after which to look again, or None to wait until the key is added."""


class WorkQueue:
    """Runs a handler for the keys that are added, at most `workers` at once."""

    def __init__(self, name: str, handler: Handler, *, workers: int, backoff: Backoff) -> None:
        self._name = name
        self._handler = handler
        self._workers = workers
        self._backoff = backoff
        self._ready: deque[str] = deque()
        self._queued: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._closed = False

    def add(self, key: str) -> None:
        """Have the key worked on as soon as there is room; while it is being worked on, once more after that."""
        if self._closed:
            return
        if key in self._running:
            self._again.add(key)
            return
        self._forget_timer(key)
        if key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._dispatch()

    def add_after(self, key: str, delay_s: float) -> None:
        """The same after a delay; an earlier time that was set before stands."""
        if self._closed or key in self._queued:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay_s:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay_s, self._due, key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _forget_timer(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _dispatch(self) -> None:
        while self._ready and len(self._running) < self._workers:
            key = self._ready.popleft()
            self._queued.discard(key)
            self._running[key] = asyncio.create_task(self._work(key), name=f"{self._name} {key}")

    async def _work(self, key: str) -> None:
        delay: float | None = None
        try:
            delay = await self._handler(key)
            self._failures.pop(key, None)
        except StaleRecordError:
            delay = 0.0  # somebody else was faster: look again at what is there now
        except LeaseLostError:
            delay = LEASE_RETRY_S
        except Exception as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            delay = self._backoff.delay(self._failures[key])
            log.warning("work failed", queue=self._name, key=key, retry_in_s=round(delay, 2), exc_info=error)
        finally:
            self._running.pop(key, None)
            self._finish(key, delay)

    def _finish(self, key: str, delay: float | None) -> None:
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif delay is not None:
            self.add_after(key, delay)
        if not self._closed:
            self._dispatch()

    async def close(self) -> None:
        """Take no more keys and end the work that is under way; what it had not committed is done after a restart."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ready.clear()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
