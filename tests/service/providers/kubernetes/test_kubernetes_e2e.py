"""A deployment's whole life on kubernetes, through the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.gateway import Api, eventually, running_gateway
from tests.support.kubernetes.harness import NAMESPACE, cluster, kubeconfig
from tests.support.kubernetes.server import FakeKube
from tests.support.provider_processes import engine_command


def _request(pool_id: str, *options: str, **fields: Any) -> dict[str, Any]:
    return {
        "model_name": "tiny",
        "inference_model": "tiny",
        "engine": "custom",
        "pool_id": pool_id,
        "gpu_per_replica": 0,
        "configuration": {
            "command": list(engine_command(*options)),
            "image": "engine:1",
            "health_path": "/",
            "port": 8000,
            "stop_grace_seconds": 1,
        },
        **fields,
    }


def _knobs(folder: Path, kube: FakeKube, **settings: str) -> dict[str, Any]:
    config = kubeconfig(folder / "kubeconfig", {"here": kube})
    given = {"kubeconfig": str(config), "endpoint": "pod_ip", "price_per_gpu_hour": "2", **settings}
    return {"providers": {"kubernetes": given}, "offers_interval_s": 1.0}


async def _deploy(api: Api, pool_id: str, *options: str, **fields: Any) -> str:
    answer = await api.rest.ok("POST", "/deployment/deploy", _request(pool_id, *options, **fields))
    return str(answer["deployment_id"])


async def _line(api: Api, deployment_id: str, text: str) -> None:
    async def look() -> bool:
        answer = await api.rest.ok("GET", f"/deployment/logs/{deployment_id}")
        return any(entry["message"] == text for entry in answer["logs"])

    await eventually(look, why=lambda: f"{text!r} was never logged")


def _left(kube: FakeKube) -> list[str]:
    return [
        item["metadata"]["name"] for resource in ("pods", "services", "secrets") for item in kube.objects.find(resource)
    ]


async def test_a_deployment_lives_on_kubernetes_and_leaves_nothing(tmp_path: Path) -> None:
    async with cluster(gpus=4) as kube, running_gateway(tmp_path / "data", **_knobs(tmp_path, kube)) as api:
        pool_id = await api.make_pool(provider="kubernetes", provider_pool_id=f"here/{NAMESPACE}")
        deployment_id = await _deploy(
            api, pool_id, "--lines", "3", replicas=2, gpu_per_replica=2, env={"KEY": "hidden"}
        )
        found = await api.reach(deployment_id, "RUNNING", within_s=60)
        endpoints = {replica["endpoint"] for replica in found["replica_statuses"]}
        assert len(endpoints) == 2
        async with api.rest.session.get(f"{endpoints.pop()}/env") as answer:
            assert (await answer.json(content_type=None))["KEY"] == "hidden"
        assert {replica["price_per_hour"] for replica in found["replica_statuses"]} == {4.0}
        await _line(api, deployment_id, "line 2")
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED", within_s=60)
        assert _left(kube) == []


async def test_a_crash_is_one_attempt_and_is_replaced_by_the_gateway_alone(tmp_path: Path) -> None:
    async with cluster() as kube, running_gateway(tmp_path / "data", **_knobs(tmp_path, kube)) as api:
        pool_id = await api.make_pool(provider="kubernetes")
        policy = {"condition": "ON_FAILURE", "max_attempts": 2}
        deployment_id = await _deploy(api, pool_id, "--lines", "1", "--exit-code", "3", restart_policy=policy)
        found = await api.reach(deployment_id, "FAILED", within_s=60)
        assert "exited with code 3" in str(found)
        assert kube.calls["create", "pods"] == 2
        await _line(api, deployment_id, "line 0")


async def test_a_cluster_that_is_away_loses_nothing(tmp_path: Path) -> None:
    async with cluster() as kube, running_gateway(tmp_path / "data", **_knobs(tmp_path, kube)) as api:
        pool_id = await api.make_pool(provider="kubernetes")
        deployment_id = await _deploy(api, pool_id)
        before = await api.reach(deployment_id, "RUNNING", within_s=60)
        await kube.stop()
        row: dict[str, Any] = {}

        async def told() -> bool:
            listed = await api.rest.ok("GET", "/deployment/provider/resources?provider=*")
            row.update({item["provider"]: item["error"] for item in listed["errors"]})
            return "kubernetes" in row

        await eventually(told)
        assert "did not answer" in row["kubernetes"] or "is not asked" in row["kubernetes"]
        await kube.start()
        after = await api.reach(deployment_id, "RUNNING", within_s=60)
        assert _names(after) == _names(before)
        assert kube.calls["create", "pods"] == 1
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED", within_s=60)
        assert _left(kube) == []


def _names(deployment: dict[str, Any]) -> list[str]:
    return [replica["provider_instance_id"] for replica in deployment["replica_statuses"]]
