"""A gateway, a real Ray cluster, a real engine and a small model, as the first process of a network namespace.

``python -m tests.support.ray.scenario RAY_PYTHON MODEL FOLDER`` says each step once it has come true; ends with 0 when
all have, and with a traceback at the first that has not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.gateway import Api, GatewayProcess, eventually
from tests.support.ray.cluster import DASHBOARD, RealCluster
from tests.support.ray.node_steps import NodeSteps
from tests.support.ray.spreading import Spreading

TOKEN = "a-token-of-the-test-and-no-other"
PATIENCE_S = 120.0
AWAY_S = float(os.environ.get("TEST_RAY_AWAY_S", "12"))
"""How long the cluster's API is away. By default more than twice what a call may take, and looks in between."""
RESTARTS_DASHBOARD = os.environ.get("TEST_RAY_DASHBOARD") == "restart"
"""Whether the head's dashboard is killed as well, and started again after as long."""
_BEGAN = time.monotonic()


def say(text: str) -> None:
    """A step that came true."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {text}", flush=True)


class Scenario:
    """The steps, in order."""

    def __init__(self, cluster: RealCluster, gateway: GatewayProcess, model: str, python: str) -> None:
        self._python = python
        self._cluster = cluster
        self._gateway = gateway
        self._model = model
        self._id = ""
        self._nodes = NodeSteps("", PATIENCE_S)
        self._node_ids: dict[str, str] = {}

    async def run(self) -> None:
        """All of them."""
        async with self._gateway.api() as api:
            await self._offers(api)
            pool = await api.make_pool("gpus", provider="ray", allowed_gpu_types=["A100"])
            self._nodes = NodeSteps(pool, PATIENCE_S)
            self._node_ids = {name: node["node_id"] for name, node in (await self._nodes.joined(api)).items()}
            say("both raylets are nodes of the inventory, with their GPUs")
            await self._refused(api, pool)
            await Spreading(api, pool, self._python).run()
            say("an engine on both nodes served, and ended with all of its workers")
            self._id = await self._deploy(api, pool)
            await self._answers(api)
            await self._logs(api)
            await self._node_dies(api)
            await self._cluster_away(api)
            if RESTARTS_DASHBOARD:
                await self._dashboard_restarts(api)
        await self._gateway.stop()
        async with self._gateway.api() as api:
            await self._answers(api)
            found = await self._nodes.nodes(api)
            assert {name: node["node_id"] for name, node in found.items()} == self._node_ids
            say("a gateway that was started again has the same instance")
            await self._terminated(api)
        await self._gateway.stop()

    async def _offers(self, api: Api) -> None:
        async def look() -> Any:
            status, found = await api.rest.call("GET", "/deployment/provider/resources?provider=ray")
            single = [item for item in found.get("resources", []) if "machines" not in item["metadata"]]
            return status == 200 and len(single) == 2 and single

        found = await eventually(look, within_s=PATIENCE_S)
        assert all((item["gpu_type"], item["gpu_count"]) == ("A100", 1) for item in found), found
        say("the two nodes with GPUs are offered, the head is not")

    async def _refused(self, api: Api, pool: str) -> None:
        async def look() -> Any:
            status, found = await api.rest.call("POST", "/deployment/deploy", self._request(pool, gpu_per_replica=2))
            return status == 400 and found

        found = await eventually(look, within_s=PATIENCE_S)
        assert "engine llamacpp cannot run over several nodes" in str(found), found
        say("more GPUs than a node has are refused to an engine that cannot run over several")

    def _request(self, pool: str, **fields: Any) -> dict[str, Any]:
        return {
            "model_name": "smollm",
            "inference_model": self._model,
            "engine": "llamacpp",
            "pool_id": pool,
            "gpu_per_replica": 1,
            "replicas": 1,
            "configuration": {"command": [sys.executable, "-m", "orchestration.service.engines.llamacpp_server"]},
            **fields,
        }

    async def _deploy(self, api: Api, pool: str) -> str:
        answer = await api.rest.ok("POST", "/deployment/deploy", self._request(pool))
        return str(answer["deployment_id"])

    async def _replica(self, api: Api) -> dict[str, Any]:
        found = await api.reach(self._id, "RUNNING", within_s=PATIENCE_S)
        return dict(found["replica_statuses"][0])

    async def _ask(self, replica: dict[str, Any]) -> str:
        asked = {"model": "smollm", "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{replica['endpoint']}/v1/completions", json=asked) as answer,
        ):
            return str((await answer.json())["choices"][0]["text"])

    async def _answers(self, api: Api) -> None:
        replica = await self._replica(api)
        text = await self._ask(replica)
        assert text.startswith(" Paris"), text
        say(f"the engine at {replica['endpoint']} answers{text!r}")

    async def _logs(self, api: Api) -> None:
        async def look() -> bool:
            found = await api.rest.ok("GET", f"/deployment/logs/{self._id}")
            return any("llamacpp_server: serving" in line["message"] for line in found["logs"])

        await eventually(look, within_s=PATIENCE_S)
        say("what the engine prints is in the deployment's log")

    async def _node_dies(self, api: Api) -> None:
        before = await self._replica(api)
        (job,) = await self._live_jobs()
        await self._nodes.used(api, job["driver_node_id"])
        self._cluster.kill_raylet(job["driver_node_id"])
        took_s = await self._nodes.lost(api, job["driver_node_id"])
        say(f"its node is LOST {took_s:.1f} s after the raylet was killed, the other is READY")

        async def look() -> Any:
            found = (await api.status(self._id))["replica_statuses"][0]
            return found["restarts"] and found["state"] == "READY" and found

        after = await eventually(look, within_s=PATIENCE_S)
        (again,) = await self._live_jobs()
        assert again["driver_node_id"] != job["driver_node_id"]
        assert after["endpoint"] != before["endpoint"]
        await self._answers(api)
        say("a raylet was killed, and the replica runs on the other node")

    async def _cluster_away(self, api: Api) -> None:
        before = await self._replica(api)
        events = len(await api.events(self._id))
        nodes = await self._nodes.nodes(api)
        stopped = self._cluster.pause_dashboard()
        await self._looks_while_away(api, before)
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        await self._all_as_before(api, before, nodes, events)
        say(f"the cluster's API was away for {AWAY_S:g} s, and nothing was touched")

    async def _dashboard_restarts(self, api: Api) -> None:
        before = await self._replica(api)
        events = len(await api.events(self._id))
        nodes = await self._nodes.nodes(api)
        killed = self._cluster.kill_dashboard()
        await self._looks_while_away(api, before)
        self._cluster.start_again(killed)
        await self._all_as_before(api, before, nodes, events)
        say(f"the dashboard was killed, and started again after {AWAY_S:g} s, and nothing was touched")

    async def _all_as_before(
        self, api: Api, before: dict[str, Any], nodes: dict[str, dict[str, Any]], events: int
    ) -> None:
        began = time.monotonic()

        async def back() -> bool:
            return (await api.rest.call("GET", "/deployment/provider/resources?provider=ray"))[0] == 200

        await eventually(back, within_s=PATIENCE_S)
        assert await self._replica(api) == before
        since = {event["reason"] for event in (await api.events(self._id))[events:]}
        assert not since & {"REPLICA_FAILED", "REPLICA_UNHEALTHY", "REPLICA_TERMINATING", "DEPLOYMENT_DEGRADED"}
        await self._nodes.heard_again(api, nodes)
        say(f"nodes were heard of {time.monotonic() - began:.1f} s after it was back")

    async def _looks_while_away(self, api: Api, before: dict[str, Any]) -> None:
        until = time.monotonic() + AWAY_S
        while time.monotonic() < until:
            assert (await self._ask(before)).startswith(" Paris")
            found = await api.status(self._id)
            assert (found["status"], found["replica_statuses"]) == ("RUNNING", [before])
            states = [node["state"] for node in (await self._nodes.nodes(api)).values()]
            assert sorted(states) == ["LOST", "READY"], "as before"
            await asyncio.sleep(1)

    async def _terminated(self, api: Api) -> None:
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": self._id})
        await api.reach(self._id, "STOPPED", within_s=PATIENCE_S)
        assert await self._live_jobs() == []

        async def none_left() -> bool:
            return not await _jobs()

        await eventually(none_left, within_s=PATIENCE_S)
        say("terminated, and Ray has no job left")

    async def _live_jobs(self) -> list[dict[str, Any]]:
        return [job for job in await _jobs() if job["status"] in {"PENDING", "RUNNING"}]


async def _jobs() -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{DASHBOARD}/api/jobs/") as answer:
        assert answer.status == 200, await answer.text()
        return [job for job in await answer.json() if job["type"] == "SUBMISSION"]


async def main(python: str, model: str, folder: Path) -> None:
    """Start what is needed, and take the steps."""
    cluster = RealCluster(python, folder / "ray", TOKEN)
    await asyncio.to_thread(cluster.start)
    say("a head and two raylets")
    settings = {"providers__ray__address": DASHBOARD, "providers__ray__token": TOKEN}
    gateway = GatewayProcess(folder / "data", **settings, offers_interval_s=2.0, nodes_interval_s=2.0)
    try:
        await Scenario(cluster, gateway, model, python).run()
    except BaseException:
        print(gateway.log.read_text()[-20_000:] if gateway.log.exists() else "no gateway log")
        raise


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
