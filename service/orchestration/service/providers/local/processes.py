"""Finding and ending processes that are certainly ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import psutil
import structlog

from orchestration.service.providers.local.shim.statefile import process_start

log = structlog.get_logger(__name__)

OWNER_TAG = "ORCHESTRATION_OWNER"
INSTANCE_TAG = "ORCHESTRATION_INSTANCE"
SUPERVISOR_TAG = "ORCHESTRATION_SUPERVISOR"
"""In the supervisor's environment only, never in the engine's."""


def tagged(owner: str, name: str) -> Iterator[int]:
    """The pids of all processes that carry an instance's tags: its supervisor, its engine, what the engine started."""
    for process in psutil.process_iter():
        environment = _environment(process.pid)
        if environment.get(OWNER_TAG) == owner and environment.get(INSTANCE_TAG) == name:
            yield process.pid


def instance_of(pid: int, owner: str) -> str:
    """The name of the instance that a process belongs to; empty when it is none of this installation's."""
    environment = _environment(pid)
    return environment.get(INSTANCE_TAG, "") if environment.get(OWNER_TAG) == owner else ""


def is_ours(pid: int, start: int | None, owner: str, name: str) -> bool:
    """Whether the process still is the one that was recorded: same start time, and it carries the instance's tags."""
    return start is not None and process_start(pid) == start and instance_of(pid, owner) == name


def find_supervisor(owner: str, name: str) -> int | None:
    """The supervisor of an instance whose record does not tell, found among all processes."""
    return next((pid for pid in tagged(owner, name) if SUPERVISOR_TAG in _environment(pid)), None)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; nothing happens when it has ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def sweep(owner: str, name: str, timeout_s: float = 5.0) -> int:
    """Kill every process of an instance, again until none is left (one may be forking); how many were killed."""
    killed: set[int] = set()
    deadline = time.monotonic() + timeout_s
    while found := [pid for pid in tagged(owner, name) if process_start(pid) is not None]:
        for pid in found:
            send(pid, signal.SIGKILL)
        killed.update(found)
        if time.monotonic() > deadline:
            log.error("processes that cannot be killed", instance=name, pids=found)
            break
        time.sleep(0.005)
    return len(killed)


def _environment(pid: int) -> dict[str, str]:
    try:
        return psutil.Process(pid).environ()
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return {}
