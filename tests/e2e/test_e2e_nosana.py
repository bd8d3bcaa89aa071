"""Replicas at Nosana through a gateway process: deployed, served, logged, replaced, paid for, and gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.fake_nosana_process import NosanaProcess
from tests.support.gateway import Api, GatewayProcess, eventually

KEY = "ann"
WITHIN_S = 60.0


@pytest.fixture
def fake() -> Iterator[NosanaProcess]:
    with NosanaProcess() as process:
        yield process


@pytest.fixture
async def gateway(fake: NosanaProcess, tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    settings = {"nosana": fake.settings(KEY, poll_s="0.2")}
    process = GatewayProcess(tmp_path / "data", providers=json.dumps(settings), offers_interval_s=1)
    yield process
    await process.stop()


async def deploy(api: Api, **env: str) -> str:
    """A replica of a server of the user's own on the cheapest market that the pool allows; its id."""
    pool = await api.make_pool("market", provider="nosana", allowed_gpu_types=["RTX 4090", "RTX 3090"])
    request = {
        "model_name": "tiny",
        "engine": "custom",
        "inference_model": "org/tiny",
        "pool_id": pool,
        "gpu_per_replica": 1,
        "env": {"FAKE_LINES": "3", **env},
        "configuration": {"command": ["serve", "--port", "{port}", "{model}"], "image": "docker.io/org/tiny:1"},
    }
    return str((await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"])


async def has_lines(api: Api, deployment: str, *wanted: str) -> None:
    """Wait until the log is these lines, each once."""

    async def look() -> bool:
        answer = await api.rest.ok("GET", f"/deployment/logs/{deployment}?tail=1000")
        return [line["message"] for line in answer["logs"]] == list(wanted)

    await eventually(look, within_s=WITHIN_S, why=lambda: f"the log never was {wanted}")


async def reasons(api: Api, deployment: str) -> list[str]:
    """The reasons of its events."""
    return [event["reason"] for event in await api.events(deployment)]


async def test_a_deployment_lives_and_leaves_nothing(gateway: GatewayProcess, fake: NosanaProcess) -> None:
    async with gateway.api() as api:
        offers = await api.rest.ok("GET", "/deployment/provider/resources?provider=nosana")
        assert {item["metadata"]["slug"] for item in offers["resources"]} == {"nvidia-3090", "nvidia-4090", "2x-a100"}
        deployment = await deploy(api)
        found = await api.reach(deployment, "RUNNING", within_s=WITHIN_S)
        (replica,) = found["replica_statuses"]
        (made,) = fake.look(KEY)["deployments"]
        assert replica["endpoint"] == f"{fake.url}/service/{made['id']}"
        async with api.rest.session.get(f"{replica['endpoint']}/health") as answer:
            assert answer.status == 200
        market = next(item for item in fake.look(KEY)["markets"] if item["address"] == made["market"])
        assert market["slug"] == "nvidia-3090"
        await has_lines(api, deployment, "line 0", "line 1", "line 2")
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED", within_s=WITHIN_S)
        assert fake.look(KEY)["deployments"] == []
        await has_lines(api, deployment, "line 0", "line 1", "line 2")


async def test_a_gateway_that_is_killed_comes_back_to_what_runs(gateway: GatewayProcess, fake: NosanaProcess) -> None:
    async with gateway.api() as api:
        deployment = await deploy(api)
        await api.reach(deployment, "RUNNING", within_s=WITHIN_S)
        await has_lines(api, deployment, "line 0", "line 1", "line 2")
    await gateway.kill()
    fake.change(KEY, say=["while nobody looked"])
    async with gateway.api() as api:
        await has_lines(api, deployment, "line 0", "line 1", "line 2", "while nobody looked")
        found = await api.reach(deployment, "RUNNING", within_s=WITHIN_S)
        assert found["replica_statuses"][0]["restarts"] == 0
        assert len(fake.look(KEY)["bodies"]) == 1
        fake.change(KEY, lose_host=True)

        async def replaced() -> bool:
            return len(fake.look(KEY)["bodies"]) == 2

        await eventually(replaced, within_s=WITHIN_S)
        await api.reach(deployment, "RUNNING", within_s=WITHIN_S)
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED", within_s=WITHIN_S)
        assert fake.look(KEY)["deployments"] == []


async def test_an_account_without_credits_is_a_reason_and_no_storm(
    gateway: GatewayProcess, fake: NosanaProcess
) -> None:
    fake.change(KEY, balance=0)
    async with gateway.api() as api:
        deployment = await deploy(api)

        async def told() -> bool:
            found = await api.status(deployment)
            condition = next(item for item in found["conditions"] if item["type"] == "Progressing")
            return bool(condition["reason"] == "INSUFFICIENT_FUNDS" and "0.00 USD of credits" in condition["message"])

        await eventually(told, within_s=WITHIN_S)
        assert (await reasons(api, deployment)).count("REPLICA_WAITING") == 1
        calls = fake.look(KEY)["calls"]
        assert (calls["balance"], calls.get("create", 0)) == (1, 0)
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        await api.reach(deployment, "STOPPED", within_s=WITHIN_S)
