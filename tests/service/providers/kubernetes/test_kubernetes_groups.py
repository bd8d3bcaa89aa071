"""Replicas over several nodes: LeaderWorkerSets, made, looked at, and deleted with all that is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.engines.base import OverNodes
from orchestration.service.providers.base import (
    CapacityError,
    Instance,
    InstanceConflictError,
    InstanceRejectedError,
    InstanceState,
    ProviderUnavailableError,
)
from orchestration.service.providers.kubernetes.group_states import BROKEN, INCOMPLETE
from orchestration.service.providers.kubernetes.names import group_name
from tests.support.kubernetes.harness import NAMESPACE, KubernetesHarness, group_spec, kubernetes_harness
from tests.support.kubernetes.objects import stamp
from tests.support.kubernetes.server import on_the_way, refuse
from tests.support.provider_conformance import read
from tests.support.provider_processes import ask, engine_command, gone, until, until_async


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[KubernetesHarness]:
    """With two nodes of two GPUs each, and LeaderWorkerSet installed."""
    settings = {"price_per_gpu_hour.L4": "0.5", "endpoint": "pod_ip", "start_timeout_s": "30"}
    async with kubernetes_harness(tmp_path, settings) as harness:
        harness.kube.serves_groups = True
        for number in (1, 2):
            harness.kube.add_node(f"gpu-{number}", gpus=2, gpu_type="NVIDIA-L4")
        yield harness


async def reach(harness: KubernetesHarness, name: str, *states: str) -> Instance:
    """The instance, once it is in one of the states."""

    async def look() -> Instance | None:
        found = await harness.provider.describe(name)
        assert found is not None
        return found if found.state in states else None

    found = await until_async(look, 30)
    assert found is not None
    return found


def pods(harness: KubernetesHarness) -> list[dict[str, Any]]:
    """Those of the group, the leader first."""
    return sorted(harness.kube.objects.find("pods"), key=lambda pod: pod["metadata"]["name"])


def everything(harness: KubernetesHarness) -> list[str]:
    kinds = ("leaderworkersets", "pods", "secrets", "services")
    return [kind for kind in kinds for _ in harness.kube.objects.find(kind)]


def tell_ready(harness: KubernetesHarness, at: str) -> None:
    """The leader's readiness probe succeeds."""
    leader = pods(harness)[0]
    leader["status"]["conditions"].append({"type": "Ready", "status": "True", "lastTransitionTime": at})
    harness.kube.objects.touch(leader)


async def test_a_replica_over_two_nodes_lives_and_takes_everything_along(harness: KubernetesHarness) -> None:
    command = (*engine_command("--lines", "2"), "--rank", "{node_rank}", "--of", "{nodes}", "--at", "{leader}:{port}")
    spec = group_spec(harness, "wide", command, (*command, "--headless"), env={"KEY": "hidden"})
    created = await harness.provider.create(spec)
    assert (created.name, created.deployment_id, created.price_per_hour) == ("wide", "deployment-1", 2.0)
    found = await reach(harness, "wide", "RUNNING")
    name = group_name(harness.owner, "wide")
    assert found.provider_instance_id == f"here/{NAMESPACE}/{name}"
    leader, worker = pods(harness)
    assert {leader["spec"]["nodeName"], worker["spec"]["nodeName"]} == {"gpu-1", "gpu-2"}
    assert found.hostname == leader["spec"]["nodeName"]
    address = f"{name}-0.{name}.{NAMESPACE}"
    assert (await ask(found, "/argv"))[2:] == ["--rank", "0", "--of", "2", "--at", f"{address}:8000"]
    told = await ask(found, "/env")
    assert (told["KEY"], told["ORCHESTRATION_NODES"], told["ORCHESTRATION_GPUS_PER_NODE"]) == ("hidden", "2", "2")
    assert (told["ORCHESTRATION_NODE_RANK"], told["ORCHESTRATION_LEADER"]) == ("0", address)
    assert [record.message for record in await read(harness.provider, "wide")] == ["line 0", "line 1", "listening"]
    await harness.restart()
    assert await harness.provider.create(spec) == found, "one name is one group"
    assert [item.name for item in await harness.provider.list_owned()] == ["wide"]
    assert sorted(everything(harness)) == ["leaderworkersets", "pods", "pods", "secrets", "services"]
    await harness.provider.delete("wide")
    await gone(harness.provider, "wide")
    await harness.provider.delete("wide")
    await until(lambda: not everything(harness), 30)


async def test_the_service_leads_to_the_leader_alone(harness: KubernetesHarness) -> None:
    await harness.provider.create(group_spec(harness, "wide"))
    await reach(harness, "wide", "RUNNING")
    (service,) = harness.kube.objects.find("services")
    assert service["metadata"]["name"] != group_name(harness.owner, "wide"), "the controller makes one of that name"
    meant = [
        pod
        for pod in pods(harness)
        if all(pod["metadata"]["labels"].get(key) == value for key, value in service["spec"]["selector"].items())
    ]
    assert meant == pods(harness)[:1]
    assert "readinessProbe" in meant[0]["spec"]["containers"][0]
    assert not {"readinessProbe", "livenessProbe", "ports"} & set(pods(harness)[1]["spec"]["containers"][0])


@pytest.mark.parametrize("broken", ["leaderworkersets", "secrets", "services"])
async def test_a_creation_that_broke_off_goes_on_with_the_same_objects(harness: KubernetesHarness, broken: str) -> None:
    if broken == "leaderworkersets":
        harness.kube.after.append(lambda request: request.method == "POST")
    else:
        harness.kube.faults.append(refuse("PATCH", broken, 500, "InternalError", "etcd has no leader"))
        with pytest.raises(ProviderUnavailableError):
            await harness.provider.create(group_spec(harness, "wide"))
    await harness.restart()
    assert len(await harness.provider.list_owned()) == (0 if broken == "leaderworkersets" else 1)
    await harness.provider.create(group_spec(harness, "wide"))
    await reach(harness, "wide", "RUNNING")
    assert not harness.kube.after
    assert sorted(everything(harness)) == ["leaderworkersets", "pods", "pods", "secrets", "services"]


@pytest.mark.parametrize(("which", "code"), [("leader", 3), ("worker", 3), ("worker", 0)])
async def test_a_process_that_ends_ends_the_replica_and_says_which(
    harness: KubernetesHarness, which: str, code: int
) -> None:
    ends = engine_command("--lines", "1", "--delay", "0.3", "--exit-code", str(code))
    await harness.provider.create(group_spec(harness, "wide", **{which: ends}))
    found = await reach(harness, "wide", "EXITED", "FAILED")
    if which == "leader":
        assert (found.state, found.reason, found.exit_code) == (InstanceState.EXITED, "EXITED", 3)
        assert [record.message for record in await read(harness.provider, "wide")] == ["line 0"], "of its first life"
    elif code:
        assert (found.state, found.exit_code) == (InstanceState.EXITED, 3)
        assert "worker 1 of 1 on node gpu-" in found.message
    else:
        assert (found.state, found.reason, found.exit_code) == (InstanceState.FAILED, BROKEN, None)
    assert (await reach(harness, "wide", "EXITED", "FAILED")).reason == found.reason, "whatever is restarted in place"


async def test_a_worker_that_goes_is_the_end_of_the_attempt(harness: KubernetesHarness) -> None:
    await harness.provider.create(group_spec(harness, "wide"))
    await reach(harness, "wide", "RUNNING")
    tell_ready(harness, "2026-01-01T00:00:00Z")
    found = await harness.provider.describe("wide")
    assert found is not None
    assert (found.state, found.reason) == (InstanceState.FAILED, BROKEN), "all were made after that"
    pods(harness)[0]["status"]["conditions"].pop()
    tell_ready(harness, stamp(60))
    await reach(harness, "wide", "RUNNING")
    harness.kube.groups.paused = True
    harness.kube.objects.mark_deleted("pods", NAMESPACE, pods(harness)[1]["metadata"]["name"], {})
    found = await reach(harness, "wide", "FAILED")
    assert (found.reason, "worker 1 of 1" in found.message) == (BROKEN, True)
    await until(lambda: len(pods(harness)) == 1, 30)
    found = await reach(harness, "wide", "FAILED")
    assert found.message == "the Pod of worker 1 of 1 is gone"
    await harness.provider.delete("wide")
    harness.kube.groups.paused = False
    await gone(harness.provider, "wide")


async def test_a_pod_that_waits_is_told_with_its_number(harness: KubernetesHarness) -> None:
    await harness.provider.create(group_spec(harness, "wide"))
    await reach(harness, "wide", "RUNNING")
    worker = pods(harness)[1]
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    worker["status"] |= {"phase": "Pending", "containerStatuses": [{"name": "engine", "state": waiting}]}
    found = await reach(harness, "wide", "PENDING")
    assert found.reason == "IMAGE_PULL_BACK_OFF"
    assert found.message.startswith("worker 1 of 1 on node ")


async def test_pods_that_are_not_made_are_waited_for_and_then_missed(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    async with kubernetes_harness(tmp_path, {"autoscaling": "true"}, lambda: now[0]) as harness:
        harness.kube.serves_groups = True
        harness.kube.groups.paused = True
        await harness.provider.create(group_spec(harness, "wide"))
        found = await reach(harness, "wide", "PENDING")
        assert found.message == "0 of its 2 Pods are made"
        now[0] += 601
        found = await reach(harness, "wide", "FAILED")
        assert found.reason == INCOMPLETE
        assert "a quota, say, or no LeaderWorkerSet controller" in found.message
        assert [item.name for item in await harness.provider.list_owned()] == ["wide"]
        harness.kube.groups.paused = False
        await harness.provider.delete("wide")
        await gone(harness.provider, "wide")


async def test_a_group_for_which_there_is_half_the_room_is_taken_back(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.spec("small", gpu_count=2, resource_id=f"here/{NAMESPACE}#NVIDIA-L4x2#"))
    with pytest.raises(CapacityError, match=r"Insufficient nvidia\.com/gpu"):
        await harness.provider.create(group_spec(harness, "wide"))
    await gone(harness.provider, "wide")
    assert len(pods(harness)) == 1


async def test_a_pod_of_a_lost_node_is_given_up(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"lost_node_s": "1"}) as harness:
        harness.kube.serves_groups = True
        for number in (1, 2):
            harness.kube.add_node(f"gpu-{number}", gpus=2, gpu_type="NVIDIA-L4")
        await harness.provider.create(group_spec(harness, "wide"))
        await reach(harness, "wide", "RUNNING")
        harness.kube.kubelet.paused = True
        for number in (1, 2):
            node = harness.kube.objects.get("nodes", "", f"gpu-{number}")
            node["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]

        async def is_gone() -> bool:
            await harness.provider.delete("wide")
            return await harness.provider.describe("wide") is None

        await until_async(is_gone, 30)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"over_nodes": OverNodes(ray=("serve",))}, "engine custom as it is configured cannot be started on several"),
    ({"gpu_count": 5}, "does not split evenly over 2"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
async def test_what_cannot_be_over_several_nodes_is_refused(
    harness: KubernetesHarness, changes: dict[str, Any], words: str
) -> None:
    spec = replace(group_spec(harness, "wide"), **changes)
    with pytest.raises(InstanceRejectedError, match=words) as caught:
        await harness.provider.create(spec)
    assert caught.value.reason == "GPU_COUNT_EXCEEDED"
    assert everything(harness) == []


@pytest.mark.parametrize("name", ["ORCHESTRATION_NODES", "LWS_GROUP_SIZE"])
async def test_the_groups_variables_are_not_the_callers(harness: KubernetesHarness, name: str) -> None:
    with pytest.raises(InstanceRejectedError, match=f"env: {name} is set"):
        await harness.provider.create(group_spec(harness, "wide", env={name: "9"}))


async def test_offers_of_several_nodes_are_there_where_they_can_be_had(harness: KubernetesHarness) -> None:
    found = {item.provider_resource_id: item for item in await harness.provider.list_resources()}
    wide = found[f"here/{NAMESPACE}#NVIDIA-L4x4n2#"]
    assert (wide.gpu_count, wide.nodes, wide.way, wide.price_per_hour, wide.available_count) == (4, 2, "group", 2.0, 1)
    assert (wide.metadata["machines"], wide.metadata["gpus_per_machine"]) == ("2", "2")
    await harness.provider.create(harness.spec("small", gpu_count=1, resource_id=f"here/{NAMESPACE}#NVIDIA-L4x1#"))
    found = {item.provider_resource_id: item for item in await harness.provider.list_resources()}
    assert found[wide.provider_resource_id].available_count == 0
    assert found[f"here/{NAMESPACE}#NVIDIA-L4x2#"].one_node_because == ""


@pytest.mark.parametrize("known", [False, True])
async def test_who_has_an_autoscaler_is_told_the_setting(tmp_path: Path, known: bool) -> None:
    settings = {"autoscaling": "true", **({"autoscaled.NVIDIA-L4": "2"} if known else {})}
    async with kubernetes_harness(tmp_path, settings, gpus=2) as harness:
        harness.kube.serves_groups = True
        found = await harness.provider.list_resources()
        assert any(item.nodes > 1 for item in found) is known
        said = {item.more_machines for item in found if item.gpu_count}
        assert any("set autoscaled.NVIDIA-L4 in [providers.kubernetes]" in text for text in said) is not known


@pytest.mark.parametrize("why", ["not served", "not allowed"])
async def test_without_leader_worker_sets_the_offers_say_why(tmp_path: Path, why: str) -> None:
    async with kubernetes_harness(tmp_path, gpus=2) as harness:
        harness.kube.add_node("gpu-2", gpus=2, gpu_type="NVIDIA-L4")
        harness.kube.serves_groups = why == "not allowed"
        kinds = ("nodes", "pods", "secrets", "services")
        verbs = ("create", "delete", "get", "list", "patch", "watch")
        harness.kube.granted = {(verb, kind) for verb in verbs for kind in kinds}
        found = await harness.provider.list_resources()
        assert [item.gpu_count for item in found] == [1, 2, 0]
        words = "does not serve LeaderWorkerSet" if why == "not served" else "see docs/kubernetes/rbac.yaml"
        assert all(words in item.one_node_because for item in found)
        with pytest.raises(CapacityError, match=words):  # the offer was made when there could be one
            await harness.provider.create(group_spec(harness, "wide"))
        await harness.provider.create(harness.serving("one"))
        assert [item.name for item in await harness.provider.list_owned()] == ["one"]
        await harness.provider.delete("one")
        await gone(harness.provider, "one")


async def test_what_the_cluster_serves_is_asked_for_again(
    harness: KubernetesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sizes() -> list[int]:
        return [item.gpu_count for item in await harness.provider.list_resources() if item.nodes > 1]

    harness.kube.faults.append(on_the_way("GET", "apis", 404, "<html>not here</html>"))
    with pytest.raises(ProviderUnavailableError, match="not here"):
        await harness.provider.create(group_spec(harness, "wide"))
    harness.kube.serves_groups = False
    assert await sizes() == []
    (why,) = {item.one_node_because for item in await harness.provider.list_resources()}
    assert "it is not known whether here/llm takes one" in why
    monkeypatch.setattr("orchestration.service.providers.kubernetes.group_discovery._AFTER_FAILURE_S", 0.0)
    assert await sizes() == []
    harness.kube.serves_groups = True
    assert await sizes() == [], "not at every look"
    monkeypatch.setattr("orchestration.service.providers.kubernetes.group_discovery._ASKED_AGAIN_S", 0.0)
    assert await sizes() == [4]
    harness.kube.serves_groups = False
    assert await sizes() == [4]
    monkeypatch.setattr("orchestration.service.providers.kubernetes.group_discovery._KEPT_S", 0.0)
    assert await sizes() == []


async def test_a_role_that_is_taken_away_hides_no_group_that_runs(harness: KubernetesHarness) -> None:
    await harness.provider.create(group_spec(harness, "wide"))
    await reach(harness, "wide", "RUNNING")
    kinds = ("nodes", "pods", "secrets", "services")
    harness.kube.granted = {(verb, kind) for verb in ("get", "list", "delete", "watch") for kind in kinds}
    await harness.restart()
    assert [item.name for item in await harness.provider.list_owned()] == ["wide"]
    found = await harness.provider.describe("wide")
    assert found is not None
    assert found.state is InstanceState.RUNNING
    with pytest.raises(ProviderUnavailableError, match="does not allow leaderworkersets") as caught:
        await harness.provider.delete("wide")
    assert caught.value.reason == "FORBIDDEN"
    assert len(pods(harness)) == 2


async def test_a_strangers_set_of_the_same_name_is_left_alone(harness: KubernetesHarness) -> None:
    name = group_name(harness.owner, "wide")
    body: dict[str, Any] = {"metadata": {"name": name, "labels": {}}, "spec": {}}
    harness.kube.objects.create("leaderworkersets", NAMESPACE, body, "kubectl")
    with pytest.raises(InstanceConflictError, match="not of this gateway") as caught:
        await harness.provider.create(group_spec(harness, "wide"))
    assert caught.value.reason == "NAME_TAKEN"
    await harness.provider.delete("wide")
    assert everything(harness) == ["leaderworkersets"]


@pytest.mark.parametrize("instance", ["r", "r-" + "x" * 120, "R.Y_" * 20, "---", "\N{SNOWMAN}"])
def test_names_of_sets_leave_room_for_what_is_made_of_them(instance: str) -> None:
    name = group_name("us", instance)
    assert len(name) <= 48
    assert name == group_name("us", instance) != group_name("them", instance)
