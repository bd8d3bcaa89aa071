"""What goes wrong beside the engine must not keep the engine from being replaced."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from orchestration.service.controllers.probing import LOOK_INTERVAL_S
from tests.support.gateway import eventually, running_gateway


async def test_an_engine_is_replaced_although_its_log_cannot_be_kept(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "logs").write_text("in the way of the folder")
    async with running_gateway(data_dir) as api:
        policy = {"max_attempts": 1}
        deployment = await api.deploy(await api.make_pool(), "--exit", "3", restart_policy=policy)
        found = await api.reach(deployment, "FAILED", within_s=20)
        assert "exited with code 3" in found["error_message"]
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED")


async def test_an_engine_that_runs_is_left_alone_when_its_machine_is_known_by_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gateway(tmp_path, heartbeat_interval_s=0.4) as api:
        pool = await api.make_pool()
        deployment = await api.deploy(pool)
        await api.reach(deployment, "RUNNING")
        monkeypatch.setattr(socket, "gethostname", lambda: "renamed")

        async def gone() -> bool:
            path = f"/deployment/list/pool/{pool}/inventory?show_terminated=true"
            return {node["state"] for node in (await api.rest.ok("GET", path))["nodes"]} == {"READY", "TERMINATED"}

        await eventually(gone)
        await asyncio.sleep(1.5 * LOOK_INTERVAL_S)  # every replica has been looked at since
        found = await api.status(deployment)
        assert (found["status"], found["replica_statuses"][0]["restarts"]) == ("RUNNING", 0)
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED")
