"""Engines that end: tried again with growing pauses, given up with the reason, or left alone when that is asked for."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.service.healing.test_healing_liveness import pid_of, replica_once
from tests.support.gateway import Api, eventually, running_gateway

SLOWLY: dict[str, Any] = {"backoff_initial_s": 0.2, "backoff_max_s": 0.4}


async def told(api: Api, deployment: str, reason: str) -> list[dict[str, Any]]:
    """The events of this reason, oldest first."""
    return [event for event in await api.events(deployment) if event["reason"] == reason]


@pytest.mark.parametrize(
    ("arguments", "reason", "said"),
    [
        (("--exit", "3"), "EXITED", "exited with code 3"),
        (("--exit", "0"), "EXITED", "exited with code 0"),
        (("--signal", "11"), "SIGNALED", "signal 11 (SIGSEGV)"),
        (("--signal", "9"), "SIGNALED", "signal 9 (SIGKILL)"),
    ],
)
async def test_a_crash_loop_ends_with_the_budget_and_says_why(
    tmp_path: Path, arguments: tuple[str, ...], reason: str, said: str
) -> None:
    async with running_gateway(tmp_path, **SLOWLY) as api:
        policy = {"max_attempts": 4}
        deployment = await api.deploy(
            await api.make_pool(), "--say", "the last words", *arguments, restart_policy=policy
        )
        found = await api.reach(deployment, "FAILED")
        (replica,) = found["replica_statuses"]
        assert (replica["state"], replica["reason"]) == ("FAILED", reason)
        assert (replica["attempt"], replica["restarts"]) == (4, 3)
        assert said in found["error_message"]
        assert "the last words" in found["error_message"]

        failed = await told(api, deployment, "REPLICA_FAILED")
        given_up = await told(api, deployment, "REPLICA_GIVEN_UP")
        assert [event["attempt"] for event in [*failed, *given_up]] == [1, 2, 3, 4]
        assert all(said in event["message"] and event["type"] == "WARNING" for event in [*failed, *given_up])
        pauses = [float(re.findall(r"comes in ([\d.]+) s", event["message"])[0]) for event in failed]
        assert all(pause <= bound for pause, bound in zip(pauses, (0.2, 0.4, 0.4), strict=True)), pauses


async def test_the_last_lines_are_those_of_the_attempt(tmp_path: Path) -> None:
    script = 'if [ -e "$0" ]; then echo second; else touch "$0"; echo first; fi; exit 1'
    async with running_gateway(tmp_path / "data") as api:
        command = ["/bin/sh", "-c", script, str(tmp_path / "ran")]
        deployment = await api.deploy(
            await api.make_pool(), restart_policy={"max_attempts": 2}, configuration={"command": command}
        )
        await api.reach(deployment, "FAILED")
        (failed,) = await told(api, deployment, "REPLICA_FAILED")
        (given_up,) = await told(api, deployment, "REPLICA_GIVEN_UP")
        assert "last lines: first;" in failed["message"]
        assert "last lines: second;" in given_up["message"]


ONCE, TWICE = {"max_attempts": 1}, {"max_attempts": 2}


@pytest.mark.parametrize(
    ("workload", "policy", "exit_code", "status", "attempts"),
    [
        ("inference", {"condition": "ALWAYS", **TWICE}, 0, "FAILED", 2),
        ("inference", {"condition": "ON_FAILURE", **TWICE}, 0, "FAILED", 1),
        ("inference", {"condition": "ON_FAILURE", **TWICE}, 3, "FAILED", 2),
        ("inference", {"condition": "NEVER"}, 3, "FAILED", 1),
        ("inference", {"max_attempts": 0}, 3, "FAILED", 1),
        ("inference", ONCE, 3, "FAILED", 1),
        ("batch", TWICE, 0, "STOPPED", 1),
        ("batch", {"condition": "NEVER"}, 0, "STOPPED", 1),
        ("batch", TWICE, 3, "FAILED", 2),
        ("batch", {"condition": "NEVER"}, 3, "FAILED", 1),
        ("batch", {"condition": "ALWAYS", **TWICE}, 0, "FAILED", 2),
    ],
)
async def test_what_the_restart_policy_makes_of_an_end(
    tmp_path: Path, workload: str, policy: dict[str, Any], exit_code: int, status: str, attempts: int
) -> None:
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(
            await api.make_pool(), "--exit", str(exit_code), workload_type=workload, restart_policy=policy
        )
        found = await api.reach(deployment, status)
        (replica,) = found["replica_statuses"]
        assert replica["attempt"] == attempts
        done = status == "STOPPED"
        assert (replica["state"], replica["reason"]) == (("TERMINATED", "COMPLETED") if done else ("FAILED", "EXITED"))
        assert f"exited with code {exit_code}" in replica["message"]
        assert bool(found["error_message"]) is not done


async def test_a_batch_counts_what_is_done_and_can_be_run_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(await api.make_pool(), "--live", "0.5", workload_type="batch", replicas=2)
        await api.reach(deployment, "STOPPED")
        assert [event["attempt"] for event in await told(api, deployment, "REPLICA_COMPLETED")] == [1, 1]

        async def cleared() -> bool:
            replicas = (await api.status(deployment))["replica_statuses"]
            return not any(replica["pool_id"] for replica in replicas)

        async def stops() -> int:
            reasons = [event["reason"] for event in await api.events(deployment)]
            last = [reason for reason in reasons if reason.startswith("DEPLOYMENT_")][-1]
            return reasons.count("DEPLOYMENT_STOPPED") if last == "DEPLOYMENT_STOPPED" else 0

        await eventually(cleared, why=lambda: "what has ended holds its place")
        assert await eventually(stops) == 1
        await api.rest.ok("POST", "/deployment/start", {"deployment_id": deployment})

        async def done_again() -> bool:
            found = await api.status(deployment)
            attempts = [replica["attempt"] for replica in found["replica_statuses"]]
            return (found["status"], attempts) == ("STOPPED", [2, 2])

        await eventually(done_again, why=lambda: "the batch was not run once more")
        # A start is no way to be stopped.
        assert await eventually(stops) == 2
        answer = await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        assert answer["status"] in {"STOPPED", "TERMINATING"}
        await api.reach(deployment, "STOPPED")
        await api.rest.ok("DELETE", f"/deployment/delete/{deployment}")


async def test_a_batch_that_is_done_keeps_neither_its_pool_nor_its_model(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        model = {"model_name": "tiny", "model_version": "1", "backend": "custom", "artifact_uri": "tiny"}
        await api.rest.ok("POST", "/deployment/registerModel", model)
        pool = await api.make_pool()
        deployment = await api.deploy(pool, "--live", "0.2", workload_type="batch")
        await api.reach(deployment, "STOPPED")

        async def cleared() -> bool:
            return not (await api.status(deployment))["replica_statuses"][0]["pool_id"]

        await eventually(cleared)
        await api.rest.ok("DELETE", "/v1/models/tiny/versions/1")
        answer = await api.rest.ok("DELETE", f"/v1/pools/{pool}")
        assert answer["status"] == "DELETED"
        assert (await api.status(deployment))["status"] == "STOPPED"


@pytest.mark.slow
async def test_a_replica_that_was_ready_for_the_window_has_its_whole_budget_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        policy = {"max_attempts": 2, "window": "1s"}
        deployment = await api.deploy(await api.make_pool(), restart_policy=policy)
        for restarts in range(3):
            ready = await replica_once(api, deployment, state="READY", restarts=restarts)
            await asyncio.sleep(1.2)  # the window, which began before that
            os.kill(await pid_of(api, ready["endpoint"]), signal.SIGKILL)
        await replica_once(api, deployment, state="READY", restarts=3)
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED")


@pytest.mark.slow
async def test_a_replica_that_was_ready_for_less_has_not(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        policy = {"max_attempts": 2, "window": "3600s"}
        deployment = await api.deploy(await api.make_pool(), restart_policy=policy)
        for restarts in range(2):
            ready = await replica_once(api, deployment, state="READY", restarts=restarts)
            os.kill(await pid_of(api, ready["endpoint"]), signal.SIGKILL)
        found = await api.reach(deployment, "FAILED")
        assert found["replica_statuses"][0]["attempt"] == 2
        assert len(await told(api, deployment, "REPLICA_READY")) == 2
