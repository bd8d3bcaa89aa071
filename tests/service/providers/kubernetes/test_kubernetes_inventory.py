"""Nodes of Kubernetes clusters in the inventory: what the provider tells, and their life through the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import InstanceRejectedError
from orchestration.service.providers.inventory import ClusterNode, ClusterNodes, ClusterNodeState, NodeLister, NodeScope
from orchestration.v1 import compute_pools_pb2 as pb
from tests.support.gateway import Api, eventually, running_gateway
from tests.support.kubernetes.harness import NAMESPACE, KubernetesHarness, cluster, kubeconfig, kubernetes_harness
from tests.support.kubernetes.objects import Json
from tests.support.kubernetes.server import FakeKube, refuse
from tests.support.provider_processes import until

CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


async def listing(harness: KubernetesHarness, **scope: str) -> list[ClusterNodes]:
    """What the provider answers."""
    assert isinstance(harness.provider, NodeLister)
    return list(await harness.provider.list_nodes(NodeScope(**scope)))


async def told(harness: KubernetesHarness, **scope: str) -> dict[str, ClusterNode]:
    """The nodes of one cluster, by name."""
    (one,) = await listing(harness, **scope)
    assert (one.cluster, one.error) == ("here", "")
    return {node.node_id: node for node in one.nodes}


async def test_the_provider_tells_its_nodes_with_what_they_have(harness: KubernetesHarness) -> None:
    harness.kube.objects.get("nodes", "", "gpu-1")["metadata"]["labels"]["topology.kubernetes.io/region"] = "eu"
    await harness.provider.create(harness.spec("one", gpu_count=3, gpu_types=("l4",)))
    await until(lambda: harness.running("one"), 30)
    found = await told(harness)
    one = found["gpu-1"]
    assert (one.state, one.joins, one.hostname, one.region) == (ClusterNodeState.READY, True, "gpu-1", "eu")
    assert (one.gpu_type, one.gpu_total, one.gpu_used, one.price_per_hour) == ("NVIDIA-L4", 4, 3, 0.5)
    assert (one.vcpu_total, one.vcpu_used, one.ram_gb_total) == (32.0, 1.0, 256.0)
    assert (found["cpu-1"].gpu_total, found["cpu-1"].gpu_type) == (0, "")


@pytest.mark.parametrize(
    ("ready", "spec", "state", "joins"),
    [
        ("True", {}, ClusterNodeState.READY, True),
        ("True", {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, ClusterNodeState.READY, True),
        ("True", {"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}, ClusterNodeState.READY, True),
        ("True", {"unschedulable": True, "taints": [CORDON]}, ClusterNodeState.CLOSED, True),
        ("True", {"taints": [{"key": "mine", "effect": "NoSchedule"}]}, ClusterNodeState.CLOSED, False),
        ("False", {}, ClusterNodeState.TROUBLED, False),
        ("Unknown", {}, ClusterNodeState.DEAD, False),
        ("", {}, ClusterNodeState.TROUBLED, False),
    ],
)
async def test_a_nodes_state_is_what_kubernetes_says_of_it(
    harness: KubernetesHarness, ready: str, spec: Json, state: ClusterNodeState, joins: bool
) -> None:
    node = harness.kube.add_node("odd-1", gpus=2, gpu_type="NVIDIA-L4", spec=spec)
    node["status"]["conditions"] = [{"type": "Ready", "status": ready, "message": "so it is"}] if ready else []
    found = (await told(harness))["odd-1"]
    assert (found.state, found.joins, found.gpu_total) == (state, joins, 2)
    assert (found.message == "so it is") is (ready in {"False", "Unknown"})


async def test_nodes_that_the_selector_does_not_mean_are_not_told(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"node_selector": "for=models"}) as harness:
        harness.kube.add_node("ours", labels={"for": "models"})
        assert set(await told(harness)) == {"ours"}


async def test_a_pool_has_the_nodes_of_the_clusters_that_it_means(tmp_path: Path) -> None:
    async with cluster() as here, cluster(gpus=1) as there:
        config = kubeconfig(tmp_path / "two", {"here": here, "there": there})
        settings = {"kubeconfig": str(config), "namespaces": f"{NAMESPACE},there/{NAMESPACE}"}
        harness = KubernetesHarness(tmp_path, here, settings, lambda: 0.0)
        await harness.provider.start()
        try:
            found = {one.cluster: {node.node_id for node in one.nodes} for one in await listing(harness)}
            assert found == {"here": {"cpu-1"}, "there": {"cpu-1", "gpu-1"}}
            assert set(await told(harness, provider_pool_id=f"here/{NAMESPACE}")) == {"cpu-1"}
            assert set(await told(harness, provider_pool_id=NAMESPACE)) == {"cpu-1"}
            assert here.calls["list", "nodes"] == 1, "those who ask at once are answered from one look"
            for scope in ({"provider_pool_id": "here/other"}, {"provider_credential_name": "nobody"}):
                with pytest.raises(InstanceRejectedError):
                    await listing(harness, **scope)
            await there.stop()
            await harness.restart()
            assert {one.cluster: bool(one.error) for one in await listing(harness)} == {"here": False, "there": True}
        finally:
            await harness.provider.close()


async def test_a_refusal_is_told_with_what_to_do(harness: KubernetesHarness) -> None:
    harness.kube.faults.append(refuse("GET", "nodes", 403, "Forbidden", 'User "gateway" cannot list nodes'))
    (one,) = await listing(harness)
    assert "see the role in docs/kubernetes" in one.error
    assert one.nodes == ()


async def test_thousands_of_nodes_are_told(harness: KubernetesHarness) -> None:
    for number in range(1200):
        harness.kube.add_node(f"n-{number}")
    assert len(await told(harness)) == 1202
    assert harness.kube.calls["list", "nodes"] == 3


def _knobs(folder: Path, kube: FakeKube) -> dict[str, Any]:
    given = {"kubeconfig": str(kubeconfig(folder / "kubeconfig", {"here": kube})), "endpoint": "pod_ip"}
    return {"providers": {"kubernetes": given}, "nodes_interval_s": 0.2, "offers_interval_s": 1.0}


async def _nodes(api: Api, pool: str) -> dict[str, dict[str, Any]]:
    found = await api.rest.ok("GET", f"/deployment/list/pool/{pool}/inventory")
    return {node["hostname"]: node for node in found["nodes"]}


async def _become(api: Api, pool: str, **wanted: str) -> dict[str, dict[str, Any]]:
    """The nodes once they are in these states, and there are no others."""
    expected = {name.replace("_", "-"): state for name, state in wanted.items()}

    async def look() -> bool:
        return {name: node["state"] for name, node in (await _nodes(api, pool)).items()} == expected

    await eventually(look, within_s=60, why=lambda: f"never {expected}")
    return await _nodes(api, pool)


def _say_ready(node: Json, status: str) -> None:
    node["status"]["conditions"] = [{"type": "Ready", "status": status}]


async def test_nodes_of_a_cluster_live_in_the_inventory_of_its_pools(tmp_path: Path) -> None:
    async with cluster(gpus=4) as kube:
        async with running_gateway(tmp_path / "data", **_knobs(tmp_path, kube)) as api:
            pool, other = [await api.make_pool(name, provider="kubernetes") for name in ("one", "other")]
            before = await _become(api, pool, cpu_1="READY", gpu_1="READY")
            others = await _become(api, other, cpu_1="READY", gpu_1="READY")
            assert not {node["node_id"] for node in before.values()} & {node["node_id"] for node in others.values()}
            assert (before["gpu-1"]["gpu_total"], before["gpu-1"]["gpu_type"]) == (4, "NVIDIA-L4")
            answer = await api.pools.ListNodes(pb.ListNodesRequest(provider="kubernetes"))
            assert sorted(node.gpu_total for node in answer.nodes) == [0, 0, 4, 4]
            gpu = kube.objects.get("nodes", "", "gpu-1")
            gpu["spec"] = {"unschedulable": True, "taints": [CORDON]}
            await _become(api, pool, cpu_1="READY", gpu_1="DRAINING")
            _say_ready(gpu, "False")
            await _become(api, pool, cpu_1="READY", gpu_1="UNHEALTHY")
            _say_ready(gpu, "Unknown")
            await _become(api, pool, cpu_1="READY", gpu_1="LOST")
            gpu["spec"] = {}
            _say_ready(gpu, "True")
            await _become(api, pool, cpu_1="READY", gpu_1="READY")
            kube.objects.remove("nodes", "", "gpu-1")
            await _become(api, pool, cpu_1="READY", gpu_1="LOST")
            kube.add_node("gpu-1", gpus=8, gpu_type="NVIDIA-L4")
            back = await _become(api, pool, cpu_1="READY", gpu_1="READY")
            assert back["gpu-1"]["node_id"] == before["gpu-1"]["node_id"]
            assert back["gpu-1"]["gpu_total"] == 8
        async with running_gateway(tmp_path / "data", **_knobs(tmp_path, kube)) as api:
            after = await _nodes(api, pool)
            assert {node["node_id"] for node in after.values()} == {node["node_id"] for node in before.values()}
            await api.rest.ok("POST", f"/deployment/deletepool/{pool}", {})
            assert {node["pool_id"] for node in (await api.rest.ok("GET", "/v1/nodes"))["nodes"]} == {other}


async def test_a_new_pool_has_its_nodes_without_waiting_for_the_interval(tmp_path: Path) -> None:
    async with cluster() as kube:
        knobs = {**_knobs(tmp_path, kube), "nodes_interval_s": 3600.0}
        async with running_gateway(tmp_path / "data", **knobs) as api:
            first = await api.make_pool("first", provider="kubernetes")
            await _become(api, first, cpu_1="READY")
            await _become(api, await api.make_pool("second", provider="kubernetes"), cpu_1="READY")


async def test_a_cluster_that_is_away_loses_no_node(tmp_path: Path) -> None:
    async with cluster(gpus=4) as kube, running_gateway(tmp_path / "data", **_knobs(tmp_path, kube)) as api:
        pool = await api.make_pool(provider="kubernetes")
        await _become(api, pool, cpu_1="READY", gpu_1="READY")
        await kube.stop()

        async def told_why() -> bool:
            listed = await api.rest.ok("GET", "/deployment/provider/resources?provider=*")
            return "kubernetes" in {item["provider"] for item in listed["errors"]}

        await eventually(told_why, within_s=60)
        before = await _nodes(api, pool)
        assert {node["state"] for node in before.values()} == {"READY"}
        kube.objects.remove("nodes", "", "gpu-1")
        await kube.start()
        after = await _become(api, pool, cpu_1="READY", gpu_1="LOST")
        assert after["cpu-1"]["last_heartbeat_at"] > before["cpu-1"]["last_heartbeat_at"]
        assert after["gpu-1"]["last_heartbeat_at"] <= before["cpu-1"]["last_heartbeat_at"]
