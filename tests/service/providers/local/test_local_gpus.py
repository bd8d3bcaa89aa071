"""Reading the GPUs of a machine, by a stand-in for the driver's library where there is no driver."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from orchestration.service.providers.local.gpus import Gpu, NvmlInventory, all_devices


@dataclass
class Device:
    """A GPU or a slice, which is its own handle."""

    uuid: str
    name: str
    memory: int
    divided: bool | None = None
    """None: it cannot be."""
    slices: tuple[Device, ...] = ()


class FakeNvml:
    """The part of the library's functions that is used."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError_NotSupported(Exception):  # noqa: N801, N818
        """Raised for a GPU that cannot be divided."""

    class NVMLError_NotFound(Exception):  # noqa: N801, N818
        """Raised for a slice that is not there."""

    def __init__(self, *devices: Device) -> None:
        self.devices = devices

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        return self.devices[index]

    def nvmlDeviceGetMigMode(self, handle: Device) -> list[int]:
        if handle.divided is None:
            raise self.NVMLError_NotSupported
        return [int(handle.divided)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Device) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Device, index: int) -> Device:
        if index >= len(handle.slices):
            raise self.NVMLError_NotFound
        return handle.slices[index]

    def nvmlDeviceGetUUID(self, handle: Device) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Device) -> str:
        return handle.name

    def nvmlDeviceGetMemoryInfo(self, handle: Device) -> SimpleNamespace:
        return SimpleNamespace(total=handle.memory)


def test_a_divided_gpu_counts_as_its_slices() -> None:
    parts = tuple(Device(f"MIG-{n}", "NVIDIA H200 MIG 1g.18gb", 18) for n in range(2))
    plain = Device("GPU-1", "NVIDIA T4", 16)
    whole = Device("GPU-2", "NVIDIA H200", 139, divided=False)
    divided = Device("GPU-3", "NVIDIA H200", 139, divided=True, slices=parts)
    assert all_devices(FakeNvml(plain, whole, divided)) == (
        Gpu("GPU-1", "NVIDIA T4", 16),
        Gpu("GPU-2", "NVIDIA H200", 139),
        Gpu("MIG-0", "NVIDIA H200 MIG 1g.18gb", 18),
        Gpu("MIG-1", "NVIDIA H200 MIG 1g.18gb", 18),
    )


def test_a_divided_gpu_without_slices_gives_none() -> None:
    assert all_devices(FakeNvml(Device("GPU-1", "x", 1, divided=True))) == ()


def test_this_machine_can_be_read() -> None:
    """With a driver or without one: every GPU has an id of its own, and reading again gives the same."""
    inventory = NvmlInventory()
    found = inventory.read()
    assert len({gpu.uuid for gpu in found}) == len(found)
    assert all(gpu.memory_bytes > 0 and gpu.model for gpu in found)
    assert inventory.read() == found
