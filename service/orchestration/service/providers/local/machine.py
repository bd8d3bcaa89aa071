"""What this machine has to offer."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

from orchestration.service.domain.gpu import normalise
from orchestration.service.providers.base import Resource
from orchestration.service.providers.local.gpus import Gpu

_GIB = 1024**3
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_CPU_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CPU_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cpu_count() -> int:
    """CPUs that processes here can use: the affinity mask, cut to the control group's quota; at least 1."""
    usable = len(os.sched_getaffinity(0))
    quota = _cpu_quota()
    return max(1, min(usable, int(quota))) if quota else usable


def memory_gib() -> float:
    """Memory that processes here can use, in GiB: the machine's, cut to the control group's limit."""
    limits = [value for path in _MEMORY_LIMITS if (value := _number(path)) is not None]
    return round(min([psutil.virtual_memory().total, *limits]) / _GIB, 2)


def resources(
    provider: str, gpus: Sequence[Gpu], taken: frozenset[str], price_per_hour: float, region: str = ""
) -> list[Resource]:
    """One row for each type of GPU, with how many are free; on a machine without GPUs one row for its CPUs."""
    kinds: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        kinds.setdefault(normalise(gpu.model), []).append(gpu)
    if not kinds:
        return [_row(provider, [], 1, price_per_hour, region)]
    return [
        _row(provider, members, sum(gpu.uuid not in taken for gpu in members), price_per_hour, region)
        for members in kinds.values()
    ]


def _row(provider: str, members: list[Gpu], available: int, price_per_hour: float, region: str) -> Resource:
    return Resource(
        provider=provider,
        provider_resource_id=socket.gethostname(),
        gpu_type=members[0].model if members else "",
        gpu_count=len(members),
        gpu_memory_gb=round(members[0].memory_bytes / _GIB, 2) if members else 0.0,
        vcpu=cpu_count(),
        ram_gb=memory_gib(),
        region=region,
        pricing_model="fixed",
        price_per_hour=price_per_hour,
        available_count=available,
        metadata={"hostname": socket.gethostname(), "architecture": platform.machine(), "os": platform.system()},
    )


def _cpu_quota() -> float | None:
    if _CPU_MAX.exists():
        quota, period = _CPU_MAX.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _number(_CPU_QUOTA_V1), _number(_CPU_PERIOD_V1)
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def _number(path: Path) -> int | None:
    """The number in a file of a control group; None when there is no such file, or no limit in it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
