"""Where replicas go: nodes as offers, namespaces by organisation, credentials by name, several clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import (
    CapacityError,
    InstanceRejectedError,
    ProviderContext,
    ProviderUnavailableError,
    Resource,
)
from orchestration.service.providers.kubernetes import create
from tests.support.kubernetes.harness import KubernetesHarness, cluster, kubeconfig, kubernetes_harness
from tests.support.provider_processes import gone


async def offers(harness: KubernetesHarness) -> dict[str, Resource]:
    """By id."""
    return {item.provider_resource_id: item for item in await harness.provider.list_resources()}


async def test_gpus_that_are_free_are_offered_in_every_number(harness: KubernetesHarness) -> None:
    harness.kube.add_node("gpu-2", gpus=2, gpu_type="NVIDIA-L4")
    harness.kube.add_node(
        "gpu-3", gpus=1, gpu_type="NVIDIA-H100-80GB-HBM3", labels={"topology.kubernetes.io/region": "eu"}
    )
    found = await offers(harness)
    counts = {item.gpu_count: item.available_count for item in found.values() if item.gpu_type == "NVIDIA-L4"}
    assert counts == {1: 6, 2: 3, 3: 1, 4: 1}
    two = found["here/llm#NVIDIA-L4x2#"]
    assert (two.price_per_hour, two.gpu_memory_gb, two.metadata["slug"]) == (1.0, 80.0, "here/llm")
    other = found["here/llm#NVIDIA-H100-80GB-HBM3x1#eu"]
    assert (other.region, other.price_per_hour) == ("eu", 0.0)
    assert found["here/llm#cpu#"].gpu_count == 0
    assert found["here/llm#cpu#"].available_count == 3 * 32


@pytest.mark.parametrize("memory", ["80Gi", "", "-5", "nan", "1e400", "9" * 400, "\u0661"])
async def test_a_label_of_memory_that_is_no_number_keeps_no_offer_back(harness: KubernetesHarness, memory: str) -> None:
    harness.kube.add_node("odd-1", gpus=2, gpu_type="NVIDIA-H100", labels={"nvidia.com/gpu.memory": memory})
    found = await offers(harness)
    odd = found["here/llm#NVIDIA-H100x2#"]
    assert (odd.gpu_memory_gb, odd.available_count) == (0.0, 1)
    assert found["here/llm#NVIDIA-L4x1#"].gpu_memory_gb == 80.0
    await harness.provider.create(harness.spec("one", gpu_count=2, gpu_types=("h100",)))
    pod = harness.kube.pod("one")
    assert pod is not None
    assert pod["spec"]["nodeName"] == "odd-1"


@pytest.mark.parametrize(("count", "most"), [("many", 0), ("-1", 0), ("1e999", 0), ("1e15", 1024)])
async def test_a_number_of_gpus_that_cannot_be_keeps_no_offer_back(
    harness: KubernetesHarness, count: str, most: int
) -> None:
    node = harness.kube.add_node("odd-1", gpus=2, gpu_type="NVIDIA-H100")
    node["status"]["allocatable"] |= {"nvidia.com/gpu": count, "cpu": "all", "memory": "1e999", "pods": "x"}
    node["status"]["conditions"].append({"reason": "of no type"})
    found = await offers(harness)
    assert sum(item.gpu_type == "NVIDIA-H100" for item in found.values()) == most
    assert found["here/llm#NVIDIA-L4x1#"].available_count == 4


async def test_what_pods_hold_is_not_offered(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.spec("one", gpu_count=3, resource_id="here/llm#NVIDIA-L4x3#"))
    counts = {item.gpu_count: item.available_count for item in (await offers(harness)).values() if item.gpu_count}
    assert counts == {1: 1, 2: 0, 3: 0, 4: 0}


async def test_a_replica_costs_what_its_gpus_cost(harness: KubernetesHarness) -> None:
    made = await harness.provider.create(harness.spec("one", gpu_count=2, resource_id="here/llm#NVIDIA-L4x2#"))
    assert made.price_per_hour == 1.0
    pod = harness.kube.pod("one")
    assert pod is not None
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}


@pytest.mark.parametrize(
    "spec",
    [
        {"unschedulable": True},
        {"taints": [{"key": "dedicated", "value": "train", "effect": "NoSchedule"}]},
        {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]},
    ],
)
async def test_a_node_that_takes_no_replicas_offers_nothing(harness: KubernetesHarness, spec: dict[str, Any]) -> None:
    harness.kube.add_node("gpu-2", gpus=8, gpu_type="NVIDIA-A10", spec=spec)
    assert not any(item.gpu_type == "NVIDIA-A10" for item in (await offers(harness)).values())


async def test_a_taint_that_is_tolerated_is_none(harness: KubernetesHarness) -> None:
    taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    harness.kube.add_node("gpu-2", gpus=1, gpu_type="NVIDIA-A10", spec={"taints": taints})
    assert "here/llm#NVIDIA-A10x1#" in await offers(harness)


async def test_lists_are_read_page_by_page(harness: KubernetesHarness) -> None:
    harness.kube.page = 1
    for number in range(3):
        await harness.provider.create(harness.serving(f"r-{number}"))
    assert len(await harness.provider.list_owned()) == 3
    assert len(await offers(harness)) == 5


async def test_nodes_that_come_when_they_are_needed_are_offered(tmp_path: Path) -> None:
    settings = {"autoscaling": "true", "autoscaled.NVIDIA-H100": "2", "price_per_gpu_hour": "3"}
    async with kubernetes_harness(tmp_path, settings) as harness:
        found = await offers(harness)
        offer = found["here/llm#NVIDIA-H100x2#"]
        assert (offer.gpu_count, offer.price_per_hour, offer.available_count) == (2, 6.0, 1000)


async def test_a_type_of_gpu_without_an_offer_is_looked_for_on_the_nodes(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.spec("one", gpu_count=1, gpu_types=("h100", "l4")))
    pod = harness.kube.pod("one")
    assert pod is not None
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    nowhere: list[dict[str, Any]] = [{"gpu_count": 1, "gpu_types": ("h100",)}, {"regions": ("eu",)}]
    for changes in nowhere:
        with pytest.raises(CapacityError, match=r"what is wanted: (h100|eu)"):
            await harness.provider.create(harness.spec("two", **changes))


async def test_replicas_of_an_organisation_run_in_its_namespace(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"org.acme": "acme", "org.*": "here/llm"}) as harness:
        harness.kube.objects.namespaces.add("acme")
        for name, org in (("one", "acme"), ("two", "other"), ("three", "")):
            await harness.provider.create(harness.spec(name, org_id=org))
        where = {pod["metadata"]["namespace"] for name in ("two", "three") if (pod := harness.kube.pod(name))}
        pod = harness.kube.pod("one")
        assert pod is not None
        assert (pod["metadata"]["namespace"], where) == ("acme", {"llm"})
        assert [item.name for item in await harness.provider.list_owned()] == ["one", "two", "three"]
        with pytest.raises(InstanceRejectedError, match="run in here/acme") as caught:
            await harness.provider.create(harness.spec("four", org_id="acme", provider_pool_id="here/llm"))
        assert caught.value.reason == "NAMESPACE_NOT_ALLOWED"


async def test_an_organisation_without_a_namespace_is_refused(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"org.acme": "llm"}) as harness:
        with pytest.raises(InstanceRejectedError, match=r"set org\.other"):
            await harness.provider.create(harness.spec("one", org_id="other"))


async def test_a_pool_that_is_changed_while_an_answer_is_lost_doubles_nothing(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"namespaces": "llm,other"}) as harness:
        harness.kube.objects.namespaces.add("other")
        first = await harness.provider.create(harness.spec("one"))
        await harness.restart()
        again = await harness.provider.create(harness.spec("one", provider_pool_id="other"))
        assert again.provider_instance_id == first.provider_instance_id
        assert len(list(harness.kube.objects.find("pods"))) == 1


async def test_one_namespace_by_two_credentials_is_listed_once(tmp_path: Path) -> None:
    config = str(tmp_path / "kubeconfig")
    async with kubernetes_harness(tmp_path, {"credential.too.kubeconfig": config}) as harness:
        await harness.provider.create(harness.spec("one"))
        assert [item.name for item in await harness.provider.list_owned()] == ["one"]


async def test_clusters_and_credentials_are_told_apart(tmp_path: Path) -> None:
    async with cluster() as near, cluster("llm", "big") as far:
        config = kubeconfig(tmp_path / "both", {"near": near, "a/far": far})
        settings = {
            "kubeconfig": str(config),
            "namespaces": "llm,a/far/big",
            "credential.team.kubeconfig": str(config),
            "credential.team.context": "a/far",
        }
        provider = create(ProviderContext(name="kubernetes", data_dir=tmp_path, owner="us", settings=settings))
        await provider.start()
        spec = KubernetesHarness.spec
        harness = KubernetesHarness(tmp_path, near, settings, lambda: 0.0)
        harness.owner = "us"
        await provider.create(spec(harness, "one"))
        await provider.create(spec(harness, "two", provider_pool_id="a/far/big"))
        await provider.create(spec(harness, "three", provider_credential_name="team"))
        assert [bool(near.pod(name)) for name in ("one", "two", "three")] == [True, False, False]
        places = [pod["metadata"]["namespace"] for name in ("two", "three") if (pod := far.pod(name))]
        assert places == ["big", "llm"]
        ids = {item.provider_resource_id for item in await provider.list_resources()}
        assert ids == {"near/llm#cpu#", "a/far/big#cpu#", "a/far/llm#cpu#"}
        with pytest.raises(CapacityError, match="the offer is one of near/llm"):
            await provider.create(spec(harness, "four", provider_pool_id="a/far/big", resource_id="near/llm#cpu#"))
        await far.stop()
        assert {item.metadata["slug"] for item in await provider.list_resources()} == {"near/llm"}
        assert await provider.describe("one") is not None
        await provider.delete("one")
        await gone(provider, "one")
        for name in ("two", "never-made"):
            with pytest.raises(ProviderUnavailableError):
                await provider.describe(name)
        await provider.close()
