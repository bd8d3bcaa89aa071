"""Replicas over several nodes of which not all can be seen, and what does not depend on that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest

from orchestration.service.providers.base import CapacityError, InstanceState, ProviderUnavailableError
from orchestration.service.providers.kubernetes import group_discovery
from orchestration.service.providers.kubernetes.api import GROUP_VERSION, KubeApi
from orchestration.service.providers.kubernetes.group_discovery import NOT_SERVED, GroupDiscovery
from orchestration.service.providers.kubernetes.names import group_name
from tests.support.kubernetes.harness import NAMESPACE, KubernetesHarness, group_spec, kubernetes_harness
from tests.support.kubernetes.server import on_the_way, refuse
from tests.support.provider_conformance import read
from tests.support.provider_processes import gone, until, until_async

NO_SETS = {
    (verb, kind)
    for verb in ("create", "delete", "get", "list", "patch", "watch")
    for kind in ("nodes", "pods", "secrets", "services")
}


@pytest.fixture(params=["pod_ip", "service"])
async def harness(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[KubernetesHarness]:
    """With two nodes of two GPUs each, and LeaderWorkerSet installed."""
    async with kubernetes_harness(tmp_path, {"endpoint": request.param}) as harness:
        harness.kube.serves_groups = True
        for number in (1, 2):
            harness.kube.add_node(f"gpu-{number}", gpus=2, gpu_type="NVIDIA-L4")
        yield harness


async def start(harness: KubernetesHarness, **changes: Any) -> None:
    await harness.provider.create(group_spec(harness, "wide", **changes))

    async def runs() -> bool:
        found = await harness.provider.describe("wide")
        return found is not None and found.state is InstanceState.RUNNING

    await until_async(runs, 30)


def pods(harness: KubernetesHarness) -> list[dict[str, Any]]:
    return sorted(harness.kube.objects.find("pods"), key=lambda pod: pod["metadata"]["name"])


async def state(harness: KubernetesHarness) -> InstanceState:
    found = await harness.provider.describe("wide")
    assert found is not None
    return found.state


async def test_a_group_is_there_until_its_last_pod_is_gone(harness: KubernetesHarness) -> None:
    await start(harness)
    harness.kube.kubelet.paused = True
    await harness.provider.delete("wide")
    assert list(harness.kube.objects.find("leaderworkersets")) == []
    assert len(pods(harness)) == 2
    assert await state(harness) is InstanceState.STOPPING
    await harness.provider.delete("wide")
    harness.kube.kubelet.paused = False
    await gone(harness.provider, "wide")
    assert pods(harness) == []


async def test_a_worker_that_is_left_is_not_the_leader(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.serving("one"))
    await start(harness)
    harness.kube.kubelet.paused = True
    name = group_name(harness.owner, "wide")
    harness.kube.objects.remove("leaderworkersets", NAMESPACE, name)
    harness.kube.objects.remove("pods", NAMESPACE, f"{name}-0")
    found = await harness.provider.describe("wide")
    assert found is not None
    assert (found.state, found.endpoint, found.hostname) == (InstanceState.STOPPING, "", "")
    assert found.provider_instance_id == f"here/{NAMESPACE}/{name}"
    assert found.deployment_id == "deployment-1"
    assert {item.name for item in await harness.provider.list_owned()} == {"one", "wide"}
    assert await read(harness.provider, "wide") == [], "the worker's log is not the replica's"
    harness.kube.kubelet.paused = False
    await gone(harness.provider, "wide")


@pytest.mark.parametrize("why", ["not served", "not allowed"])
async def test_a_group_that_is_hidden_runs_on_and_is_not_half_deleted(harness: KubernetesHarness, why: str) -> None:
    await start(harness)
    harness.kube.serves_groups = why == "not allowed"
    harness.kube.granted = NO_SETS
    await harness.restart()
    assert await state(harness) is InstanceState.RUNNING
    assert [item.state for item in await harness.provider.list_owned()] == [InstanceState.RUNNING]
    words = "does not serve LeaderWorkerSet" if why == "not served" else "does not allow leaderworkersets"
    with pytest.raises(ProviderUnavailableError, match=words) as caught:
        await harness.provider.delete("wide")
    assert caught.value.reason == ("PROVIDER_UNAVAILABLE" if why == "not served" else "FORBIDDEN")
    assert len(pods(harness)) == 2
    assert not any("deletionTimestamp" in pod["metadata"] for pod in pods(harness))
    (service,) = harness.kube.objects.find("services")
    before = deepcopy(service)
    with pytest.raises(ProviderUnavailableError, match=words):
        await harness.provider.create(group_spec(harness, "wide"))
    assert service == before, "it goes with the set, and leads to its leader"
    harness.kube.serves_groups, harness.kube.granted = True, None
    await harness.restart()
    await harness.provider.delete("wide")
    await gone(harness.provider, "wide")


async def test_a_hidden_group_without_pods_is_not_gone(harness: KubernetesHarness) -> None:
    harness.kube.groups.paused = True
    creating = asyncio.create_task(harness.provider.create(group_spec(harness, "wide")))
    await until(lambda: list(harness.kube.objects.find("leaderworkersets", NAMESPACE)))
    done, _ = await asyncio.wait({creating}, timeout=0.5)
    assert not done, "it waits for Pods that nobody makes"
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    harness.kube.granted = NO_SETS
    await harness.restart()
    with pytest.raises(ProviderUnavailableError, match="does not allow leaderworkersets"):
        await harness.provider.describe("wide")
    assert await harness.provider.describe("never made") is None
    harness.kube.objects.remove("leaderworkersets", NAMESPACE, group_name(harness.owner, "wide"))
    assert await harness.provider.describe("wide") is None


async def test_pods_of_a_group_that_is_taken_back_are_given_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kubernetes_harness(tmp_path, gpus=2) as harness:
        harness.kube.serves_groups = True
        given: list[tuple[str, object]] = []
        mark_deleted = harness.kube.objects.mark_deleted

        def noted(resource: str, namespace: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
            given.append((resource, options.get("gracePeriodSeconds")))
            return mark_deleted(resource, namespace, name, options)

        monkeypatch.setattr(harness.kube.objects, "mark_deleted", noted)
        with pytest.raises(CapacityError, match="Insufficient"):
            await harness.provider.create(group_spec(harness, "wide", stop_grace_s=3600.0))
        assert ("pods", 0) in given, given
        await gone(harness.provider, "wide")
        assert pods(harness) == []


async def test_single_pods_do_not_wait_for_what_a_cluster_says_of_groups(harness: KubernetesHarness) -> None:
    """It has never said so: only what needs it is refused."""
    harness.kube.faults += [on_the_way("GET", "apis", 503, "later")] * 50
    await harness.provider.create(harness.serving("one"))
    assert [item.name for item in await harness.provider.list_owned()] == ["one"]
    assert [item.nodes for item in await harness.provider.list_resources()] == [1, 1, 1]
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    with pytest.raises(ProviderUnavailableError):
        await harness.provider.create(group_spec(harness, "wide"))
    with pytest.raises(ProviderUnavailableError):
        await harness.provider.describe("of another process")


async def test_sets_that_cannot_be_listed_keep_no_other_replica_from_being_told(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.serving("one"))
    await start(harness)
    harness.kube.faults.append(refuse("GET", "leaderworkersets", 500, "InternalError", "etcd has no leader"))
    found = {item.name: item.state for item in await harness.provider.list_owned()}
    assert found["wide"] is InstanceState.RUNNING
    assert "one" in found
    assert not harness.kube.faults


class Api:
    """Answers when it is let, or fails."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.let.set()
        self.served = frozenset({GROUP_VERSION})
        self.fails = False
        self.asked = 0

    async def api_groups(self) -> frozenset[str]:
        self.asked += 1
        await self.let.wait()
        if self.fails:
            raise ProviderUnavailableError("away")
        return self.served

    async def find_all(self, path: str, **selectors: str) -> list[Any]:
        return []


async def test_the_last_answer_holds_for_a_while_when_there_is_no_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_KEPT_S", "_ASKED_AGAIN_S", "_AFTER_FAILURE_S", "_PATIENCE_S"):
        monkeypatch.setattr(group_discovery, name, 0.0)
    api = Api()
    discovery = GroupDiscovery(cast("KubeApi", api), "ns", "us")
    assert await discovery.why_not() == ""
    api.fails = True
    assert await discovery.why_not() == ""
    api.fails = False
    api.let.clear()
    assert await discovery.why_not() == "", "without waiting for one that does not come"
    assert await discovery.why_not() == ""
    api.served = frozenset()
    api.let.set()

    async def is_new() -> bool:
        return await discovery.why_not() == NOT_SERVED

    await until_async(is_new, 30)
    api.fails = True
    monkeypatch.setattr(group_discovery, "_TRUSTED_S", -1.0)
    with pytest.raises(ProviderUnavailableError, match="away"):
        await discovery.why_not()
    await discovery.close()


async def test_one_question_is_for_all_who_wait_and_outlives_them() -> None:
    api = Api()
    api.let.clear()
    discovery = GroupDiscovery(cast("KubeApi", api), "ns", "us")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await discovery.why_not()
    waiting = [asyncio.create_task(discovery.why_not()) for _ in range(3)]
    await until(lambda: api.asked == 1)
    api.let.set()
    assert await asyncio.gather(*waiting) == ["", "", ""]
    assert api.asked == 1
    await discovery.close()


async def test_who_was_refused_does_not_ask_at_every_look() -> None:
    api = Api()
    api.fails = True
    discovery = GroupDiscovery(cast("KubeApi", api), "ns", "us")
    for _ in range(3):
        with pytest.raises(ProviderUnavailableError, match="away"):
            await discovery.why_not()
    assert api.asked == 1
