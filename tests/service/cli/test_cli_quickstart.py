"""quickstart as a person runs it: a real gateway, real engines, a real model."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestration.service.cli.errors import CliError
from orchestration.service.cli.quickstart_deployment import engine_processes
from orchestration.service.cli.quickstart_needs import find_engine, find_model


def _missing() -> str:
    try:
        find_engine()
        find_model(None)
    except CliError as error:
        return error.message
    return ""


pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(_missing()), reason=_missing() or "all there"),
]


@asynccontextmanager
async def quickstart(*arguments: str) -> AsyncGenerator[Process, None]:
    command = [sys.executable, "-m", "orchestration.service.cli.main", "quickstart", "--timeout", "240", *arguments]
    environment = os.environ | {"ORCHESTRATION_DATABASE_URL": "sqlite:////nonexistent/of-another-gateway.db"}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def read_until(process: Process, pattern: str) -> str:
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(240):
        while not re.search(pattern, text):
            line = await process.stdout.readline()
            assert line, f"it ended before {pattern!r}:\n{text}"
            text += line.decode()
    return text


async def read_rest(process: Process) -> str:
    out, _ = await process.communicate()
    return out.decode()


async def test_quickstart_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with quickstart("--data-dir", str(tmp_path)) as process:
        text = await read_rest(process)
    assert process.returncode == 0, text
    assert re.search(r"Answered: +Paris\.", text)
    assert "replica 0 READY" in text
    assert "replica 1 READY" in text
    assert "\x1b" not in text
    (deployment,) = set(re.findall(r"Deployment: +(\S+), 2 replicas", text))
    assert engine_processes(deployment) == []
    assert (tmp_path / "gateway.log").stat().st_size > 0


async def test_kept_it_serves_until_ctrl_c_and_then_stops_everything() -> None:
    async with quickstart("--keep", "--replicas", "1") as process:
        text = await read_until(process, r"Serving until Ctrl-C\.")
        match = re.search(r"Deployment: +(\S+), 1 replicas", text)
        assert match is not None
        assert engine_processes(match[1]) != []
        process.send_signal(signal.SIGINT)
        rest = await read_rest(process)
    assert process.returncode == 0, rest
    assert engine_processes(match[1]) == []
    assert "STOPPED, no engine process is left" in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_while_deploying_stops_everything(number: signal.Signals) -> None:
    async with quickstart() as process:
        text = await read_until(process, r"replica 0 STARTING")
        match = re.search(r"Deployment: +(\S+), 2 replicas", text)
        assert match is not None
        process.send_signal(number)
        rest = await read_rest(process)
    assert process.returncode == 130, rest
    assert engine_processes(match[1]) == []
    assert "Traceback" not in rest
