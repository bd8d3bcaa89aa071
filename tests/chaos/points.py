"""Where a process can be killed: every suspension of a task, and both sides of each effect outside of it.

A point is one of

- ``await``: a task of the control plane has been suspended,
- ``database``: a statement is about to be sent to SQLite's thread, or has run there and nobody has been told,
- ``file``: a job of the log store is about to be run, or has been and nobody has been told,
- ``disk``: within such a job, a file is about to be opened, renamed, cut or removed,
- ``cloud``: a call is about to be sent, or its answer has come.
"""

from __future__ import annotations

import asyncio
import collections.abc
import itertools
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

from tests.chaos.skipping import SkippingLoop

_OURS = f"{os.sep}orchestration{os.sep}"
_WRITING = {"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP"}
_DISK_EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir"}


class Points:
    """Counts points from 1; the process kills itself with SIGKILL when it reaches the one that is set."""

    def __init__(self, *, trace: bool) -> None:
        self.trace: list[tuple[str, str]] = []
        """Kind and place of every point, when they are to be told."""
        self.reached = 0
        self._tracing = trace
        self._kill_at: int | None = None
        self._numbers = itertools.count(1)

    def disarm(self) -> int:
        """Die at no point; gives how many were reached."""
        self._kill_at, self._tracing = None, False
        return self.reached

    def arm(self, kill_at: int | None) -> None:
        """Count anew from here, and die at that point; None: at none."""
        self.trace.clear()
        self.reached = 0
        self._numbers = itertools.count(1)
        self._kill_at = kill_at

    def reach(self, kind: str, where: str) -> None:
        """Count a point; may be called in any thread."""
        self.reached = number = next(self._numbers)
        if self._tracing:
            self.trace.append((kind, where))
        if number == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class _Watched(collections.abc.Coroutine[Any, Any, Any]):
    """A task's coroutine whose suspensions are points."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], points: Points) -> None:
        self._coroutine = coroutine
        self._points = points
        self._last = ""
        self.__name__ = getattr(coroutine, "__name__", "coroutine")
        self.__qualname__ = getattr(coroutine, "__qualname__", "coroutine")

    def send(self, value: Any) -> Any:
        """Go on to the next suspension."""
        suspended = self._coroutine.send(value)
        self._reach()
        return suspended

    def throw(self, *error: Any) -> Any:
        """Go on with an exception to the next suspension."""
        suspended = self._coroutine.throw(*error)
        self._reach()
        return suspended

    def _reach(self) -> None:
        """One `await` of ours that a library suspends several times in a row is one point."""
        place = _place(self._coroutine)
        if place and place != self._last:
            self._points.reach("await", place)
        self._last = place

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._coroutine.__await__()


def _place(coroutine: Any) -> str:
    """The innermost line of the gateway's code at which a suspended coroutine waits; empty when there is none."""
    place = ""
    current: Any = coroutine
    while current is not None:
        frame = getattr(current, "cr_frame", None) or getattr(current, "gi_frame", None)
        frame = frame or getattr(current, "ag_frame", None)
        if frame is not None and _OURS in frame.f_code.co_filename:
            place = f"{_module(frame.f_code.co_filename)}:{frame.f_lineno}"
        current = (
            getattr(current, "cr_await", None)
            or getattr(current, "gi_yieldfrom", None)
            or getattr(current, "ag_await", None)
        )
    return place


def _module(path: str) -> str:
    return path.rpartition(_OURS)[2]


def watch(loop: SkippingLoop, points: Points, folder: Path) -> None:
    """Make everything that the loop runs from now on reach points; files are those below `folder`."""

    def make_task(task_loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Watched(coroutine, points), loop=task_loop, **options)

    loop.set_task_factory(make_task)
    _watch_database(loop, points)
    _watch_jobs(loop, points)
    _watch_disk(points, str(folder))


def _watch_database(loop: SkippingLoop, points: Points) -> None:
    busy = loop.busy
    connection: Any = aiosqlite.Connection
    execute, connect, stop = connection._execute, connection._connect, connection.stop

    async def _execute(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        what = _statement(self, function, args)
        if not what:
            with busy.while_outside():
                return await execute(self, function, *args, **kwargs)
        points.reach("database", f"before {what}")

        def then_told(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            points.reach("database", f"after {what}")
            return result

        with busy.while_outside():
            return await execute(self, then_told, *args, **kwargs)

    async def _connect(self: Any) -> Any:
        with busy.while_outside():
            return await connect(self)

    def _stop(self: Any) -> Any:
        future = stop(self)
        if future is not None:
            busy.count += 1
            future.add_done_callback(busy.ended)
        return future

    connection._execute, connection._connect, connection.stop = _execute, _connect, _stop


def _statement(connection: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What is done to the database, in a few words; empty when it changes nothing there."""
    if args and isinstance(args[0], str):
        words = args[0].split()
        if words[:1] == ["BEGIN"]:
            connection.chaos_writes = "IMMEDIATE" in words
        return " ".join(words[:3]) if words[0] in _WRITING or "IMMEDIATE" in words else ""
    name = getattr(function, "__name__", "")
    return name if name == "commit" and connection.chaos_writes else ""


def _watch_jobs(loop: SkippingLoop, points: Points) -> None:
    run: Any = loop.run_in_executor

    def run_in_executor(executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        named = getattr(function, "func", function)
        what = getattr(named, "__qualname__", type(named).__name__)
        points.reach("file", f"before {what}")

        def then_told() -> Any:
            result = function(*args)
            points.reach("file", f"after {what}")
            return result

        return run(executor, then_told)

    patched: Any = loop
    patched.run_in_executor = run_in_executor


def _watch_disk(points: Points, folder: str) -> None:
    def audited(event: str, args: tuple[Any, ...]) -> None:
        if event in _DISK_EVENTS and args and isinstance(args[0], str) and args[0].startswith(folder):
            points.reach("disk", f"before {event} {Path(args[0]).suffix or Path(args[0]).name}")

    sys.addaudithook(audited)


def effects(trace: Sequence[tuple[str, str]]) -> list[int]:
    """For each point, how many effects that outlive the process stand before it.

    Points with the same number leave the same behind when the process dies there.
    """
    total = itertools.accumulate((_lasts(kind, where) for kind, where in trace), initial=0)
    return list(total)[:-1]


def _lasts(kind: str, where: str) -> bool:
    match kind:
        case "database":
            return where == "after commit"
        case "cloud":
            return where.startswith(("create", "delete"))
        case "file" | "disk":
            return True
        case _:
            return False
