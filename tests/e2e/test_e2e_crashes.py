"""Real processes, really killed: engines are replaced, and the gateway comes back to what it left running."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Api, GatewayProcess, end_engines, eventually


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(tmp_path / "data")
    yield process
    await process.stop()
    end_engines(process.data_dir)


async def engine_pids(api: Api, deployment_id: str) -> dict[int, int]:
    """The engines' process ids by ordinal, as they answer them."""
    pids: dict[int, int] = {}
    for replica in (await api.status(deployment_id))["replica_statuses"]:
        async with api.rest.session.get(replica["endpoint"] + "/") as answer:
            pids[replica["ordinal"]] = int(await answer.text())
    return pids


async def clean_up(api: Api, deployment_id: str) -> None:
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
    await api.reach(deployment_id, "STOPPED")


async def messages(api: Api, deployment_id: str) -> list[str]:
    answer = await api.rest.ok("GET", f"/deployment/logs/{deployment_id}?tail=1000")
    return [line["message"] for line in answer["logs"]]


async def test_a_killed_engine_is_replaced_and_its_last_lines_are_kept(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        deployment = await api.deploy(await api.make_pool(), "--say", "the last words", replicas=2)
        await api.reach(deployment, "RUNNING")
        before = await engine_pids(api, deployment)
        os.kill(before[1], signal.SIGKILL)

        async def replaced() -> bool:
            found = await api.status(deployment)
            restarts = [replica["restarts"] for replica in found["replica_statuses"]]
            return found["status"] == "RUNNING" and restarts == [0, 1]

        await eventually(replaced, why=lambda: "the killed engine was not replaced, or not it alone")
        after = await engine_pids(api, deployment)
        assert after[0] == before[0], "the healthy replica was touched"
        assert after[1] != before[1]

        async def told() -> bool:
            reasons = [event["reason"] for event in await api.events(deployment)]
            wanted = ["DEPLOYMENT_ACCEPTED", "DEPLOYMENT_RUNNING", "DEPLOYMENT_DEGRADED", "DEPLOYMENT_RUNNING"]
            return [reason for reason in reasons if reason.startswith("DEPLOYMENT_")] == wanted

        await eventually(told, why=lambda: "the events never told RUNNING -> DEGRADED -> RUNNING")
        events = await api.events(deployment)
        failed = next(event for event in events if event["reason"] == "REPLICA_FAILED")
        assert failed["type"] == "WARNING"
        assert "signal 9" in failed["message"] or "SIGKILL" in failed["message"]
        assert "the last words" in failed["message"]

        async def both_logged() -> bool:
            text = " ".join(await messages(api, deployment))
            return f"engine pid {before[1]}" in text and f"engine pid {after[1]}" in text

        await eventually(both_logged, why=lambda: "the log lacks the dead engine or the new one")
        await clean_up(api, deployment)


async def test_a_killed_gateway_finds_its_four_engines_again(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        pool = await api.make_pool()
        deployment = await api.deploy(pool, replicas=4)
        await api.reach(deployment, "RUNNING")
        before = await engine_pids(api, deployment)
        await gateway.kill()

    async with gateway.api() as api:
        found = await api.reach(deployment, "RUNNING")
        assert await engine_pids(api, deployment) == before
        assert [replica["restarts"] for replica in found["replica_statuses"]] == [0, 0, 0, 0]
        assert tagged_engines(gateway.data_dir) == sorted(before.values())
        await clean_up(api, deployment)
        assert tagged_engines(gateway.data_dir) == []


async def test_an_engine_that_died_while_the_gateway_was_away_is_replaced(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        deployment = await api.deploy(await api.make_pool(), replicas=2)
        await api.reach(deployment, "RUNNING")
        before = await engine_pids(api, deployment)
        await gateway.kill()
    os.kill(before[0], signal.SIGKILL)

    async with gateway.api() as api:

        async def replaced() -> dict[int, int] | None:
            found = await api.status(deployment)
            if found["status"] != "RUNNING" or found["replica_statuses"][0]["restarts"] == 0:
                return None
            return await engine_pids(api, deployment)

        after: dict[int, int] = await eventually(replaced)
        assert after[0] != before[0]
        assert after[1] == before[1]
        await clean_up(api, deployment)


async def test_a_gateway_killed_at_once_after_accepting_keeps_what_it_accepted(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        deployment = await api.deploy(await api.make_pool(), replicas=2)
        await gateway.kill()

    async with gateway.api() as api:
        await api.reach(deployment, "RUNNING")
        assert len(tagged_engines(gateway.data_dir)) == 2
        await clean_up(api, deployment)


async def test_termination_goes_on_after_a_kill(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        deployment = await api.deploy(await api.make_pool(), "--ignore-term", replicas=2)
        await api.reach(deployment, "RUNNING")
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await gateway.kill()

    async with gateway.api() as api:
        await api.reach(deployment, "STOPPED")
        assert tagged_engines(gateway.data_dir) == []


async def test_sigterm_leaves_engines_running_and_exits_zero(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        deployment = await api.deploy(await api.make_pool())
        await api.reach(deployment, "RUNNING")
        before = await engine_pids(api, deployment)
        assert await gateway.stop() == 0
    assert tagged_engines(gateway.data_dir) == sorted(before.values())

    async with gateway.api() as api:
        await api.reach(deployment, "RUNNING")
        assert await engine_pids(api, deployment) == before
        await clean_up(api, deployment)


def tagged_engines(data_dir: Path) -> list[int]:
    """Engines of any gateway on this data folder that are alive, found by the folder in their supervisor's command."""
    import psutil

    found: list[int] = []
    for process in psutil.process_iter():
        try:
            parent: Any = process.parent()
            command = process.cmdline()
            if "tiny_engine.py" in " ".join(command) and parent and str(data_dir) in " ".join(parent.cmdline()):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return sorted(found)


async def test_a_watch_that_is_open_when_the_gateway_stops_is_told_so_and_does_not_hold_it_up(
    gateway: GatewayProcess,
) -> None:
    async with gateway.api() as api:
        async with api.rest.session.get(api.rest.base + "/deployment/watch") as answer:
            assert '"SYNCED"' in (await answer.content.readline()).decode()
            assert await gateway.stop() == 0
            rest = (await answer.content.read()).decode()
        assert '"SHUTTING_DOWN"' in rest
