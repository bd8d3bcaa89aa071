"""What the real scheduler, the garbage collector and admission do, and what the provider makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import (
    CapacityError,
    InstanceRejectedError,
    InstanceState,
    ProviderError,
    ProviderUnavailableError,
)
from tests.support.kubernetes.admin import path_of
from tests.support.kubernetes.kubelet import GPU
from tests.support.kubernetes.real_cluster import RealCluster, RealHarness, real_harness
from tests.support.kubernetes.refusing_webhook import refusing_webhook
from tests.support.provider_processes import gone, until_async

pytestmark = pytest.mark.slow
WITHIN_S = 60.0


async def _is_empty(real: RealCluster) -> None:
    async def empty() -> bool:
        return not await real.left()

    await until_async(empty, WITHIN_S)


async def _runs(harness: RealHarness, name: str) -> None:
    async def running() -> bool:
        found = await harness.provider.describe(name)
        return found is not None and found.state is InstanceState.RUNNING

    await until_async(running, WITHIN_S)


async def test_what_a_pod_owns_goes_with_it(real: RealCluster, harness: RealHarness) -> None:
    for name in ("ours", "theirs"):
        await harness.provider.create(harness.serving(name))
        await _runs(harness, name)
    assert len(await real.left()) == 6
    await harness.provider.delete("ours")
    other = next(pod for pod in real.pods() if pod["metadata"]["name"].startswith("og-theirs"))
    await real.admin.delete("pods", real.namespace, other["metadata"]["name"])
    await _is_empty(real)


async def test_replicas_go_where_there_is_room(real: RealCluster, harness: RealHarness) -> None:
    for name in ("one", "two"):
        made = await harness.provider.create(harness.spec(name, gpu_count=2, gpu_types=("l4",)))
        assert made.hostname == f"{real.namespace}-gpu-1"
    free = {item.gpu_count: item.available_count for item in await harness.provider.list_resources() if item.gpu_type}
    assert free == {1: 0, 2: 0, 3: 0, 4: 0}
    with pytest.raises(CapacityError, match=r"Insufficient nvidia\.com/gpu"):
        await harness.provider.create(harness.spec("three", gpu_count=2))
    assert await harness.provider.describe("three") is None
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    await harness.provider.create(harness.spec("three", gpu_count=2))
    with pytest.raises(CapacityError, match="no node"):
        await harness.provider.create(harness.spec("four", gpu_count=1, gpu_types=("h100",)))


async def test_an_engine_is_reached_by_the_port_of_its_node(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"endpoint": "node_port"}) as harness:
        await harness.provider.create(harness.serving("one"))
        await _runs(harness, "one")
        found = await harness.provider.describe("one")
        (service,) = await real.admin.find("services", real.namespace)
        assert found is not None
        assert found.endpoint == f"http://127.0.0.1:{service['spec']['ports'][0]['nodePort']}"


async def test_a_cordoned_node_takes_nothing(real: RealCluster, harness: RealHarness) -> None:
    await real.admin.patch("nodes", "", f"{real.namespace}-gpu-1", {"spec": {"unschedulable": True}})

    async def told() -> bool:
        return not [item for item in await harness.provider.list_resources() if item.gpu_type]

    await until_async(told, WITHIN_S)
    with pytest.raises(CapacityError, match="unschedulable"):
        await harness.provider.create(harness.spec("one", gpu_count=1))


async def test_a_node_that_sends_its_pods_away_ends_them(real: RealCluster, harness: RealHarness) -> None:
    await harness.provider.create(harness.spec("one", gpu_count=1))
    await _runs(harness, "one")
    taints = [{"key": "example.com/out", "effect": "NoExecute"}]
    await real.admin.patch("nodes", "", f"{real.namespace}-gpu-1", {"spec": {"taints": taints}})
    await gone(harness.provider, "one")
    await _is_empty(real)
    assert not [item for item in await harness.provider.list_resources() if item.gpu_type]


@pytest.mark.parametrize("lost", ["not ready", "gone"])
async def test_a_pod_on_a_lost_node_is_given_up(real: RealCluster, tmp_path: Path, lost: str) -> None:
    async with real_harness(real, tmp_path, {"lost_node_s": "1"}) as harness:
        await harness.provider.create(harness.spec("one", gpu_count=1))
        await _runs(harness, "one")
        real.kubelet.paused = True
        node = f"{real.namespace}-gpu-1"
        if lost == "gone":
            await real.admin.delete("nodes", "", node)
        else:
            await real.set_ready(node, ready=False)
        await harness.provider.delete("one")
        found = await harness.provider.describe("one")
        assert found is not None
        assert found.state is InstanceState.STOPPING

        async def given_up() -> bool:
            await harness.provider.delete("one")
            return await harness.provider.describe("one") is None

        await until_async(given_up, WITHIN_S)
        await _is_empty(real)


async def test_a_pod_on_a_node_that_is_well_is_waited_for(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"lost_node_s": "1"}, lambda: 4e9) as harness:
        await harness.provider.create(harness.spec("one", gpu_count=1))
        await _runs(harness, "one")
        real.kubelet.paused = True
        for _ in range(3):
            await harness.provider.delete("one")
        assert harness.running("one") == 1


async def _refused(harness: RealHarness, kind: type[ProviderError], **changes: Any) -> ProviderError:
    with pytest.raises(kind) as caught:
        await harness.provider.create(harness.spec("one", **changes))
    assert type(caught.value) is kind
    assert await harness.provider.describe("one") is None
    return caught.value


async def _quota(real: RealCluster, **hard: str) -> None:
    """One that the controllers have heard of."""
    hard = {key.replace("__", "."): value for key, value in hard.items()}
    await real.admin.create("resourcequotas", real.namespace, {"metadata": {"name": "few"}, "spec": {"hard": hard}})

    async def counted() -> bool:
        found = await real.admin.call("GET", path_of("resourcequotas", real.namespace, "few"))
        return bool(found["status"].get("used"))

    await until_async(counted, WITHIN_S)


async def test_a_quota_that_is_used_up_is_no_room(real: RealCluster, harness: RealHarness) -> None:
    await _quota(real, **{f"requests.{GPU}": "1"})
    error = await _refused(harness, CapacityError, gpu_count=2)
    assert error.reason == "QUOTA_EXCEEDED"
    assert "exceeded quota: few" in error.message
    await harness.provider.create(harness.spec("one", gpu_count=1))


async def test_what_a_namespace_does_not_take_is_rejected(real: RealCluster, harness: RealHarness) -> None:
    await _quota(real, limits__cpu="4")
    error = await _refused(harness, InstanceRejectedError)
    assert error.reason == "REJECTED_BY_CLUSTER"
    assert "must specify limits.cpu" in error.message
    await real.admin.delete("resourcequotas", real.namespace, "few")
    limits = [{"type": "Container", "min": {"cpu": "2"}, "max": {"memory": "1Mi"}}]
    await real.admin.create("limitranges", real.namespace, {"metadata": {"name": "small"}, "spec": {"limits": limits}})
    limited: list[ProviderError] = []

    async def heard() -> bool:
        try:
            await harness.provider.create(harness.spec("two"))
        except ProviderError as error:
            limited.append(error)
        return "minimum cpu usage" in str(limited[-1:])

    await until_async(heard, WITHIN_S)
    assert (type(limited[-1]), limited[-1].reason) == (InstanceRejectedError, "REJECTED_BY_CLUSTER")


async def test_a_runtime_class_that_is_not_there_is_told(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"runtime_class": "nowhere"}) as harness:
        error = await _refused(harness, InstanceRejectedError)
        assert 'RuntimeClass "nowhere" not found' in error.message


async def test_a_claim_that_is_not_there_is_told(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"weights_claim": "nowhere"}) as harness:
        error = await _refused(harness, CapacityError)
        assert 'persistentvolumeclaim "nowhere" not found' in error.message


async def test_a_namespace_that_ends_takes_nothing(real: RealCluster, harness: RealHarness) -> None:
    keeper = {"metadata": {"name": "keeper", "finalizers": ["example.com/keep"]}}
    await real.admin.create("configmaps", real.namespace, keeper)
    async with real.role_everywhere():  # that of the namespace ends with it
        await real.admin.delete("namespaces", "", real.namespace)
        refused: list[ProviderError] = []

        async def told() -> bool:
            try:
                await harness.provider.create(harness.spec("one"))
            except ProviderError as error:
                refused.append(error)
            return "is being terminated" in str(refused[-1:])

        await until_async(told, WITHIN_S)
        assert (type(refused[-1]), refused[-1].reason) == (InstanceRejectedError, "NAMESPACE_NOT_FOUND")
    await real.admin.patch("configmaps", real.namespace, "keeper", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("code", [0, 400, 403, 422])
async def test_what_a_webhook_denies_is_rejected(real: RealCluster, harness: RealHarness, code: int) -> None:
    async with refusing_webhook(real, code):
        denied: list[ProviderError] = []

        async def heard() -> bool:
            try:
                await harness.provider.create(harness.spec("one"))
            except ProviderError as error:
                denied.append(error)
            return "not in this house" in str(denied[-1:])

        await until_async(heard, WITHIN_S)
        assert (type(denied[-1]), denied[-1].reason) == (InstanceRejectedError, "REJECTED_BY_CLUSTER")


async def test_a_webhook_that_is_away_is_waited_for(real: RealCluster, harness: RealHarness) -> None:
    async with refusing_webhook(real, 403, away=True):

        async def heard() -> bool:
            try:
                await harness.provider.create(harness.spec("one"))
            except ProviderUnavailableError as error:
                return "failed calling webhook" in error.message
            return False

        await until_async(heard, WITHIN_S)
