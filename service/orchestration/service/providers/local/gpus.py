"""The GPUs of this machine, and which of them a new instance gets."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from orchestration.service.domain.gpu import allowed, normalise
from orchestration.service.providers.base import CapacityError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG slice of one, as CUDA knows it."""

    uuid: str
    model: str
    """Product name, e.g. ``NVIDIA H200``."""
    memory_bytes: int


class GpuInventory(Protocol):
    """Where the list of GPUs comes from."""

    def read(self) -> Sequence[Gpu]:
        """All GPUs, always in the same order; none on a machine without a driver. May block for a second or two."""
        ...


class NvmlInventory:
    """GPUs as NVIDIA's management library reports them; read once, since they do not come and go under a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gpus: tuple[Gpu, ...] | None = None

    def read(self) -> Sequence[Gpu]:
        with self._lock:
            if self._gpus is None:
                self._gpus = _read_nvml()
            return self._gpus


def choose(
    gpus: Sequence[Gpu], taken: frozenset[str], *, count: int, types: tuple[str, ...], engine: str
) -> tuple[str, ...]:
    """UUIDs of free GPUs for an instance, all of one type: engines split a model evenly over what they are given.

    Raises `CapacityError` saying how many were wanted, are there, and are free.
    """
    if count == 0:
        return ()
    fitting = [gpu for gpu in gpus if allowed(gpu.model, types)]
    free = Counter(normalise(gpu.model) for gpu in fitting if gpu.uuid not in taken)
    # The type with the fewest free ones that suffice: larger groups stay whole for larger requests.
    kind = min((kind for kind, n in free.items() if n >= count), key=lambda kind: free[kind], default="")
    if not kind:
        wanted = f"{count} GPU{'s' if count > 1 else ''} of {'type ' + ' or '.join(types) if types else 'one type'}"
        raise CapacityError(
            f"engine {engine} wants {wanted}; this machine has {len(fitting)}, of which {free.total()} are free",
            reason="NO_CAPACITY" if len(fitting) >= count else "NOT_ENOUGH_GPUS",
        )
    return tuple(gpu.uuid for gpu in fitting if gpu.uuid not in taken and normalise(gpu.model) == kind)[:count]


def _read_nvml() -> tuple[Gpu, ...]:
    import pynvml  # only machines with a driver need it, and loading it takes a while

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.info("no GPUs: the NVIDIA driver's library is not usable", error=str(error))
        return ()
    try:
        return all_devices(pynvml)
    finally:
        pynvml.nvmlShutdown()


def all_devices(nvml: Any) -> tuple[Gpu, ...]:
    """Every GPU, a divided one as its slices. The argument is the library, initialised."""
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    return tuple(gpu for handle in handles for gpu in _devices(nvml, handle))


def _devices(nvml: Any, handle: Any) -> list[Gpu]:
    slices = _mig_slices(nvml, handle)
    return [_gpu(nvml, part) for part in slices] if slices is not None else [_gpu(nvml, handle)]


def _mig_slices(nvml: Any, handle: Any) -> list[Any] | None:
    """Handles of the MIG slices; None when the GPU is not divided."""
    try:
        if nvml.nvmlDeviceGetMigMode(handle)[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return None
    except nvml.NVMLError_NotSupported:
        return None
    slices: list[Any] = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
        except nvml.NVMLError_NotFound:
            continue
    return slices


def _gpu(nvml: Any, handle: Any) -> Gpu:
    return Gpu(
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        model=str(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )
