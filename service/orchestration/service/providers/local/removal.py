"""Ending instances, and putting right what was left by a supervisor or a gateway that died."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import structlog

from orchestration.service.providers.local import processes
from orchestration.service.providers.local.instances import View, look, lost_state
from orchestration.service.providers.local.records import CorruptRecordError, InstanceFolder, StateRecord

log = structlog.get_logger(__name__)

_TRIES = 50
_BETWEEN_TRIES_S = 0.01


def needs_settling(view: View) -> bool:
    """Whether what is on disk no longer is what is there, with nobody at work on it."""
    return not view.supervised and (view.deleting or view.lost or (view.state is None and not view.corrupt))


def settle(folder: InstanceFolder, owner: str, clock: Callable[[], float]) -> None:
    """Bring the record of an instance without supervisor to what is true; does nothing when it has one. Blocks.

    One that was to be deleted is removed, one whose supervisor died is recorded as lost, one whose creation was
    interrupted before a supervisor started is removed; a corrupt record is left for a person to see. No process of
    it is left in any of these cases.
    """
    lock = _lock(folder)
    if lock is None:
        return
    try:
        view = look(folder)
        # Holding the lock ourselves is what makes the view look supervised.
        if view is None or (view.state is not None and view.state.phase != "running" and not view.deleting):
            return
        killed = processes.sweep(owner, folder.name)
        if view.corrupt and not view.deleting:
            log.warning("supervisor lost", instance=folder.name, killed=killed, corrupt=view.corrupt)
        elif view.deleting or view.state is None:
            folder.remove(clock())
            log.info("instance removed", instance=folder.name, deleted=view.deleting, killed=killed)
        else:
            folder.write(lost_state(view.state, clock()))
            log.warning("supervisor lost", instance=folder.name, killed=killed)
    finally:
        os.close(lock)


def ask_to_stop(folder: InstanceFolder, owner: str) -> bool:
    """Tell the supervisor to end its engine; False when there is none (yet) to be told."""
    try:
        state = folder.state()
    except CorruptRecordError:
        state = StateRecord(phase="running")
    if state is None:
        return False
    pid: int | None = state.supervisor_pid
    if not processes.is_ours(state.supervisor_pid, state.supervisor_start, owner, folder.name):
        pid = processes.find_supervisor(owner, folder.name)
    # The mark after the pid: the name may by now be a new instance's, which nobody wants to end.
    if pid is None or not folder.deleting():
        return False
    processes.send(pid, signal.SIGTERM)
    return True


def _lock(folder: InstanceFolder) -> int | None:
    """The lock; those who only look hold it for an instant, so a few tries tell a supervisor from a look."""
    for _ in range(_TRIES):
        try:
            lock = folder.lock()
        except FileNotFoundError:
            return None
        if lock is not None:
            return lock
        time.sleep(_BETWEEN_TRIES_S)
    return None
