"""What DeployModel refuses, and what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.local import gpus
from tests.support.caller import Caller
from tests.support.faces import ApiError, face_of
from tests.support.gateway import eventually, running_gateway, tiny


@pytest.fixture
async def with_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Caller]:
    """A gateway on a machine that seems to have two GPUs and costs two dollars an hour."""
    found = tuple(gpus.Gpu(f"GPU-{number}", "NVIDIA GeForce RTX 4090", 24 * 1024**3) for number in range(2))
    monkeypatch.setattr(gpus, "_read_nvml", lambda: found)
    async with running_gateway(tmp_path, local_price_per_hour=2) as gateway:
        caller = Caller(face_of("rest", gateway), gateway)
        yield caller
        await caller.clean_up()


async def configuration_issues(api: Caller, pool_id: str = "", **fields: Any) -> dict[str, str]:
    """What a deployment with such a configuration is told, by field."""
    request = tiny(pool_id or await api.make_pool(), **fields)
    error = await api.refused("INVALID_ARGUMENT", "INVALID_CONFIGURATION", "DeployModel", **request)
    assert (await api.call("ListDeployments"))["total_size"] == 0
    return error.violations


async def test_an_unknown_engine_is_told_which_there_are(api: Caller) -> None:
    request = tiny(await api.make_pool(), engine="vlm")
    error = await api.refused("INVALID_ARGUMENT", "UNKNOWN_ENGINE", "DeployModel", **request)
    for name in ("'vlm'", "vllm", "llamacpp", "custom"):
        assert name in error.violations["engine"]


async def test_no_engine_at_all(api: Caller) -> None:
    request = tiny(await api.make_pool(), engine="")
    assert "names no backend" in await api.invalid("engine", "DeployModel", **request)


async def test_an_unknown_configuration_key_gets_a_hint(api: Caller) -> None:
    found = await configuration_issues(api, configuration={"helth_path": "/"})
    assert list(found) == ["configuration.helth_path"]
    assert "did you mean health_path?" in found["configuration.helth_path"]


async def test_every_wrong_key_is_named_at_once(api: Caller) -> None:
    wrong = {"port": "eighty", "startup_timeout_seconds": -1, "health_path": "health", "color": "red"}
    found = await configuration_issues(api, configuration=wrong)
    assert set(found) == {f"configuration.{name}" for name in wrong}
    assert '"eighty"' in found["configuration.port"]


async def test_a_port_is_a_port(api: Caller) -> None:
    pool_id = await api.make_pool()
    for port in (0, 65536, 80.5, True):
        assert list(await configuration_issues(api, pool_id, configuration={"port": port})) == ["configuration.port"]


async def test_custom_needs_a_command(api: Caller) -> None:
    request: dict[str, Any] = {**tiny(await api.make_pool()), "configuration": {}}
    error = await api.refused("INVALID_ARGUMENT", "INVALID_CONFIGURATION", "DeployModel", **request)
    assert "{port}" in error.violations["configuration.command"]


async def test_variables_that_the_gateway_sets_are_refused(api: Caller) -> None:
    assert list(await configuration_issues(api, env={"PORT": "1"})) == ["env.PORT"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model_name": ""}, "model_name"),
    ({"pool_id": ""}, "pool_id"),
    ({"replicas": -1}, "replicas"),
    ({"replicas": 10_001}, "replicas"),
    ({"gpu_per_replica": -1}, "gpu_per_replica"),
    ({"workload_type": "training"}, "workload_type"),
    ({"update_strategy": {"max_surge": -1}}, "update_strategy.max_surge"),
    ({"update_strategy": {"max_surge": 0, "max_unavailable": 0}}, "update_strategy"),
    ({"restart_policy": {"window": "0s"}}, "restart_policy.window"),
    ({"fallback_pool_ids": ["a", "a"]}, "fallback_pool_ids"),
    ({"env": {"1A": "x"}}, "env['1A']"),
    ({"labels": {"": "x"}}, "labels['']"),
]


async def test_a_wrong_field_is_named(api: Caller) -> None:
    for change, field in WRONG:
        await api.invalid(field, "DeployModel", **{**tiny("pool"), **change})


async def test_a_pool_that_is_not_there(api: Caller) -> None:
    pool_id = await api.make_pool()
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "DeployModel", **tiny("nowhere"))
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "DeployModel", **tiny(pool_id, fallback_pool_ids=["nowhere"]))
    await api.invalid("fallback_pool_ids", "DeployModel", **tiny(pool_id, fallback_pool_ids=[pool_id]))


async def test_more_replicas_than_the_pool_may_have_nodes(api: Caller) -> None:
    request = tiny(await api.make_pool("small", max_nodes=2), replicas=1000)
    error = await api.refused("FAILED_PRECONDITION", "POOL_CAPACITY_EXCEEDED", "DeployModel", **request)
    assert error.message == (
        "1000 replicas were asked for, and pool 'small' can hold at most 2 (limited by max_nodes 2)"
    )


async def test_a_gpu_on_a_machine_without_one(api: Caller) -> None:
    request = tiny(await api.make_pool(), gpu_per_replica=1)
    error = await api.refused("FAILED_PRECONDITION", "GPU_COUNT_EXCEEDED", "DeployModel", **request)
    assert "set gpu_per_replica to 0 to run on CPUs" in error.message


async def test_a_model_file_that_is_not_there(api: Caller, tmp_path: Path) -> None:
    path = tmp_path / "missing.gguf"
    request = {
        "model_name": "m",
        "inference_model": f"file://{path}",
        "engine": "llamacpp",
        "pool_id": await api.make_pool(),
        "gpu_per_replica": 0,
    }
    error = await api.refused("FAILED_PRECONDITION", "MODEL_FILE_NOT_FOUND", "DeployModel", **request)
    assert str(path) in error.message


async def test_a_dedicated_pool_takes_its_owner_s_deployments_only(api: Caller) -> None:
    pool_id = await api.make_pool(is_dedicated=True)
    request = tiny(pool_id, owner_id="bob")
    error = await api.refused("FAILED_PRECONDITION", "POOL_DEDICATED", "DeployModel", **request)
    assert "'ann'" in error.message
    await api.deploy(pool_id, owner_id="ann")


async def test_ten_megabytes_of_configuration_are_refused_in_words(api: Caller) -> None:
    request = tiny(await api.make_pool(), configuration={"args": ["x" * 10_000_000]})
    with pytest.raises(ApiError) as caught:
        await api.call("DeployModel", **request)
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert "4194304" in caught.value.message
    assert (await api.call("ListDeployments"))["total_size"] == 0


@pytest.mark.parametrize(
    ("pool", "wanted", "reason", "says"),
    [
        ({}, {"gpu_per_replica": 3}, "GPU_COUNT_EXCEEDED", "2 GPUs"),
        ({"gpu_count": 1}, {"gpu_per_replica": 2}, "GPU_COUNT_EXCEEDED", "gpu_count"),
        ({"allowed_gpu_types": ["H100"]}, {"gpu_per_replica": 1}, "GPU_TYPE_NOT_ALLOWED", "H100"),
        ({"max_cost_per_hour": 1.5}, {"gpu_per_replica": 1}, "PRICE_CAP_EXCEEDED", "1.5"),
        ({}, {"gpu_per_replica": 1, "replicas": 3}, "POOL_CAPACITY_EXCEEDED", "at most 2"),
        ({"max_cost_per_hour": 2}, {"gpu_per_replica": 1, "replicas": 2}, "POOL_CAPACITY_EXCEEDED", "at most 1"),
    ],
)
async def test_a_pool_that_can_never_hold_it_says_which_limit(
    with_gpus: Caller, pool: dict[str, Any], wanted: dict[str, Any], reason: str, says: str
) -> None:
    request = tiny(await with_gpus.make_pool(**pool), **wanted)
    error = await with_gpus.refused("FAILED_PRECONDITION", reason, "DeployModel", **request)
    assert says in error.message


@pytest.mark.parametrize("written", ["RTX 4090", "nvidia-rtx4090", "GeForce RTX 4090", "rtx4090"])
async def test_gpu_types_are_compared_without_case_spaces_or_vendor(with_gpus: Caller, written: str) -> None:
    pool_id = await with_gpus.make_pool(allowed_gpu_types=[written])
    await with_gpus.reach(await with_gpus.deploy(pool_id, gpu_per_replica=1), "RUNNING")


async def test_gpus_and_money_are_accounted(with_gpus: Caller) -> None:
    pool_id = await with_gpus.make_pool(max_cost_per_hour=3)
    first = await with_gpus.deploy(pool_id, gpu_per_replica=1)
    await with_gpus.reach(first, "RUNNING")
    assert (await with_gpus.status(first))["cost_per_hour"] == 2
    pool = await with_gpus.call("GetPool", pool_id=pool_id)
    assert (pool["gpu_total"], pool["gpu_allocated"]) == (2, 1)
    second = await with_gpus.deploy(pool_id, gpu_per_replica=1)

    async def waits() -> str:
        return str((await with_gpus.status(second))["error_message"])

    assert "max_cost_per_hour 3" in await eventually(waits, within_s=30)
    await with_gpus.terminate(first)
    await with_gpus.reach(second, "RUNNING")


async def test_an_agent_does_not_free_gpus_that_the_scheduler_gave_away(with_gpus: Caller) -> None:
    pool_id = await with_gpus.make_pool()
    await with_gpus.reach(await with_gpus.deploy(pool_id, gpu_per_replica=2), "RUNNING")
    (node,) = (await with_gpus.call("ListPoolInventory", pool_id=pool_id))["nodes"]
    assert node["gpu_allocated"] == 2
    agent = {"provider": "local", "provider_instance_id": node["provider_instance_id"]}
    await with_gpus.call("Heartbeat", **agent, gpu_allocated=0, state="READY")
    (after,) = (await with_gpus.call("ListPoolInventory", pool_id=pool_id))["nodes"]
    assert after["gpu_allocated"] == 2
    explained = await with_gpus.call("DeployModel", **tiny(pool_id, gpu_per_replica=1, validate_only=True))
    assert [item["reason"] for item in explained["candidates"]] == ["NO_FREE_GPUS"]
