"""Logs by way of a real API server, which asks a kubelet for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestration.service.providers.base import ProviderUnavailableError
from tests.support.kubernetes.admin import path_of
from tests.support.kubernetes.kubelet import GPU
from tests.support.kubernetes.real_cluster import RealCluster, RealHarness, real_harness
from tests.support.provider_conformance import line, read
from tests.support.provider_processes import ended, engine_command, until_async

pytestmark = pytest.mark.slow
WITHIN_S = 60.0


async def test_a_follower_waits_for_a_node(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"autoscaling": "true"}) as harness:
        command = engine_command("--lines", "2", "--exit-code", "3")
        await harness.provider.create(harness.spec("one", command, gpu_count=8))
        following = asyncio.create_task(read(harness.provider, "one", follow=True))
        assert await read(harness.provider, "one") == []
        await real.add_node("gpu-8", 8, "NVIDIA-L4")
        async with asyncio.timeout(WITHIN_S):
            assert [record.message for record in await following] == ["line 0", "line 1"]


async def test_a_long_log_is_read_to_its_end(harness: RealHarness) -> None:
    await harness.provider.create(harness.exiting("one", lines=20_000))
    await ended(harness.provider, "one")
    records = await read(harness.provider, "one")
    assert [record.message for record in records] == [f"line {number}" for number in range(20_000)]
    rest = await read(harness.provider, "one", after=records[9_999].cursor)
    assert rest == records[10_000:]


async def test_a_kubelet_that_is_away_is_no_log_that_ended(real: RealCluster, harness: RealHarness) -> None:
    made = await harness.provider.create(harness.serving("one"))
    await line(harness.provider, "one", "line 2")
    await real.admin.status("nodes", "", made.hostname, {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}})

    async def refused() -> bool:
        try:
            await read(harness.provider, "one")
        except ProviderUnavailableError as error:
            return "connection refused" in error.message
        return False  # the API server has not heard of the other port

    await until_async(refused, WITHIN_S)


async def test_what_no_node_has_has_an_empty_log(real: RealCluster) -> None:
    """So does the fake answer; once there is a node, its kubelet is asked, which refuses (400)."""
    spec = {
        "containers": [{"name": "engine", "image": "i", "command": ["x"], "resources": {"limits": {GPU: "64"}}}],
        "restartPolicy": "Never",
    }
    await real.admin.create("pods", real.namespace, {"metadata": {"name": "waits"}, "spec": spec})
    assert await real.admin.call("GET", path_of("pods", real.namespace, "waits", "log")) == {}
