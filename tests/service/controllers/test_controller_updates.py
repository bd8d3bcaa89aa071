"""Updates of what runs: the replicas of the generation before are left as they are until it is their turn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.support.gateway import Api, eventually, running_gateway, tiny

_ONE_PATH = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == sys.argv[2] else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""An engine that answers at one path alone."""


def _configuration(answers_at: str, health_path: str) -> dict[str, Any]:
    command = [sys.executable, "-S", "-c", _ONE_PATH, "{port}", answers_at]
    return {"command": command, "health_path": health_path, "stop_grace_seconds": 2}


def _states(found: dict[str, Any], generation: int) -> list[str]:
    return [item["state"] for item in found["replica_statuses"] if item["generation"] == generation]


async def _clean_up(api: Api, deployment: str) -> None:
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
    await api.reach(deployment, "STOPPED")


async def test_replicas_are_probed_as_they_were_started_while_another_health_path_is_rolled_out(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, probe_interval_s=0.1, probe_timeout_s=60, probe_failures=1) as api:
        request = tiny(await api.make_pool(), replicas=2, configuration=_configuration("/old", "/old"))
        deployment = str((await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"])
        await api.reach(deployment, "RUNNING")
        body = {
            "configuration": {**_configuration("/nowhere", "/new"), "startup_timeout_seconds": 1},
            "restart_policy": {"max_attempts": 1},
        }
        await api.rest.ok("PATCH", f"/deployment/update/{deployment}", body)

        async def rolled_back() -> bool:
            found = await api.status(deployment)
            assert "UNHEALTHY" not in _states(found, 1), "the old replica was probed at the new path"
            assert found["ready_replicas"] >= 1, "an update that fails has taken the whole deployment down"
            return bool(found["generation"] == 3)

        await eventually(rolled_back, within_s=60)
        found = await api.reach(deployment, "RUNNING")
        assert "generation 2 was rolled back: the engine was not ready within 1 s" in found["error_message"]
        await _clean_up(api, deployment)


async def test_a_version_that_is_not_registered_is_refused_also_of_a_model_that_is_not(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), replicas=0)
        status, answer = await api.rest.call("PATCH", f"/deployment/update/{deployment}", {"model_version": "9"})
        assert (status, answer["error"]["status"]) == (404, "NOT_FOUND"), answer


async def test_a_deployment_that_is_scaled_down_is_never_degraded(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), "--ignore-term", replicas=2)
        await api.reach(deployment, "RUNNING")
        answer = await api.rest.ok("POST", "/deployment/scale", {"deployment_id": deployment, "replicas": 1})
        assert answer["status"] == "RUNNING"

        async def one_left() -> bool:
            found = await api.status(deployment)
            assert found["status"] == "RUNNING"
            return len(found["replica_statuses"]) == 1

        await eventually(one_left)
        assert "DEPLOYMENT_DEGRADED" not in [event["reason"] for event in await api.events(deployment)]
        await _clean_up(api, deployment)
