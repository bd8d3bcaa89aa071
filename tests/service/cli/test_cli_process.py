"""The command as a process: start-up, signals, pipes, serve's own failures."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from orchestration.v1 import model_deployments_pb2 as pb
from tests.support.fake_api import FakeApi, Stream

HEAVY = {"grpc", "sqlalchemy", "aiohttp", "pydantic", "google.protobuf", "rich", "uvloop", "structlog", "psutil"}


async def start(*arguments: str, server: str = "") -> Process:
    environment = os.environ | ({"ORCHESTRATION_SERVER": server} if server else {})
    command = [sys.executable, "-m", "orchestration.service.cli.main", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)


async def finish(*arguments: str) -> tuple[int | None, str, str]:
    process = await start(*arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys; from orchestration.service.cli.main import run\n"
        "codes = [run([flag]) for flag in ('--help', '--version')]\n"
        f"print(codes, sorted({HEAVY!r} & sys.modules.keys()))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    out, _ = await process.communicate()
    assert out.decode().splitlines()[-1] == "[0, 0] []"


async def test_no_command_shows_the_help() -> None:
    code, out, err = await finish()
    assert code == 2
    assert "quickstart" in out + err


async def test_ctrl_c_ends_a_stream_with_130_and_no_traceback(api: FakeApi) -> None:
    api.answers["TailDeploymentLogs"] = Stream([pb.LogEntry(message="first")], open_end=True)
    process = await start("logs", "d1", "-f", server=api.address)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")
    await api.ended.wait()


async def test_a_reader_that_went_away_is_no_error(api: FakeApi) -> None:
    lines = [pb.LogEntry(message="x" * 1000) for _ in range(500)]
    api.answers["TailDeploymentLogs"] = Stream(lines, open_end=True)
    read, write = os.pipe()
    command = [sys.executable, "-m", "orchestration.service.cli.main", "logs", "d1", "-f", "--server", api.address]
    process = await asyncio.create_subprocess_exec(*command, stdout=write, stderr=PIPE)
    os.close(write)
    os.close(read)
    _, err = await process.communicate()
    assert err == b""
    assert process.returncode == 1


async def test_print_config_shows_each_value_with_its_source_and_no_password() -> None:
    url = "postgresql://u:s3cret@h/d"
    code, out, err = await finish("serve", "--print-config", "--database-url", url)
    assert (code, err) == (0, "")
    assert 'database_url = "postgresql+asyncpg://u:********@h/d"  # --database-url' in out.splitlines()
    assert 'log_level = "info"  # default' in out.splitlines()


async def test_serve_tells_every_problem_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("grpc_port = 1\n")
    code, out, err = await finish("serve", "--config", str(file), "--http-listen", "x")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0] == "error: the configuration is wrong:"
    assert len(lines) == 3
    assert "Traceback" not in err


@pytest.mark.parametrize("flag", ["--version", "version"])
async def test_the_version_is_that_of_the_distribution(flag: str) -> None:
    from importlib.metadata import version

    assert await finish(flag) == (0, f"orchestration {version('orchestration-gateway')}\n", "")
