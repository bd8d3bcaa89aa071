"""The local provider under test, with a GPU inventory of the test's choice."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestration.service.providers.base import InstanceSpec, ProviderContext
from orchestration.service.providers.local.gpus import Gpu
from orchestration.service.providers.local.provider import LocalProvider
from tests.support.provider_processes import engine_command, engines, make_spec, owned_processes, until

_GIB = 1024**3

Clock = Callable[[], float]


class FakeInventory:
    """GPUs that are not there."""

    def __init__(self, gpus: Sequence[Gpu] = ()) -> None:
        self.gpus = tuple(gpus)

    def read(self) -> Sequence[Gpu]:
        return self.gpus


def four_gpus() -> FakeInventory:
    """Three of one type, one of another."""
    big = [Gpu(f"GPU-a{n}", "NVIDIA H200", 139 * _GIB) for n in range(3)]
    return FakeInventory([*big, Gpu("GPU-b0", "NVIDIA GeForce RTX 4090", 24 * _GIB)])


class LocalHarness:
    """One installation: its data folder, its tag, and the provider that runs now."""

    def __init__(
        self, data_dir: Path, inventory: FakeInventory, settings: Mapping[str, str], clock: Clock = time.time
    ) -> None:
        self.data_dir = data_dir
        self.owner = f"test-{uuid.uuid4().hex}"
        self.inventory = inventory
        self.settings = settings
        self.clock = clock
        self.provider = self.new_provider()

    def new_provider(self) -> LocalProvider:
        """Another provider on the same folder, as a gateway started later has it."""
        context = ProviderContext(
            name="local", data_dir=self.data_dir, owner=self.owner, settings=self.settings, clock=self.clock
        )
        return LocalProvider(context, self.inventory)

    async def restart(self) -> LocalProvider:
        """Close the provider, and start one that has to find everything on the disk."""
        await self.provider.close()
        self.provider = self.new_provider()
        await self.provider.start()
        return self.provider

    def spec(self, name: str, command: tuple[str, ...] | None = None, **changes: Any) -> InstanceSpec:
        return make_spec(name, **({"owner": self.owner, "command": command or engine_command()} | changes))

    def serving(self, name: str) -> InstanceSpec:
        return self.spec(name, engine_command("--lines", "3"))

    def exiting(self, name: str, lines: int, delay_s: float = 0) -> InstanceSpec:
        options = ("--lines", str(lines), "--delay", str(delay_s), "--exit-code", "3")
        return self.spec(name, engine_command(*options))

    def running(self, name: str) -> int:
        return len(engines(self.owner, name))

    def folder(self, name: str) -> Path:
        return self.data_dir / "instances" / name


@asynccontextmanager
async def local_harness(
    data_dir: Path,
    inventory: FakeInventory | None = None,
    settings: Mapping[str, str] | None = None,
    clock: Clock = time.time,
) -> AsyncGenerator[LocalHarness]:
    """A started provider; at the end everything is deleted, and no process may be left."""
    harness = LocalHarness(data_dir, inventory or FakeInventory(), settings or {}, clock)
    await harness.provider.start()
    try:
        yield harness
    finally:
        for entry in (data_dir / "instances").iterdir():
            await harness.provider.delete(entry.name)

        def all_gone() -> bool:
            return not any((data_dir / "instances").iterdir())

        try:
            await until(all_gone)
            assert owned_processes(harness.owner) == []
        finally:
            for process in owned_processes(harness.owner):
                process.kill()
            await harness.provider.close()
