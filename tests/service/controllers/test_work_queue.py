"""The work queue: once for each key, never twice at once, later when asked, again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestration.service.controllers.queue import WorkQueue
from orchestration.service.domain.backoff import Backoff
from orchestration.store.errors import LeaseLostError, StaleRecordError


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


class Handler:
    """Notes what it is called with, and does what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.results: list[float | Exception | None] = []

    async def __call__(self, key: str) -> float | None:
        self.calls.append(key)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        result = self.results.pop(0) if self.results else None
        if isinstance(result, Exception):
            raise result
        return result


def queue(handler: Handler, workers: int = 4) -> WorkQueue:
    return WorkQueue("test", handler, workers=workers, backoff=Backoff(0.01, 0.02))


async def test_a_key_added_many_times_is_worked_on_once_and_once_more_when_added_meanwhile() -> None:
    handler = Handler()
    work = queue(handler)
    for _ in range(10):
        work.add("a")
    await until(lambda: handler.calls == ["a"])
    work.add("a")
    work.add("a")
    handler.gate.set()
    await until(lambda: handler.calls == ["a", "a"] and handler.running == 0)
    await work.close()
    assert handler.calls == ["a", "a"]
    assert handler.most == 1, "one key was worked on twice at once"


async def test_no_more_workers_than_allowed() -> None:
    handler = Handler()
    work = queue(handler, workers=3)
    for number in range(20):
        work.add(str(number))
    await until(lambda: handler.running == 3)
    handler.gate.set()
    await until(lambda: len(handler.calls) == 20)
    await work.close()
    assert handler.most == 3


async def test_a_delay_is_kept_and_an_add_comes_before_it() -> None:
    handler = Handler()
    handler.gate.set()
    handler.results = [60.0, None]
    work = queue(handler)
    work.add("a")
    await until(lambda: len(handler.calls) == 1)
    work.add("a")
    await until(lambda: len(handler.calls) == 2)
    handler.results = [0.01, None]
    work.add("a")
    await until(lambda: len(handler.calls) == 4)
    await work.close()


async def test_a_failure_is_tried_again_and_so_is_a_stale_write() -> None:
    handler = Handler()
    handler.gate.set()
    handler.results = [RuntimeError("no"), StaleRecordError("replica", "r"), None]
    work = queue(handler)
    work.add("a")
    await until(lambda: len(handler.calls) == 3)
    await work.close()


async def test_closing_ends_what_runs_and_takes_nothing_more() -> None:
    handler = Handler()
    work = queue(handler)
    work.add("a")
    await until(lambda: handler.running == 1)
    await work.close()
    work.add("b")
    await asyncio.sleep(0)
    assert handler.calls == ["a"]
    assert handler.running == 0


async def test_work_without_its_lease_is_not_asked_for_again_and_again() -> None:
    calls = 0

    async def refused(key: str) -> None:
        nonlocal calls
        calls += 1
        raise LeaseLostError(key)

    queue = WorkQueue("test", refused, workers=1, backoff=Backoff(0.01, 0.1))
    queue.add("a")
    await asyncio.sleep(0.2)
    await queue.close()
    assert calls == 1
