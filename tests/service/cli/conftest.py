"""What the tests of the command line share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from orchestration.service.cli.main import run
from tests.support.command_line import Result, Run
from tests.support.fake_api import FakeApi, serve_fake_api


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ORCHESTRATION_"):
            monkeypatch.delenv(name)


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with serve_fake_api() as fake:
        yield fake


@pytest.fixture
def cli(api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line against the fake API."""
    monkeypatch.setenv("ORCHESTRATION_SERVER", api.address)

    async def run_one(*arguments: str) -> Result:
        code = await asyncio.to_thread(run, arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_one
