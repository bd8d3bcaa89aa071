"""Deployments on a Ray cluster through the gateway: asked for over REST, run by the fake cluster as real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.gateway import Api, eventually, running_gateway
from tests.support.ray.fake import FakeRay
from tests.support.ray.nodes import FakeNode

WORSE = {"REPLICA_FAILED", "REPLICA_UNHEALTHY", "REPLICA_TERMINATING", "DEPLOYMENT_DEGRADED"}


def cluster(folder: Path) -> FakeRay:
    """Two nodes with two GPUs each."""
    folder.mkdir()
    found = FakeRay(folder, token="t0ken")
    label = {"ray.io/accelerator-type": "A100"}
    found.nodes = [FakeNode(letter * 56, gpus=2, labels=label) for letter in "ab"]
    return found


def settings(ray: FakeRay) -> dict[str, Any]:
    provider = {"address": ray.url, "token": "t0ken", "price_per_gpu_hour": "1.5"}
    return {"providers": {"ray": provider}, "offers_interval_s": 1.0}


async def endpoints(api: Api, deployment_id: str) -> list[str]:
    found = await api.reach(deployment_id, "RUNNING")
    return [replica["endpoint"] for replica in found["replica_statuses"]]


async def test_a_deployment_lives_on_ray_and_leaves_nothing(tmp_path: Path) -> None:
    async with (
        cluster(tmp_path / "ray").serving() as ray,
        running_gateway(tmp_path / "data", **settings(ray)) as api,
    ):
        pool = await api.make_pool("gpus", provider="ray", allowed_gpu_types=["a100"])

        async def too_wide() -> Any:
            status, answer = await api.rest.call(
                "POST",
                "/deployment/deploy",
                {"model_name": "m", "inference_model": "m", "engine": "custom"}
                | {"pool_id": pool, "gpu_per_replica": 3, "configuration": {"command": ["x"]}},
            )
            return status != 200 and "3 is more than the 2 GPUs" in str(answer)

        await eventually(too_wide)
        deployment = await api.deploy(pool, replicas=3, gpu_per_replica=1)
        found = await endpoints(api, deployment)
        assert len(set(found)) == 3
        for endpoint in found:
            async with api.rest.session.get(f"{endpoint}/health") as answer:
                assert answer.status == 200
        status = await api.status(deployment)
        assert {replica["state"] for replica in status["replica_statuses"]} == {"READY"}
        assert ray.nodes[0].taken["GPU"] + ray.nodes[1].taken["GPU"] == 3
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED")
        assert not [job for job in ray.jobs.values() if not job.ended]


async def test_a_lost_node_is_replaced_and_a_lost_cluster_is_waited_for(tmp_path: Path) -> None:
    async with (
        cluster(tmp_path / "ray").serving() as ray,
        running_gateway(tmp_path / "data", **settings(ray)) as api,
    ):
        pool = await api.make_pool("gpus", provider="ray")
        deployment = await api.deploy(pool, gpu_per_replica=2)
        (before,) = await endpoints(api, deployment)
        (job,) = ray.jobs.values()
        assert job.node is not None
        ray.kill_node(job.node.node_id)

        async def replaced() -> Any:
            (replica,) = (await api.status(deployment))["replica_statuses"]
            return replica["state"] == "READY" and replica["restarts"] == 1 and replica["endpoint"]

        after = await eventually(replaced)
        assert after != before
        assert await endpoints(api, deployment) == [after]
        events = len(await api.events(deployment))
        ray.fail("*", "/", "502", times=1000)
        (fault,) = ray.faults

        async def away() -> bool:
            return fault.times <= 1000 - 6

        await eventually(away, within_s=60)
        ray.faults.clear()
        asked = len(ray.requests)

        async def back() -> bool:
            return any(path.startswith("/api/jobs/r-") for _, path in ray.requests[asked:])

        await eventually(back, within_s=60)
        assert await endpoints(api, deployment) == [after]
        since = (await api.events(deployment))[events:]
        assert not {event["reason"] for event in since} & WORSE
