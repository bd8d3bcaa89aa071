"""Ports that somebody else has, or takes in the wrong moment."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from tests.service.healing.test_healing_liveness import end, replica_once
from tests.support.gateway import eventually, running_gateway


def listen(port: int = 0) -> socket.socket:
    """A stranger on a port."""
    return socket.create_server(("127.0.0.1", port))


async def test_a_fixed_port_is_tried_again_until_its_holder_goes(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        with listen() as stranger:
            port = stranger.getsockname()[1]
            deployment = await api.deploy(
                await api.make_pool(), configuration={"port": port}, restart_policy={"max_attempts": 100}
            )

            async def tried_again() -> dict[str, Any] | None:
                found = (await api.status(deployment))["replica_statuses"]
                return next((replica for replica in found if replica["attempt"] > 1 and replica["message"]), None)

            failed: dict[str, Any] = await eventually(tried_again)
            assert failed["reason"] == "PORT_IN_USE"
            assert f"port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in failed["message"]
        found = await api.reach(deployment, "RUNNING")
        assert found["replica_statuses"][0]["endpoint"] == f"http://127.0.0.1:{port}"
        await end(api, deployment)


async def test_a_fixed_port_whose_holder_stays_is_given_up(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        with listen() as stranger:
            port = stranger.getsockname()[1]
            deployment = await api.deploy(
                await api.make_pool(), configuration={"port": port}, restart_policy={"max_attempts": 3}
            )
            found = await api.reach(deployment, "FAILED")
        (replica,) = found["replica_statuses"]
        assert (replica["reason"], replica["attempt"]) == ("PORT_IN_USE", 3)
        assert f"port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in found["error_message"]


async def test_a_port_stolen_between_choice_and_use_costs_one_attempt(tmp_path: Path) -> None:
    go = tmp_path / "go"
    async with running_gateway(tmp_path / "data") as api:
        deployment = await api.deploy(await api.make_pool(), "--await", str(go))
        starting = await replica_once(api, deployment, state="STARTING")
        stolen = int(starting["endpoint"].rpartition(":")[2])
        with listen(stolen):
            go.touch()
            found = await api.reach(deployment, "RUNNING")
            (replica,) = found["replica_statuses"]
            assert replica["attempt"] == 2
            assert replica["endpoint"] != starting["endpoint"]
        failed = next(event for event in await api.events(deployment) if event["reason"] == "REPLICA_FAILED")
        assert "Address already in use" in failed["message"]
        await end(api, deployment)
