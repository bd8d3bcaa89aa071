"""Replicas larger than a node through the gateway: what is refused, what is made, and who restarts it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Api, eventually, running_gateway
from tests.support.kubernetes.harness import cluster, kubeconfig
from tests.support.kubernetes.server import FakeKube
from tests.support.provider_processes import engine_command


@asynccontextmanager
async def gateway(
    folder: Path, *, serves_groups: bool, nodes: int = 2, **more: str
) -> AsyncGenerator[tuple[FakeKube, Api, str]]:
    """On a cluster with two nodes of two GPUs; with a pool. ``more``: of the provider's settings."""
    async with cluster() as kube:
        kube.serves_groups = serves_groups
        for number in range(1, nodes + 1):
            kube.add_node(f"gpu-{number}", gpus=2, gpu_type="NVIDIA-L4")
        config = kubeconfig(folder / "kubeconfig", {"here": kube})
        settings = {"kubeconfig": str(config), "endpoint": "pod_ip", "price_per_gpu_hour": "2", **more}
        knobs: dict[str, Any] = {"providers": {"kubernetes": settings}, "offers_interval_s": 1.0}
        async with running_gateway(folder / "data", **knobs) as api:
            pool = await api.make_pool(provider="kubernetes")

            async def offered() -> bool:
                status, _ = await api.rest.call("GET", "/deployment/provider/resources?provider=kubernetes")
                return status == 200

            await eventually(offered, within_s=60)
            yield kube, api, pool


def request(pool: str, *options: str, gpus: int = 4, **configuration: Any) -> dict[str, Any]:
    given = {"command": list(engine_command(*options)), "image": "engine:1", "health_path": "/", "port": 8000}
    return {
        "model_name": "tiny",
        "inference_model": "tiny",
        "engine": "custom",
        "pool_id": pool,
        "gpu_per_replica": gpus,
        "configuration": {**given, "stop_grace_seconds": 1, **configuration},
    }


async def refused(api: Api, body: dict[str, Any]) -> str:
    """What is said when it is refused, once it is known what there is."""

    async def look() -> str:
        status, answer = await api.rest.call("POST", "/deployment/deploy", body)
        assert status != 200
        return str(answer) if "GPU_COUNT_EXCEEDED" in str(answer) else ""

    return str(await eventually(look, within_s=60))


async def test_a_replica_over_two_nodes_costs_all_of_them_and_is_restarted_by_the_gateway_alone(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, serves_groups=True) as (kube, api, pool):
        assert "where configuration.multi_node says how" in await refused(api, request(pool))
        said = await refused(api, request(pool, gpus=6, multi_node="group"))
        assert "there are 4; 6 GPUs take 3 such nodes with 2 each, and fewer are there" in said
        body = request(pool, "--lines", "1", multi_node="group")
        answer = await api.rest.ok("POST", "/deployment/deploy", body)
        deployment_id = str(answer["deployment_id"])
        found = await api.reach(deployment_id, "RUNNING", within_s=60)
        (before,) = found["replica_statuses"]
        assert before["price_per_hour"] == 8.0
        worker = next(pod for pod in kube.objects.find("pods") if pod["metadata"]["name"].endswith("-0-1"))
        kube.kubelet.processes[worker["metadata"]["uid"]].kill()

        async def replaced() -> Any:
            (replica,) = (await api.status(deployment_id))["replica_statuses"]
            return replica["restarts"] and replica["state"] == "READY" and replica

        after = await eventually(replaced, within_s=60)
        assert after["provider_instance_id"] != before["provider_instance_id"]
        events = str(await api.events(deployment_id))
        assert "worker 1 of 1 on node gpu-" in events
        assert kube.calls["create", "leaderworkersets"] == 2
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED", within_s=60)
        kinds = ("leaderworkersets", "pods", "secrets", "services")
        assert [kind for kind in kinds for _ in kube.objects.find(kind)] == []


@pytest.mark.parametrize(
    ("serves_groups", "way", "words"),
    [
        (False, "group", "the cluster does not serve LeaderWorkerSet"),
        (True, "ray", "configuration.multi_node is 'ray', which is not how"),
    ],
)
async def test_it_is_refused_with_the_reason_where_it_cannot_be(
    tmp_path: Path, serves_groups: bool, way: str, words: str
) -> None:
    async with gateway(tmp_path, serves_groups=serves_groups) as (kube, api, pool):
        assert words in await refused(api, request(pool, multi_node=way))
        assert not list(kube.objects.find("pods"))


async def test_who_has_one_node_and_an_autoscaler_is_told_how_more_are_known(tmp_path: Path) -> None:
    async with gateway(tmp_path, serves_groups=True, nodes=1, autoscaling="true") as (_, api, pool):
        said = await refused(api, request(pool, multi_node="group"))
        assert "4 GPUs take 2 such nodes with 2 each, and fewer are there; where an autoscaler brings " in said
        assert "autoscaled.NVIDIA-L4 in [providers.kubernetes]" in said
