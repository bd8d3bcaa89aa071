"""Requests served in their connection's own task, where Python cannot start another one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sized
from contextvars import copy_context
from types import coroutine
from typing import Any


class InPlace:
    """The event loop, as aiohttp has it for the requests of a connection.

    aiohttp makes a task for each, which costs two rounds of the loop, and as many looks at the sockets: a twentieth of
    a small request. From Python 3.12 on it starts that task eagerly, which costs none.

    Args:
        loop: The event loop.
        waiting: Requests of the connection that came and are not yet served.
    """

    __slots__ = ("_loop", "_waiting", "call_at", "create_future", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop, waiting: Sized) -> None:
        self._loop = loop
        self._waiting = waiting
        self.call_at = loop.call_at
        self.create_future = loop.create_future
        self.time = loop.time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def create_task(self, served: Coroutine[Any, Any, Any]) -> Any:
        """Something to await once, that runs it: in the current task, unless others would wait for all that waits."""
        return self._loop.create_task(served) if self._waiting else _apart(served)


@coroutine
def _apart(served: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a coroutine with context variables of its own, as a task would."""
    run = copy_context().run
    resume: Callable[[Any], Any] = served.send
    given: Any = None
    try:
        while True:
            try:
                awaited = run(resume, given)
            except StopIteration as done:
                return done.value
            try:
                given = yield awaited
                resume = served.send
            except BaseException as error:  # a cancellation, mostly: it is the coroutine's
                given, resume = error, served.throw
    finally:
        del given, resume  # an error holds this frame, which must not hold the error
