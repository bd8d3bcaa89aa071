"""What a gateway is called as the owner of leases, and whether one of that name is certainly gone."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

from orchestration.service.ids import new_id
from orchestration.service.providers.local.shim.statefile import boot_id, process_start

_SEPARATOR = "|"


def process_owner() -> str:
    """A new name that no other gateway has, at any time: host, boot, pid namespace, pid, start, and an id.

    Containers may share a hostname and count their processes from 1 alike; boot and namespace tell them apart.
    """
    pid = os.getpid()
    return _SEPARATOR.join((*_place(), str(pid), str(process_start(pid)), new_id()))


def is_dead(owner: str) -> bool:
    """Whether an owner's process is gone, so that its leases need not run out first.

    Known only of processes of this boot and pid namespace; of others, and where a process is hidden, it is False.
    """
    *place, pid, started, _ = owner.rsplit(_SEPARATOR, 3) if owner.count(_SEPARATOR) >= 5 else ("", "", "", "")
    if place != [_SEPARATOR.join(_place())] or not pid.isdigit():
        return False
    found = process_start(int(pid))
    return _is_gone(int(pid)) if found is None else str(found) != started


@cache
def _place() -> tuple[str, str, str]:
    return socket.gethostname(), boot_id(), str(Path("/proc/self/ns/pid").stat().st_ino)


def _is_gone(pid: int) -> bool:
    """Whether a process that does not show has ended; one of another user may be hidden while it lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return Path(f"/proc/{pid}").exists()
    return True  # a zombie
