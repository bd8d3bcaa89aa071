"""A control plane as a process: forked from a warm parent, told what to do over a socket, killed at any point.

The parent has everything imported and runs no thread, so that a start takes about a tenth of a second. The child's loop
runs only while it is told to do something: between two commands its world stands still, and time with it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any

from orchestration.service.logging import configure_logging
from tests.chaos import points as watching
from tests.chaos.plane import Plane, PlaneConfig
from tests.chaos.skipping import Busy, SkippingLoop, skip_to

_ANSWER_WITHIN_S = 120.0
"""Of real time: a child that takes longer hangs."""


class KilledError(Exception):
    """The child has killed itself; what it was told to do may have been done or not."""


class ChildError(Exception):
    """The child failed at what it was told to do; the text is its traceback."""


@dataclass(frozen=True)
class _Failure:
    text: str


class Child:
    """A control plane that runs."""

    def __init__(self, config: PlaneConfig, now: float) -> None:
        """Start it; its clock begins at `now` at the earliest. Use `call` to wait until it has started."""
        assert threading.active_count() == 1, "a process with threads cannot be forked safely"
        skip_to(now)
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _be_child(config, theirs)
        theirs.close()
        self._socket = ours
        self._socket.settimeout(_ANSWER_WITHIN_S)
        self.dead = False

    def call(self, method: str, *args: Any) -> Any:
        """Have it call a method of its `Plane`. Raises `KilledError`, `ChildError`."""
        try:
            _send(self._socket, (method, args))
            answer = _receive(self._socket)
        except TimeoutError as error:
            self.kill()
            raise ChildError(f"no answer to {method}{args!r} within {_ANSWER_WITHIN_S} s") from error
        except (EOFError, ConnectionError, BrokenPipeError) as error:
            status = self._reap()
            if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
                raise ChildError(f"the child ended by itself: wait status {status}") from error
            raise KilledError from error
        if isinstance(answer, _Failure):
            raise ChildError(answer.text)
        return answer

    def kill(self) -> None:
        """Kill it now, if it lives."""
        if not self.dead:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> int:
        self._socket.close()
        self.dead = True
        return os.waitpid(self.pid, 0)[1]


def _be_child(config: PlaneConfig, sock: socket.socket) -> None:
    """Run until the parent closes the socket; never returns."""
    code = 1
    try:
        log = open(config.folder / "log", "a", buffering=1)  # noqa: SIM115, PTH123 - open until the end
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        configure_logging("info", "console", log)
        gc.disable()  # a short life in memory that is shared with the parent
        _serve(config, sock)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def _serve(config: PlaneConfig, sock: socket.socket) -> None:
    points = watching.Points(trace=config.trace)
    points.arm(config.kill_at)
    loop = SkippingLoop(Busy())
    asyncio.set_event_loop(loop)
    watching.watch(loop, points, config.folder)
    plane = Plane(config, points, loop.busy)
    while True:
        try:
            method, args = _receive(sock)
        except EOFError:
            return
        try:
            answer = loop.run_until_complete(getattr(plane, method)(*args))
        except Exception:
            answer = _Failure(traceback.format_exc())
        _send(sock, answer)


def _send(sock: socket.socket, message: Any) -> None:
    data = pickle.dumps(message)
    sock.sendall(struct.pack("!I", len(data)) + data)


def _receive(sock: socket.socket) -> Any:
    (size,) = struct.unpack("!I", _exactly(sock, 4))
    return pickle.loads(_exactly(sock, size))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(min(1 << 20, size - len(data)))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
