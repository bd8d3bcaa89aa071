"""The program that starts the engine on its node, run as Ray runs it."""

from __future__ import annotations

import ast
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from orchestration.service.providers.base import InstanceSpec, InstanceState
from orchestration.service.providers.ray import launcher
from tests.support.provider_conformance import line, read
from tests.support.provider_processes import ask, ended, engine_command, engines, gone, python_command
from tests.support.ray.harness import RayHarness, ray_harness, running
from tests.support.ray.jobs import alive

ODD = r"""
import os, sys
os.write(1, b"caf\xc3\xa9 \xff\n")
os.write(1, b"50%\r100%\r\n")
os.write(1, b'"quoted" \\ {} $HOME \xe2\x80\xa8 \x00\n')
os.write(1, b"x" * 100_000 + b"\n")
os.write(1, b"\n")
os.write(1, b"no newline at the end")
"""


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RayHarness]:
    async with ray_harness(tmp_path) as harness:
        yield harness


def test_it_needs_nothing_but_the_standard_library_of_an_old_python() -> None:
    tree = ast.parse(Path(launcher.__file__).read_text(), feature_version=(3, 9))
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= sys.stdlib_module_names


async def test_the_engine_gets_its_port_its_host_and_its_own_variables(harness: RayHarness) -> None:
    env = {"WHERE": "{host}:{port}/{model}", "COST": "$HOME ${PATH} {other}", "QUOTES": "'\"` \n;"}
    command = engine_command("--where", "{host}:{port}")
    await harness.provider.create(harness.spec("env", command, env=env, gpu_count=0, model="org/{port}"))
    instance = await running(harness, "env")
    host, port = instance.endpoint.removeprefix("http://").split(":")
    seen = await ask(instance, "/env")
    assert (seen["HOST"], seen["PORT"], seen["MODEL"]) == (host, port, "org/{port}")
    assert seen["WHERE"] == f"{host}:{port}/org/{{port}}"
    assert (seen["COST"], seen["QUOTES"]) == (env["COST"], env["QUOTES"])
    assert (seen["ORCHESTRATION_INSTANCE"], seen["CUDA_VISIBLE_DEVICES"]) == ("env", "")
    assert not [key for key in seen if key.startswith("ORCHESTRATION_RAY")]
    assert (await ask(instance, "/argv"))[-1] == f"{host}:{port}"


async def test_it_says_which_gpus_ray_gave(harness: RayHarness) -> None:
    harness.cluster.nodes[0].gpus = 2
    await harness.provider.create(harness.spec("gpus", gpu_count=2))
    instance = await running(harness, "gpus")
    assert instance.gpu_ids == ("0", "1")
    assert (await ask(instance, "/env"))["CUDA_VISIBLE_DEVICES"] == "0,1"


async def test_a_port_that_is_taken_is_told(harness: RayHarness) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        await harness.provider.create(harness.spec("taken", port=port))
        instance = await ended(harness.provider, "taken")
    assert (instance.exit_code, instance.reason) == (1, "EXITED")
    (record,) = await read(harness.provider, "taken")
    assert record.message == f"port {port} on 127.0.0.1 cannot be used: Address already in use"


async def test_whatever_it_prints_comes_as_it_is(harness: RayHarness) -> None:
    await harness.provider.create(harness.spec("odd", python_command(ODD)))
    await ended(harness.provider, "odd")
    messages = [record.message for record in await read(harness.provider, "odd")]
    assert messages[:3] == ["café �", "50%\r100%\r", '"quoted" \\ {} $HOME \u2028 \x00']
    assert "".join(messages[3:5]) == "x" * 100_000
    assert messages[5:] == ["", "no newline at the end"]
    assert [record.message for record in await read(harness.provider, "odd", follow=True)] == messages


async def test_what_looks_like_the_launchers_own_line_is_only_printed(harness: RayHarness) -> None:
    forged = "0123456789abcdef0123456789abcdef 1764511525.123 p 10.6.6.6 80 -"
    code = f"import time\nprint({forged!r}, flush=True)\ntime.sleep(600)"
    await harness.provider.create(harness.spec("forged", python_command(code)))
    assert (await line(harness.provider, "forged", forged)).stream == "stdout"
    assert "10.6.6.6" not in (await running(harness, "forged")).endpoint


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_signal_that_ends_the_engine_is_told(harness: RayHarness, number: signal.Signals) -> None:
    code = f"import os; print('last words', flush=True); os.kill(os.getpid(), {int(number)})"
    await harness.provider.create(harness.spec("killed", python_command(code)))
    instance = await ended(harness.provider, "killed")
    assert (instance.state, instance.signal, instance.reason) == (InstanceState.EXITED, number, "SIGNALED")
    assert [record.message for record in await read(harness.provider, "killed")] == ["last words"]


async def test_a_success_is_one(harness: RayHarness) -> None:
    await harness.provider.create(harness.spec("done", python_command("print('done')")))
    instance = await ended(harness.provider, "done")
    assert (instance.state, instance.exit_code, instance.reason) == (InstanceState.EXITED, 0, "EXITED")


@pytest.mark.parametrize("options", [("--ignore-term",), ("--child",)], ids=["it heeds no signal", "it has children"])
async def test_nothing_is_left_of_what_was_deleted(harness: RayHarness, options: tuple[str, ...]) -> None:
    spec: InstanceSpec = harness.spec("stubborn", engine_command(*options), stop_grace_s=1)
    await harness.provider.create(spec)
    instance = await running(harness, "stubborn")
    pid = await ask(instance, "/pid")
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    await harness.provider.delete("stubborn")
    await gone(harness.provider, "stubborn")
    assert not [item for item in processes if alive(item)]
    assert engines(harness.owner) == []
