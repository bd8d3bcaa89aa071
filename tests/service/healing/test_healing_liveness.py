"""Engines that run and do not serve: found by asking them, and replaced."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import ENGINE, Api, eventually, running_gateway

PROBES: dict[str, Any] = {"probe_interval_s": 0.2, "probe_timeout_s": 0.5, "probe_failures": 2}


async def replica_of(api: Api, deployment: str) -> dict[str, Any]:
    """The one replica."""
    (replica,) = (await api.status(deployment))["replica_statuses"]
    return dict(replica)


async def replica_once(api: Api, deployment: str, within_s: float = 60.0, **wanted: object) -> dict[str, Any]:
    """The one replica once its fields are those wanted."""

    async def look() -> dict[str, Any] | None:
        found = (await api.status(deployment))["replica_statuses"]
        right = len(found) == 1 and all(found[0][name] == value for name, value in wanted.items())
        return dict(found[0]) if right else None

    found = await eventually(look, within_s=within_s, why=lambda: f"the replica never had {wanted}")
    return dict(found)


async def pid_of(api: Api, endpoint: str) -> int:
    """The engine's process id, as it answers it."""
    async with api.rest.session.get(endpoint + "/") as answer:
        return int(await answer.text())


async def end(api: Api, deployment: str) -> None:
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
    await api.reach(deployment, "STOPPED")


def hang(pid: int, sick: Path) -> None:
    """Accept, and never answer: the kernel goes on accepting for a process that is stopped."""
    del sick
    os.kill(pid, signal.SIGSTOP)


def fall_ill(pid: int, sick: Path) -> None:
    """Answer 503."""
    del pid
    sick.touch()


@pytest.mark.parametrize(
    ("spoil", "timeout_s", "said"),
    [(hang, 0.5, "no answer to GET /health within 0.5 s"), (fall_ill, 30.0, "GET /health answered 503")],
)
async def test_an_engine_that_no_longer_serves_is_unhealthy_and_then_replaced(
    tmp_path: Path, spoil: Callable[[int, Path], None], timeout_s: float, said: str
) -> None:
    sick = tmp_path / "sick"
    async with running_gateway(tmp_path / "data", **{**PROBES, "probe_timeout_s": timeout_s}) as api:
        deployment = await api.deploy(await api.make_pool(), "--sick", str(sick))
        ready = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        pid = await pid_of(api, ready["endpoint"])
        spoil(pid, sick)

        await replica_once(api, deployment, attempt=2)
        sick.unlink(missing_ok=True)

        again = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        assert await pid_of(api, again["endpoint"]) != pid
        # It was unhealthy for a second at most, which a look from outside may miss.
        events = await api.events(deployment)
        unhealthy = next(event for event in events if event["reason"] == "REPLICA_UNHEALTHY")
        assert (unhealthy["attempt"], said in unhealthy["message"]) == (1, True)
        failed = [event for event in events if event["reason"] == "REPLICA_FAILED"]
        assert [(event["attempt"], said in event["message"]) for event in failed] == [(1, True)]
        await end(api, deployment)


async def test_the_reason_of_an_engine_that_hangs_stays_when_it_is_given_up(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, **PROBES) as api:
        deployment = await api.deploy(await api.make_pool(), restart_policy={"max_attempts": 1})
        ready = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        os.kill(await pid_of(api, ready["endpoint"]), signal.SIGSTOP)
        await api.reach(deployment, "FAILED")
        failed = await replica_of(api, deployment)
        assert failed["reason"] == "LIVENESS_FAILED"
        assert "failed 4 probes in a row: no answer to GET /health" in failed["message"]


async def test_an_engine_that_is_well_again_in_time_is_kept(tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    # Unhealthy for three seconds before it would be replaced: time enough to look, and to become well.
    patient = {"probe_interval_s": 1.0, "probe_timeout_s": 10.0, "probe_failures": 3}
    async with running_gateway(tmp_path / "data", **patient) as api:
        deployment = await api.deploy(await api.make_pool(), "--sick", str(sick))
        before = (await api.reach(deployment, "RUNNING"))["replica_statuses"][0]
        sick.touch()
        unhealthy = await replica_once(api, deployment, state="UNHEALTHY")
        status = (await api.status(deployment))["status"]
        sick.unlink()
        assert unhealthy["reason"] == "PROBE_FAILED"
        assert "GET /health answered 503" in unhealthy["message"]
        assert status in {"DEGRADED", "DEPLOYING"}
        after = await replica_once(api, deployment, state="READY")
        assert (after["attempt"], after["restarts"], after["ready_at"]) == (1, 0, before["ready_at"])
        await end(api, deployment)


async def test_an_engine_that_never_becomes_ready_is_given_up_in_time(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        deployment = await api.deploy(
            await api.make_pool(),
            "--never-ready",
            "--say",
            "still loading",
            restart_policy={"max_attempts": 2},
            configuration={"startup_timeout_seconds": 3},
        )
        await api.reach(deployment, "FAILED")
        failed = await replica_of(api, deployment)
        assert (failed["reason"], failed["attempt"]) == ("STARTUP_TIMEOUT", 2)
        assert "was not ready within 3 s: GET /health answered 503" in failed["message"]
        assert "still loading" in failed["message"]


async def test_an_attempt_is_probed_by_what_it_was_started_with(tmp_path: Path) -> None:
    """What the next generation answers at is not what the one before it answers at."""
    # What does not exist answers at once; an engine that is merely slow is not to be taken for one that fails.
    async with running_gateway(tmp_path, **{**PROBES, "probe_timeout_s": 30.0}) as api:
        policy = {"max_attempts": 1000}
        deployment = await api.deploy(await api.make_pool(), "--only", "/health", replicas=2, restart_policy=policy)
        found = await api.reach(deployment, "RUNNING")
        command = [*found["configuration"]["command"], "--never-ready"]
        elsewhere = {"command": command, "health_path": "/elsewhere", "startup_timeout_seconds": 3}
        await api.rest.ok("PATCH", f"/deployment/update/{deployment}", {"configuration": elsewhere})

        async def tried_for_a_while() -> list[dict[str, Any]]:
            replicas = (await api.status(deployment))["replica_statuses"]
            begun = any(replica["generation"] == 2 and replica["attempt"] == 2 for replica in replicas)
            return [replica for replica in replicas if replica["generation"] == 1] if begun else []

        (old,) = await eventually(tried_for_a_while, within_s=90)
        assert (old["state"], old["attempt"]) == ("READY", 1)
        told = [event["reason"] for event in await api.events(deployment)]
        assert "REPLICA_UNHEALTHY" not in told
        await end(api, deployment)


def served(models: Path) -> dict[str, Any]:
    """A deployment of the tiny engine in the clothes of vLLM."""
    command = [sys.executable, "-S", ENGINE]
    return {
        "engine": "vllm",
        "model_name": "tiny",
        "inference_model": "org/tiny",
        "configuration": {"command": command, "args": ["--models", str(models)], "stop_grace_seconds": 2},
    }


async def test_an_engine_without_its_model_is_not_ready_and_one_that_loses_it_is_replaced(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.write_text("other")
    # Unhealthy for two seconds, so that a slow look sees it.
    patient = {"probe_interval_s": 0.5, "probe_timeout_s": 10.0, "probe_failures": 4}
    async with running_gateway(tmp_path / "data", **patient) as api:
        request = {"pool_id": await api.make_pool(), "gpu_per_replica": 0, **served(models)}
        deployment = (await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"]
        starting = await replica_once(api, deployment, state="STARTING")
        assert starting["attempt"] == 1
        models.write_text("other tiny")
        await api.reach(deployment, "RUNNING")

        models.write_text("other")
        unhealthy = await replica_once(api, deployment, state="UNHEALTHY")
        assert unhealthy["reason"] == "MODEL_GONE"
        assert unhealthy["message"] == "model 'tiny' is not served; it serves 'other'"
        await replica_once(api, deployment, attempt=2)
        failed = next(event for event in await api.events(deployment) if event["reason"] == "REPLICA_FAILED")
        assert "failed 8 probes in a row: model 'tiny' is not served; it serves 'other'" in failed["message"]
        models.write_text("tiny")
        await api.reach(deployment, "RUNNING")
        await end(api, deployment)


async def test_an_engine_that_never_has_its_model_says_so(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.write_text("")
    async with running_gateway(tmp_path / "data", **PROBES) as api:
        wanted = served(models)
        wanted["configuration"]["startup_timeout_seconds"] = 3
        request = {"pool_id": await api.make_pool(), "gpu_per_replica": 0, **wanted}
        request["restart_policy"] = {"max_attempts": 1}
        deployment = (await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"]
        found = await api.reach(deployment, "FAILED")
        assert found["replica_statuses"][0]["reason"] == "STARTUP_TIMEOUT"
        assert "model 'tiny' is not served; it serves none" in found["error_message"]
