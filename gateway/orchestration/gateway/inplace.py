"""Requests served in their connection's own task, where Python cannot start another one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any


class InPlace:
    """What aiohttp asks of the event loop for the requests of a connection.

    It makes a task for each, which costs two rounds of the loop, and as many looks at the sockets: a twentieth of a
    small request. From Python 3.12 on it starts that task eagerly, which costs none.

    Args:
        loop: The event loop.
    """

    __slots__ = ("call_at", "create_future", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.call_at = loop.call_at
        self.create_future = loop.create_future
        self.time = loop.time

    def create_task(self, served: Coroutine[Any, Any, Any]) -> Any:
        """Something to await once, that runs it in the current task."""
        return _apart(served)


@coroutine
def _apart(served: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a coroutine with context variables of its own, as a task would."""
    run = copy_context().run
    resume: Callable[[Any], Any] = served.send
    given: Any = None
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
