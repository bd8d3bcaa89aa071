"""Logs to the end: of a replica that is ended, and of a deployment that is purged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from orchestration.v1 import model_deployments_pb2 as pb
from tests.support.gateway import Api, GatewayProcess, eventually, running_gateway, tiny

_TALKS_TO_THE_END = """
import http.server, signal, sys, threading

def stop(*_):
    for number in range(20000):
        print("last", number)
    sys.stdout.flush()
    sys.exit(0)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


async def _talkative(api: Api) -> str:
    request = tiny(await api.make_pool())
    request["configuration"]["command"] = [sys.executable, "-S", "-c", _TALKS_TO_THE_END, "{port}"]
    deployment_id = str((await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"])
    await api.reach(deployment_id, "RUNNING")
    return deployment_id


async def _all_texts(api: Api, deployment_id: str) -> list[str]:
    request = pb.TailDeploymentLogsRequest(deployment_id=deployment_id, follow=False, tail=5000)
    first = [entry async for entry in api.deployments.TailDeploymentLogs(request)]
    return [entry.message for entry in first]


async def test_what_a_replica_prints_while_it_is_ended_is_kept(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment_id = await _talkative(api)
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED")
        texts = await _all_texts(api, deployment_id)
    assert texts == [f"last {number}" for number in range(15_000, 20_000)]


@pytest.mark.slow
async def test_what_it_prints_while_the_gateway_is_gone_is_kept_too(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    async with gateway.api() as api:
        deployment_id = await _talkative(api)
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await gateway.kill()
    async with gateway.api() as api:
        await api.reach(deployment_id, "STOPPED")
        texts = await _all_texts(api, deployment_id)
        assert texts == [f"last {number}" for number in range(15_000, 20_000)]
        await gateway.stop()


async def _purged(api: Api) -> str:
    deployment_id = await api.deploy(await api.make_pool(), "--lines", "3")
    await api.reach(deployment_id, "RUNNING")
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
    await api.reach(deployment_id, "STOPPED")
    assert "line 2" in await _all_texts(api, deployment_id)
    await api.rest.ok("DELETE", f"/deployment/delete/{deployment_id}")
    return deployment_id


async def test_the_log_of_a_purged_deployment_is_gone_for_callers_and_stays_on_disk_for_the_grace(
    tmp_path: Path,
) -> None:
    async with running_gateway(tmp_path, log_purge_grace_s=3.0, reconcile_interval_s=0.2) as api:
        deployment_id = await _purged(api)
        folder = tmp_path / "logs" / deployment_id
        assert b"line 2" in b"".join(path.read_bytes() for path in folder.iterdir())
        status, answer = await api.rest.call("GET", f"/deployment/logs/{deployment_id}")
        assert (status, answer["error"]["status"]) == (404, "NOT_FOUND")

        async def removed() -> bool:
            return not folder.exists()

        await eventually(removed)


async def test_those_that_follow_the_log_of_a_purged_deployment_come_to_an_end(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment_id = await api.deploy(await api.make_pool(), "--lines", "3")
        await api.reach(deployment_id, "RUNNING")
        following = api.deployments.TailDeploymentLogs(pb.TailDeploymentLogsRequest(deployment_id=deployment_id))
        assert (await anext(aiter(following))).message.startswith("engine pid")
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED")
        await api.rest.ok("DELETE", f"/deployment/delete/{deployment_id}")
        rest = [entry.message async for entry in following]
        assert rest[:3] == ["line 0", "line 1", "line 2"]
        assert await following.code() is grpc.StatusCode.OK


@pytest.mark.slow
async def test_a_log_that_a_crash_left_between_purge_and_removal_is_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    knobs: dict[str, Any] = {"log_purge_grace_s": 2.0, "reconcile_interval_s": 0.2}
    gateway = GatewayProcess(data, **knobs)
    async with gateway.api() as api:
        folder = data / "logs" / await _purged(api)
        await gateway.kill()
    assert folder.exists()
    async with gateway.api():

        async def removed() -> bool:
            return not folder.exists()

        await eventually(removed)
        await gateway.stop()


@pytest.mark.parametrize("character", ["x", "\0", "é", "\ufffd"])
async def test_a_line_of_a_megabyte_goes_through_all_of_it(tmp_path: Path, character: str) -> None:
    size = 1024 * 1024 // len(character.encode())
    if character == "\ufffd":  # what a byte that is no UTF-8 becomes
        size, written = 1024 * 1024, "b'\\xff'"
    else:
        written = f"{character!r}.encode()"
    code = f"import sys; out = sys.stdout.buffer; out.write({written} * {size} + b'\\nshort\\n'); out.flush();"
    code += " import time; time.sleep(600)"
    async with running_gateway(tmp_path) as api:
        request = tiny(await api.make_pool())
        request["configuration"]["command"] = [sys.executable, "-S", "-c", code]
        deployment_id = str((await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"])
        following = aiter(api.deployments.TailDeploymentLogs(pb.TailDeploymentLogsRequest(deployment_id=deployment_id)))
        first, second = await anext(following), await anext(following)
        assert (first.message == character * size, second.message) == (True, "short")
        # A page holds as much as one gRPC message may, and a line at least.
        page = await api.deployments.GetDeploymentLogs(pb.GetDeploymentLogsRequest(deployment_id=deployment_id))
        assert page.logs[-1].message == "short"
        filtered = pb.GetDeploymentLogsRequest(deployment_id=deployment_id, replica_id=first.replica_id, tail=5000)
        assert page == await api.deployments.GetDeploymentLogs(filtered)
        rest = await api.rest.ok("GET", f"/deployment/logs/{deployment_id}?page_token={first.cursor}")
        assert [entry["message"] for entry in rest["logs"]] == ["short"]
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED")
