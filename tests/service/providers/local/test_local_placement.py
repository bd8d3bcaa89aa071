"""What an instance gets: port, GPUs, environment, command; and what is refused, with what words."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import (
    CapacityError,
    InstanceConflictError,
    InstanceRejectedError,
    InstanceState,
    ProviderError,
)
from orchestration.service.providers.local.environment import fill
from tests.support.provider_conformance import read
from tests.support.provider_local import LocalHarness, four_gpus, local_harness
from tests.support.provider_processes import ask, ended, engine_command, gone, owned_processes


async def test_a_missing_engine_is_refused_at_once(local: LocalHarness) -> None:
    with pytest.raises(InstanceRejectedError) as caught:
        await local.provider.create(
            local.spec("a", ("vllm-not-here", "serve"), engine="vllm", install_hint="pip install vllm")
        )
    assert caught.value.reason == "ENGINE_NOT_FOUND"
    assert (
        caught.value.message
        == "engine vllm: command not found: vllm-not-here; pip install vllm, or set configuration.command"
    )
    assert await local.provider.describe("a") is None


async def test_an_engine_that_is_not_executable_is_refused(local: LocalHarness, tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_text("not a program")
    with pytest.raises(InstanceRejectedError, match="command not found"):
        await local.provider.create(local.spec("a", (str(program),)))


async def test_an_engine_that_cannot_be_executed_is_recorded(local: LocalHarness, tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_bytes(b"\x00\x01 neither a binary nor a script")
    program.chmod(0o755)
    instance = await local.provider.create(local.spec("a", (str(program),)))
    assert (instance.state, instance.reason) == (InstanceState.FAILED, "ENGINE_START_FAILED")
    assert str(program) in instance.message
    assert "Exec format error" in instance.message
    assert await local.provider.describe("a") == instance


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "a/b"}, "INVALID_NAME"),
        ({"name": ""}, "INVALID_NAME"),
        ({"name": ".."}, "INVALID_NAME"),
        ({"owner": "another"}, "WRONG_OWNER"),
        ({"port": 65536}, "INVALID_PORT"),
        ({"port": -1}, "INVALID_PORT"),
        ({"command": ()}, "ENGINE_NOT_FOUND"),
        ({"command": ("true", "a\0b")}, "INVALID_COMMAND"),
        ({"env": {"A": "\0"}}, "INVALID_COMMAND"),
        ({"env": {"A=B": "c"}}, "INVALID_VARIABLE"),
        ({"env": {"": "c"}}, "INVALID_VARIABLE"),
        ({"env": {"PORT": "1"}}, "RESERVED_VARIABLE"),
        ({"env": {"CUDA_VISIBLE_DEVICES": "0"}}, "RESERVED_VARIABLE"),
        ({"env": {"ORCHESTRATION_OWNER": "me"}}, "RESERVED_VARIABLE"),
        ({"env": {"ORCHESTRATION_SUPERVISOR": "1"}}, "RESERVED_VARIABLE"),
    ],
)
async def test_what_can_never_run_is_refused(local: LocalHarness, changes: dict[str, Any], reason: str) -> None:
    spec = dataclasses.replace(local.spec("a", ("true",)), **changes)
    with pytest.raises(InstanceRejectedError) as caught:
        await local.provider.create(spec)
    assert caught.value.reason == reason
    assert list(await local.provider.list_owned()) == []
    assert owned_processes(local.owner) == []


async def test_a_port_of_a_stranger_is_refused_naming_it(local: LocalHarness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InstanceConflictError) as caught:
            await local.provider.create(local.spec("a", port=port))
    assert caught.value.reason == "PORT_IN_USE"
    assert f"port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in caught.value.message
    assert await local.provider.describe("a") is None
    # Free again, it is given.
    assert await ask(await local.provider.create(local.spec("a", port=port))) == "ok"


async def test_a_port_of_another_instance_is_refused_until_that_one_goes(local: LocalHarness) -> None:
    first = await local.provider.create(local.spec("a", engine_command("--ignore-term"), stop_grace_s=2.0))
    await ask(first)
    port = int(first.endpoint.rpartition(":")[2])
    with pytest.raises(InstanceConflictError, match=f"port {port} is in use by instance a"):
        await local.provider.create(local.spec("b", port=port))
    await local.provider.delete("a")
    with pytest.raises(ProviderError, match=f"port {port} is in use by instance a, which is stopping") as caught:
        await local.provider.create(local.spec("b", port=port))
    assert caught.value.retryable
    await gone(local.provider, "a")
    assert await ask(await local.provider.create(local.spec("b", port=port))) == "ok"


async def test_ports_are_given_once_also_before_an_engine_listens(local: LocalHarness) -> None:
    names = [f"a{number}" for number in range(8)]
    instances = await asyncio.gather(*(local.provider.create(local.spec(name, ("sleep", "600"))) for name in names))
    assert len({instance.endpoint for instance in instances}) == len(names)


async def test_placeholders_and_variables(local: LocalHarness) -> None:
    command = engine_command("--json", '{"a": {"port": {port}}}', "--url", "http://{host}:{port}/{model}", "{other}")
    environment = {"URL": "{host}:{port}", "BRACES": "{}{x}", "PORT": "{port}"}
    instance = await local.provider.create(local.spec("a", command, env=environment))
    port = instance.endpoint.rpartition(":")[2]
    assert await ask(instance, "/argv") == [
        "--json",
        '{"a": {"port": ' + port + "}}",
        "--url",
        f"http://127.0.0.1:{port}/org/model",
        "{other}",
    ]
    found = await ask(instance, "/env")
    assert {key: found[key] for key in ("URL", "BRACES", "PORT", "HOST", "MODEL")} == {
        "URL": f"127.0.0.1:{port}",
        "BRACES": "{}{x}",
        "PORT": port,
        "HOST": "127.0.0.1",
        "MODEL": "org/model",
    }


def test_a_placeholder_in_a_models_name_is_part_of_the_name() -> None:
    assert fill("{model}:{port}", host="h", port=1, model="{port}{host}") == "{port}{host}:1"


async def test_the_gateways_secrets_stay_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATION_DATABASE_URL", "postgresql://user:secret@db/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("SITE_CACHE", "/cache")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    async with local_harness(tmp_path, settings={"inherit_env": "SITE_*"}) as harness:
        found = await ask(await harness.provider.create(harness.spec("a", env={"TOKEN": "own"})), "/env")
        assert "secret" not in str(found)
        assert found["HF_HOME"] == "/models"
        assert found["SITE_CACHE"] == "/cache"
        assert found["PATH"] == os.environ["PATH"]
        assert found["TOKEN"] == "own"
        # An engine without GPUs is not to help itself to any.
        assert found["CUDA_VISIBLE_DEVICES"] == ""
        assert (found["ORCHESTRATION_OWNER"], found["ORCHESTRATION_INSTANCE"]) == (harness.owner, "a")
        on_disk = "".join(path.read_text() for path in harness.folder("a").rglob("*.json*"))
        assert "own" not in on_disk.replace(harness.owner, "").replace('"owner"', "")


async def test_the_engines_path_decides_which_program_runs(local: LocalHarness, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "engine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    await local.provider.create(local.spec("a", ("engine",), env={"PATH": f"{program.parent}:/usr/bin:/bin"}))
    await ended(local.provider, "a")
    assert [record.message for record in await read(local.provider, "a")] == ["found"]


async def test_gpus_are_given_whole_and_of_one_type(local: LocalHarness) -> None:
    create = local.provider.create
    first = await create(local.spec("a", gpu_count=2, gpu_types=("h200",)))
    assert first.gpu_ids == ("GPU-a0", "GPU-a1")
    assert (await ask(first, "/env"))["CUDA_VISIBLE_DEVICES"] == "GPU-a0,GPU-a1"
    other = await create(local.spec("b", gpu_count=1, gpu_types=("NVIDIA RTX 4090",)))
    assert other.gpu_ids == ("GPU-b0",)
    with pytest.raises(CapacityError) as caught:
        await create(local.spec("c", gpu_count=2))
    assert caught.value.reason == "NO_CAPACITY"
    assert caught.value.message == "engine custom wants 2 GPUs of one type; this machine has 4, of which 1 are free"
    assert (await create(local.spec("c", gpu_count=1))).gpu_ids == ("GPU-a2",)
    with pytest.raises(CapacityError, match="wants 1 GPU of type h200; this machine has 3, of which 0 are free"):
        await create(local.spec("d", gpu_count=1, gpu_types=("h200",)))
    assert [row.available_count for row in await local.provider.list_resources()] == [0, 0]


async def test_gpus_come_free_when_an_engine_ends(local: LocalHarness) -> None:
    spec = local.spec("a", engine_command("--exit-code", "1"), gpu_count=3)
    assert (await local.provider.create(spec)).gpu_ids == ("GPU-a0", "GPU-a1", "GPU-a2")
    await ended(local.provider, "a")
    assert (await local.provider.create(local.spec("b", gpu_count=3))).gpu_ids == ("GPU-a0", "GPU-a1", "GPU-a2")


async def test_gpus_stay_taken_over_a_restart(local: LocalHarness) -> None:
    await local.provider.create(local.spec("a", gpu_count=2))
    provider = await local.restart()
    assert (await provider.create(local.spec("b", gpu_count=1, gpu_types=("h200",)))).gpu_ids == ("GPU-a2",)


async def test_concurrent_creates_never_share_a_gpu(local: LocalHarness) -> None:
    other = local.new_provider()
    await other.start()
    specs = [local.spec(f"a{number}", ("sleep", "600"), gpu_count=1) for number in range(6)]
    providers = (local.provider, other)
    results = await asyncio.gather(
        *(providers[index % 2].create(spec) for index, spec in enumerate(specs)), return_exceptions=True
    )
    given = [gpu for result in results if not isinstance(result, BaseException) for gpu in result.gpu_ids]
    assert sorted(given) == ["GPU-a0", "GPU-a1", "GPU-a2", "GPU-b0"]
    assert sum(isinstance(result, CapacityError) for result in results) == 2
    await other.close()


async def test_resources_of_a_machine_with_gpus(tmp_path: Path) -> None:
    async with local_harness(tmp_path, four_gpus(), {"price_per_hour": "1.5"}) as harness:
        big, small = await harness.provider.list_resources()
        assert (big.gpu_type, big.gpu_count, big.gpu_memory_gb, big.available_count) == ("NVIDIA H200", 3, 139.0, 3)
        assert (small.gpu_type, small.gpu_count, small.available_count) == ("NVIDIA GeForce RTX 4090", 1, 1)
        assert {row.provider_resource_id for row in (big, small)} == {socket.gethostname()}
        assert (big.pricing_model, big.price_per_hour) == ("fixed", 1.5)


async def test_resources_of_a_machine_without_gpus(tmp_path: Path) -> None:
    async with local_harness(tmp_path) as harness:
        (row,) = await harness.provider.list_resources()
        assert (row.gpu_type, row.gpu_count, row.available_count) == ("", 0, 1)
        assert 1 <= row.vcpu <= len(os.sched_getaffinity(0))
        assert row.ram_gb > 0
        with pytest.raises(CapacityError, match="wants 1 GPU of one type; this machine has 0"):
            await harness.provider.create(harness.spec("a", (sys.executable,), gpu_count=1))


async def test_a_full_disk_is_told_and_leaves_nothing(local: LocalHarness) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(ProviderError, match="File too large") as caught:
            await local.provider.create(local.spec("a"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.retryable
    assert await local.provider.describe("a") is None
    assert await ask(await local.provider.create(local.spec("a"))) == "ok"
