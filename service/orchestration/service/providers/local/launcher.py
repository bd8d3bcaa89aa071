"""Starting a supervisor, and through it an engine."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.local.processes import SUPERVISOR_TAG
from orchestration.service.providers.local.shim import __file__ as _shim_init
from orchestration.service.providers.local.shim.launch import Launch, encode

SUPERVISOR_LOG = "supervisor.log"
_SCRIPT = Path(_shim_init).with_name("__main__.py")
_START_TIMEOUT_S = 20.0
# What the gateway ignores, or whoever started it (nohup, a shell's background job), no engine is to inherit.
_RESETTABLE = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_FIRST_SPARE_FD = 10
"""Above every number that a descriptor gets in the supervisor, so that placing one cannot close another."""


def launch(folder: Path, lock: int, tags: Mapping[str, str], order: Launch) -> int:
    """Start a supervisor that holds the lock and runs the order; its pid, once ``state.json`` tells how that went.

    Raises `ProviderError` (retryable) when the supervisor itself did not come up.
    """
    message = encode(order)
    order_read, order_write = os.pipe()
    report_read, report_write = os.pipe()
    try:
        try:
            pid = _spawn(folder, lock, tags, order_read, report_write)
        finally:
            os.close(order_read)
            os.close(report_write)
        _send(order_write, message)
        order_write = -1
        if not _wait_for_report(report_read):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise ProviderError("SUPERVISOR_FAILED", _failure(folder), retryable=True)
        return pid
    finally:
        os.close(report_read)
        if order_write >= 0:
            os.close(order_write)


def _spawn(folder: Path, lock: int, tags: Mapping[str, str], stdin: int, stdout: int) -> int:
    errors = os.open(folder / SUPERVISOR_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    spare: list[int] = []
    try:
        # In the order of the numbers, 0 to 3, that the supervisor finds them at.
        spare.extend(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_FD) for fd in (stdin, stdout, errors, lock))
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(_SCRIPT), str(folder)],
            {"PATH": os.defpath, "LANG": "C.UTF-8", **tags, SUPERVISOR_TAG: "1"},
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(spare)],
            setsid=True,
            setsigmask=(signal.SIGTERM,),  # kept pending until the supervisor can pass it on
            setsigdef=_RESETTABLE,
        )
    finally:
        for fd in (*spare, errors):
            os.close(fd)


def _send(fd: int, message: bytes) -> None:
    try:
        with os.fdopen(fd, "wb") as pipe:
            pipe.write(message)
    except BrokenPipeError:
        return  # the supervisor died at once: the report, which never comes, tells


def _wait_for_report(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(_START_TIMEOUT_S * 1000)) and os.read(fd, 1) != b""


def _failure(folder: Path) -> str:
    lines = (folder / SUPERVISOR_LOG).read_text(errors="replace").strip().splitlines()
    return f"the supervisor process did not start{': ' + lines[-1] if lines else ''}"
