"""Choosing the port an engine listens on, and telling who has one that is taken."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

import psutil

from orchestration.service.providers.base import CapacityError, InstanceConflictError, InstanceRejectedError

# Below the ports that the kernel gives to outgoing connections (one of those could take the port while the engine
# still loads), and below those that Kubernetes gives to services.
_FIRST, _LAST = 20000, 29999
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str, taken: frozenset[int]) -> int:
    """A port that nobody listens on and that no instance was given. Raises `CapacityError` when there is none."""
    first_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0]) if _EPHEMERAL_RANGE.exists() else _LAST + 1
    last = min(_LAST, first_ephemeral - 1)
    ports = range(_FIRST, last + 1) if last > _FIRST else range(1024, 65536)
    # By chance, so that two creators, or one that tries again, do not run into the same stranger's port.
    start = random.randrange(len(ports))  # noqa: S311
    for offset in range(len(ports)):
        port = ports[(start + offset) % len(ports)]
        if port not in taken and bind_error(host, port) is None:
            return port
    raise CapacityError(f"no free port on {host} between {ports[0]} and {ports[-1]}", reason="NO_FREE_PORT")


def require_free(host: str, port: int) -> None:
    """Raises when an engine could not listen on the port, saying who does where that shows.

    `InstanceConflictError` when it is in use, `InstanceRejectedError` when it could not be used anyhow.
    """
    number = bind_error(host, port)
    if number is None:
        return
    if number == errno.EADDRINUSE:
        raise InstanceConflictError("PORT_IN_USE", f"port {port} on {host} is in use{_by_whom(port)}")
    if number == errno.EACCES:
        raise InstanceRejectedError("PORT_NOT_PERMITTED", f"port {port} needs privileges; choose one of 1024 to 65535")
    raise InstanceRejectedError("PORT_NOT_USABLE", f"port {port} on {host} cannot be used: {errno.errorcode[number]}")


def bind_error(host: str, port: int) -> int | None:
    """Why a server could not listen there (an errno); None when it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: connections of an earlier server that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.errno
    return None


def listener(port: int) -> int | None:
    """The pid of the process that listens on a port; None when that cannot be seen."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    listening = (item for item in connections if item.status == psutil.CONN_LISTEN)
    return next((item.pid for item in listening if item.pid and item.laddr and item.laddr.port == port), None)


def _by_whom(port: int) -> str:
    pid = listener(port)
    if pid is None:
        return ""
    try:
        return f" by process {pid} ({psutil.Process(pid).name()})"
    except psutil.NoSuchProcess:
        return ""
