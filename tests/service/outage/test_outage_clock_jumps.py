"""The wall clock is set by an hour under a gateway that runs, or between two of its lives: nothing comes of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from orchestration.service.clock import SteadyClock
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import ProviderContext
from tests.support.gateway import Api, eventually, running_gateway

HOUR_S = 3600.0
NODE = {"provider": "nosana", "provider_instance_id": "job-1"}


class WallClock:
    """The machine's wall clock as a test sets it; the gateways that are started from now on go by it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off_s = 0.0
        monkeypatch.setattr("orchestration.service.app.SteadyClock", lambda: SteadyClock(self))

    def __call__(self) -> float:
        return time.time() + self.off_s


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


async def metric(api: Api, name: str) -> float:
    async with api.rest.session.get(api.rest.base + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[-1])


async def stopped(api: Api, deployment_id: str) -> None:
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
    await api.reach(deployment_id, "STOPPED")


async def register_node(api: Api) -> None:
    pool = await api.make_pool("market", provider="nosana")
    await api.rest.ok("POST", "/inventory/heartbeat", {**NODE, "state": "READY", "pool_id": pool})


async def node_state(api: Api) -> str:
    (node,) = (await api.rest.ok("GET", "/inventory/nodes/nosana"))["nodes"]
    return str(node["state"])


@pytest.mark.slow
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_clock_that_is_set_under_a_running_gateway(tmp_path: Path, wall: WallClock, jump_s: float) -> None:
    sick = tmp_path / "sick"
    sick.touch()
    async with running_gateway(tmp_path / "data", heartbeat_interval_s=3.0) as api:
        pool = await api.make_pool()
        running = await api.deploy(pool)
        await api.reach(running, "RUNNING")
        starting = await api.deploy(pool, "--sick", str(sick), configuration={"startup_timeout_seconds": 300})
        await register_node(api)
        wall.off_s = jump_s
        for _ in range(20):  # two lives of a lease, and more than a node may be silent for without doubt
            await api.rest.ok("POST", "/inventory/heartbeat", {**NODE, "health_score": 50.0})
            assert await node_state(api) == "READY"
            assert (await api.status(running))["status"] == "RUNNING"
            found = await api.status(starting)
            assert (found["status"], found["error_message"]) == ("DEPLOYING", "")
            await asyncio.sleep(0.3)
        sick.unlink()
        await api.reach(starting, "RUNNING")
        after = await api.deploy(pool)
        await api.reach(after, "RUNNING")
        assert await metric(api, "orchestration_clock_offset_seconds") == pytest.approx(jump_s, abs=60)
        for deployment in (running, starting, after):
            assert [one["restarts"] for one in (await api.status(deployment))["replica_statuses"]] == [0]
            reasons = {event["reason"] for event in await api.events(deployment)}
            assert not reasons & {"REPLICA_FAILED", "REPLICA_UNHEALTHY", "DEPLOYMENT_DEGRADED"}
            await stopped(api, deployment)


async def test_no_log_grows_old_by_a_jump(tmp_path: Path, wall: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was not given the gateway's time would go by the wall clock, and see every line and grace outlived."""
    for made in (LogStore, ProviderContext):
        defaults = made.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "clock", wall)
    logs = tmp_path / "data" / "logs"

    async def swept() -> None:
        """From beginning to end, since now: of two new folders the second is met by the sweep after."""
        for name in ("z1", "z2"):
            (logs / name).mkdir()
            await marked(logs / name)

    async with running_gateway(tmp_path / "data", reconcile_interval_s=0.3) as api:
        running = await api.deploy(await api.make_pool())
        await api.reach(running, "RUNNING")
        lines = await eventually(lambda: printed(api, running))
        ownerless = logs / "forgotten"
        ownerless.mkdir()
        await marked(ownerless)
        wall.off_s = 9 * 86_400.0
        await swept()
        assert (await printed(api, running))[: len(lines)] == lines
        assert ownerless.exists(), "its grace is not over"
        await stopped(api, running)


async def marked(folder: Path) -> None:
    """Once a sweep has found that no deployment owns the folder."""

    async def look() -> bool:
        return (folder / "ownerless").exists()

    await eventually(look)


async def printed(api: Api, deployment_id: str) -> list[str]:
    answer = await api.rest.ok("GET", f"/deployment/logs/{deployment_id}")
    return [entry["message"] for entry in answer["logs"]]


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
async def test_an_engine_s_start_is_told_by_another_clock(tmp_path: Path, wall: WallClock, ahead_s: float) -> None:
    """Its supervisor reads the wall clock, which is an hour from the gateway's time: the time-out is as long still."""
    wall.off_s = ahead_s
    async with running_gateway(tmp_path / "data") as api:
        pool = await api.make_pool()
        patient = await api.deploy(pool, "--never-ready", configuration={"startup_timeout_seconds": 120})
        limits = {"restart_policy": {"max_attempts": 1}, "configuration": {"startup_timeout_seconds": 2}}
        hasty = await api.deploy(pool, "--never-ready", **limits)
        found = await api.reach(hasty, "FAILED")
        assert "not ready within 2 s" in found["error_message"]
        found = await api.status(patient)
        assert (found["status"], found["replica_statuses"][0]["restarts"]) == ("DEPLOYING", 0)
        assert "REPLICA_FAILED" not in {event["reason"] for event in await api.events(patient)}
        for deployment in (patient, hasty):
            await stopped(api, deployment)


@pytest.mark.slow
async def test_a_clock_that_was_set_back_while_the_gateway_was_away(tmp_path: Path, wall: WallClock) -> None:
    """What was written an hour ahead does not hold up the next life: no pause, no lease, no node's silence."""
    wall.off_s = HOUR_S
    knobs = {"backoff_initial_s": 8.0, "backoff_max_s": 8.0, "heartbeat_interval_s": 1.0}
    async with running_gateway(tmp_path / "data", **knobs) as api:
        pool = await api.make_pool()
        failing = await api.deploy(pool, "--exit", "3", restart_policy={"max_attempts": 50})

        async def failed() -> bool:
            return "REPLICA_FAILED" in {event["reason"] for event in await api.events(failing)}

        await eventually(failed)
        attempts = (await api.status(failing))["replica_statuses"][0]["restarts"]
        await register_node(api)
        assert await node_state(api) == "READY"
    wall.off_s = 0.0
    async with running_gateway(tmp_path / "data", **knobs) as api:

        async def tried_again() -> bool:
            return bool((await api.status(failing))["replica_statuses"][0]["restarts"] > attempts)

        async def lost() -> bool:
            return await node_state(api) == "LOST"

        await eventually(tried_again, within_s=60, why=lambda: "the pause lasts as long as the clock was set back")
        await eventually(lost, within_s=30, why=lambda: "a silent node is held to be heard of in the future")
        await stopped(api, failing)


async def test_what_runs_is_billed_by_the_gateway_s_own_time(tmp_path: Path, wall: WallClock) -> None:
    wall.off_s = HOUR_S
    async with running_gateway(tmp_path / "data", local_price_per_hour=HOUR_S) as api:
        running = await api.deploy(await api.make_pool())
        await api.reach(running, "RUNNING")

        async def billed() -> float:
            return float((await api.status(running))["cost_so_far"])

        assert 0.0 < await eventually(billed) < HOUR_S / 2
        (listed,) = (await api.rest.ok("GET", "/deployment/deployments"))["deployments"]
        assert 0.0 < listed["cost_so_far"] < HOUR_S / 2
        await stopped(api, running)
