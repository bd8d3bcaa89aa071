"""A deployment's whole life on a real control plane, through the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Api, eventually, running_gateway
from tests.support.kubernetes.real_cluster import RealCluster
from tests.support.provider_processes import engine_command

pytestmark = pytest.mark.slow
WITHIN_S = 90.0


def _knobs(real: RealCluster, **settings: str) -> dict[str, Any]:
    given = {"kubeconfig": str(real.config), "endpoint": "pod_ip", "price_per_gpu_hour": "2", **settings}
    return {"providers": {"kubernetes": given}, "offers_interval_s": 1.0}


async def _deploy(api: Api, pool_id: str, *options: str, **fields: Any) -> str:
    configuration = {
        "command": list(engine_command(*options)),
        "image": "engine:1",
        "health_path": "/",
        "port": 8000,
        "stop_grace_seconds": 1,
    }
    request = {"model_name": "tiny", "inference_model": "tiny", "engine": "custom", "pool_id": pool_id}
    body = {**request, "gpu_per_replica": 0, "configuration": configuration, **fields}
    return str((await api.rest.ok("POST", "/deployment/deploy", body))["deployment_id"])


async def _line(api: Api, deployment_id: str, text: str) -> None:
    async def look() -> bool:
        answer = await api.rest.ok("GET", f"/deployment/logs/{deployment_id}")
        return any(entry["message"] == text for entry in answer["logs"])

    await eventually(look, within_s=WITHIN_S, why=lambda: f"{text!r} was never logged")


async def _terminate(api: Api, real: RealCluster, deployment_id: str) -> None:
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
    await api.reach(deployment_id, "STOPPED", within_s=WITHIN_S)

    async def empty() -> bool:
        return not await real.left()

    await eventually(empty, within_s=WITHIN_S)


async def test_a_deployment_lives_and_leaves_nothing(real: RealCluster, tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data", **_knobs(real)) as api:
        pool_id = await api.make_pool(provider="kubernetes", provider_pool_id=f"here/{real.namespace}")
        deployment_id = await _deploy(
            api,
            pool_id,
            "--lines",
            "3",
            replicas=2,
            gpu_per_replica=2,
            env={"KEY": "hidden"},
            labels={"team": "模型 🙂"},
        )
        found = await api.reach(deployment_id, "RUNNING", within_s=WITHIN_S)
        endpoints = {replica["endpoint"] for replica in found["replica_statuses"]}
        assert len(endpoints) == 2
        async with api.rest.session.get(f"{endpoints.pop()}/env") as answer:
            assert (await answer.json(content_type=None))["KEY"] == "hidden"
        assert {replica["price_per_hour"] for replica in found["replica_statuses"]} == {4.0}
        await _line(api, deployment_id, "line 2")
        await _terminate(api, real, deployment_id)


async def test_a_crash_is_replaced_by_the_gateway_alone(real: RealCluster, tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data", **_knobs(real)) as api:
        pool_id = await api.make_pool(provider="kubernetes")
        policy = {"condition": "ON_FAILURE", "max_attempts": 2}
        deployment_id = await _deploy(api, pool_id, "--lines", "1", "--exit-code", "3", restart_policy=policy)
        found = await api.reach(deployment_id, "FAILED", within_s=WITHIN_S)
        assert "exited with code 3" in str(found)
        await _line(api, deployment_id, "line 0")


async def test_pods_that_are_taken_away_are_replaced(real: RealCluster, tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data", **_knobs(real)) as api:
        pool_id = await api.make_pool(provider="kubernetes")
        deployment_id = await _deploy(api, pool_id)
        before = _names(await api.reach(deployment_id, "RUNNING", within_s=WITHIN_S))
        await real.admin.call("DELETE", f"/api/v1/namespaces/{real.namespace}/pods/{before[0].rpartition('/')[2]}")

        async def replaced() -> bool:
            found = await api.status(deployment_id)
            return found["status"] == "RUNNING" and _names(found) != before

        await eventually(replaced, within_s=WITHIN_S)
        await _terminate(api, real, deployment_id)


async def test_an_api_server_that_is_away_loses_nothing(real: RealCluster, tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data", **_knobs(real)) as api:
        pool_id = await api.make_pool(provider="kubernetes")
        deployment_id = await _deploy(api, pool_id)
        before = await api.reach(deployment_id, "RUNNING", within_s=WITHIN_S)
        (pod,) = real.pods()
        real.plane.stop_server()

        async def told() -> bool:
            listed = await api.rest.ok("GET", "/deployment/provider/resources?provider=*")
            return any(item["provider"] == "kubernetes" for item in listed["errors"])

        await eventually(told, within_s=WITHIN_S)
        real.plane.start_server()
        after = await api.reach(deployment_id, "RUNNING", within_s=WITHIN_S)
        assert _names(after) == _names(before)
        assert [item["metadata"]["uid"] for item in real.pods()] == [pod["metadata"]["uid"]]
        await _terminate(api, real, deployment_id)


def _names(deployment: dict[str, Any]) -> list[str]:
    return [replica["provider_instance_id"] for replica in deployment["replica_statuses"]]
