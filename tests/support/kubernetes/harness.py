"""The kubernetes provider under test, with a cluster of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.engines.base import OverNodes
from orchestration.service.providers.base import InstanceSpec, Provider, ProviderContext
from orchestration.service.providers.kubernetes import create
from tests.support.kubernetes.server import TOKEN, FakeKube
from tests.support.provider_processes import engine_command, make_spec

NAMESPACE = "llm"


class ProviderHolder:
    """One installation, and the provider that runs now."""

    def __init__(self, folder: Path, settings: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self.owner = f"test-{uuid.uuid4().hex}"
        self.clock = clock
        self._folder = folder
        self.settings = settings
        self.provider = self.new_provider()

    def new_provider(self) -> Provider:
        """Another provider of the same installation, as a gateway started later has it."""
        return create(
            ProviderContext(
                name="kubernetes", data_dir=self._folder, owner=self.owner, settings=self.settings, clock=self.clock
            )
        )

    async def restart(self) -> Provider:
        """Close the provider, and start one that has to find everything in the cluster."""
        await self.provider.close()
        self.provider = self.new_provider()
        await self.provider.start()
        return self.provider

    def spec(self, name: str, command: tuple[str, ...] | None = None, **changes: Any) -> InstanceSpec:
        fields: dict[str, Any] = {"owner": self.owner, "command": command or engine_command(), "image": "engine:1"}
        return make_spec(name, **(fields | {"stop_grace_s": 1.0, "container_port": 8000} | changes))

    def serving(self, name: str) -> InstanceSpec:
        return self.spec(name, engine_command("--lines", "3"))

    def exiting(self, name: str, lines: int, delay_s: float = 0) -> InstanceSpec:
        options = ("--lines", str(lines), "--delay", str(delay_s), "--exit-code", "3")
        return self.spec(name, engine_command(*options))


class KubernetesHarness(ProviderHolder):
    """The provider on a cluster that is not there."""

    def __init__(self, folder: Path, kube: FakeKube, settings: Mapping[str, str], clock: Callable[[], float]) -> None:
        config = kubeconfig(folder / "kubeconfig", {"here": kube})
        super().__init__(folder, {"kubeconfig": str(config), **settings}, clock)
        self.kube = kube

    def running(self, name: str) -> int:
        pods = [pod for pod in self.kube.objects.find("pods") if pod["status"]["phase"] not in {"Failed", "Succeeded"}]
        return sum(pod["metadata"]["annotations"]["orchestration-gateway/instance"] == name for pod in pods)


def group_spec(
    harness: KubernetesHarness,
    name: str,
    leader: tuple[str, ...] | None = None,
    worker: tuple[str, ...] | None = None,
    **changes: Any,
) -> InstanceSpec:
    """Of a replica with four GPUs over two nodes of type L4."""
    serving = engine_command("--lines", "1")
    over_nodes = OverNodes(leader=leader or serving, worker=worker or serving)
    fields: dict[str, Any] = {"gpu_count": 4, "resource_id": f"here/{NAMESPACE}#NVIDIA-L4x4n2#"}
    return harness.spec(name, over_nodes=over_nodes, **(fields | changes))


def kubeconfig(file: Path, clusters: Mapping[str, FakeKube], token: str = TOKEN) -> Path:
    """A kubeconfig with one context for each cluster, the first one current."""
    names = list(clusters)
    contexts = "".join(
        f"- {{name: {name}, context: {{cluster: {name}, user: gateway, namespace: {NAMESPACE}}}}}\n" for name in names
    )
    servers = "".join(f"- {{name: {name}, cluster: {{server: '{clusters[name].url}'}}}}\n" for name in names)
    file.write_text(
        f"apiVersion: v1\nkind: Config\ncurrent-context: {names[0]}\n"
        f"contexts:\n{contexts}clusters:\n{servers}users:\n- {{name: gateway, user: {{token: {token}}}}}\n"
    )
    return file


@asynccontextmanager
async def cluster(*namespaces: str, gpus: int = 0) -> AsyncGenerator[FakeKube]:
    """A cluster with one node without GPUs, and one with so many if any."""
    pytest.importorskip("yaml", reason="kubeconfigs are read by the extra `kubernetes`")
    kube = FakeKube(*(namespaces or (NAMESPACE,)))
    kube.add_node("cpu-1")
    if gpus:
        kube.add_node("gpu-1", gpus=gpus, gpu_type="NVIDIA-L4")
    await kube.start()
    try:
        yield kube
    finally:
        await kube.close()


@asynccontextmanager
async def kubernetes_harness(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    *,
    gpus: int = 0,
) -> AsyncGenerator[KubernetesHarness]:
    """A started provider on a cluster of its own."""
    async with cluster(gpus=gpus) as kube:
        harness = KubernetesHarness(folder, kube, settings or {}, clock)
        await harness.provider.start()
        try:
            yield harness
        finally:
            await harness.provider.close()
