"""The Ray provider under test, against the fake cluster."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestration.service.providers.base import Instance, InstanceSpec, InstanceState, ProviderContext
from orchestration.service.providers.ray.provider import RayProvider
from orchestration.service.providers.ray.settings import parse
from tests.support.provider_processes import engine_command, make_spec, until_async
from tests.support.ray.fake import FakeRay

LOGS_KEPT_S = 2.0
"""Instead of a minute."""
_WITHIN_S = 30.0


class RayHarness:
    """One installation's provider and its cluster."""

    def __init__(self, data_dir: Path, cluster: FakeRay, settings: Mapping[str, str]) -> None:
        self.cluster = cluster
        self.owner = f"test-{uuid.uuid4().hex}"
        self._data_dir = data_dir
        self._settings = {"address": cluster.url, **settings}
        self.provider = self.new_provider()

    def new_provider(self, owner: str = "") -> RayProvider:
        """Another provider of the same installation, as a gateway started later has it, or of another one."""
        context = ProviderContext(name="ray", data_dir=self._data_dir, owner=owner or self.owner)
        return RayProvider(context, parse(self._settings), logs_kept_s=LOGS_KEPT_S)

    async def restart(self) -> RayProvider:
        """Close the provider, and start one that knows nothing."""
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
        return self.cluster.live(name)


@asynccontextmanager
async def ray_harness(
    folder: Path, settings: Mapping[str, str] | None = None, **fields: Any
) -> AsyncGenerator[RayHarness]:
    """A started provider with a cluster of two nodes."""
    async with FakeRay(folder, **fields).serving() as cluster:
        harness = RayHarness(folder, cluster, settings or {})
        await harness.provider.start()
        try:
            yield harness
        finally:
            await harness.provider.close()


async def running(harness: RayHarness, name: str) -> Instance:
    """The instance once it runs."""

    async def look() -> Instance | None:
        instance = await harness.provider.describe(name)
        assert instance is not None
        return instance if instance.state is InstanceState.RUNNING else None

    instance = await until_async(look, _WITHIN_S)
    assert instance is not None
    return instance
