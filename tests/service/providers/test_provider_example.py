"""The example of docs/providers/writing-one.md: installed as a package, it keeps the protocol and serves a gateway."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.service.providers.base import InstanceSpec, Provider, ProviderContext
from tests.support.gateway import Api, GatewayProcess, eventually
from tests.support.provider_conformance import ProviderConformance
from tests.support.provider_processes import engine_command, make_spec, until, until_async

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "providers" / "example"
PAGE = ROOT / "docs" / "providers" / "writing-one.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip has installed the example."""
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "example")
    target = tmp_path_factory.mktemp("target")
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    return target


@pytest.fixture
def importable(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package can be imported, here and in processes that are started."""
    monkeypatch.setattr(sys, "path", [str(installed), *sys.path])
    importlib.invalidate_caches()
    monkeypatch.setenv("PYTHONPATH", str(installed))
    yield installed
    sys.modules.pop("orchestration_provider_example", None)


def _environ(process: psutil.Process) -> dict[str, str]:
    """What a process was started with, which cannot be read in the moment in which it becomes another program."""
    for _ in range(100):
        found = process.environ()
        if found or process.status() == psutil.STATUS_ZOMBIE:
            return found
        time.sleep(0.01)
    return {}


def _processes(name: str, folder: Path) -> list[psutil.Process]:
    """Those of the instances in a folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            is_ours = Path(process.cwd()).is_relative_to(folder)
            if alive and is_ours and _environ(process).get("EXAMPLE_INSTANCE", "").startswith(name):
                found.append(process)
        except psutil.Error:
            continue
    return found


class ExampleHarness:
    """A started provider."""

    def __init__(self, folder: Path) -> None:
        self.owner = f"test-{uuid.uuid4().hex}"
        self._folder = folder
        module = importlib.import_module("orchestration_provider_example")
        context = ProviderContext(name="example", data_dir=folder, owner=self.owner)
        self.provider: Provider = module.create(context)

    def spec(self, name: str, *options: str) -> InstanceSpec:
        return make_spec(name, owner=self.owner, command=engine_command(*options), env={"TEST": self.owner})

    def serving(self, name: str) -> InstanceSpec:
        return self.spec(name, "--lines", "3")

    def exiting(self, name: str, lines: int, delay_s: float = 0) -> InstanceSpec:
        return self.spec(name, "--lines", str(lines), "--delay", str(delay_s), "--exit-code", "3")

    def running(self, name: str) -> int:
        sessions: set[int] = set()
        for item in _processes(name, self._folder):
            with contextlib.suppress(psutil.Error, ProcessLookupError):  # the shell's helpers come and go
                if _environ(item).get("TEST") == self.owner:
                    sessions.add(os.getsid(item.pid))
        return len(sessions)


class TestExampleConformance(ProviderConformance):
    @pytest.fixture
    async def harness(self, importable: Path, tmp_path: Path) -> AsyncIterator[ExampleHarness]:
        del importable
        harness = ExampleHarness(tmp_path)
        await harness.provider.start()
        yield harness
        for instance in await harness.provider.list_owned():
            await harness.provider.delete(instance.name)

        async def none_left() -> bool:
            return not await harness.provider.list_owned()

        await until_async(none_left, 30)
        await harness.provider.close()


def test_the_page_shows_the_code_as_it_is() -> None:
    text = PAGE.read_text()
    assert f"```toml\n{(EXAMPLE / 'pyproject.toml').read_text()}```" in text
    assert f"```python\n{(EXAMPLE / 'orchestration_provider_example.py').read_text()}```" in text


def test_the_package_is_found_by_its_entry_point(importable: Path) -> None:
    del importable
    (entry,) = entry_points(group="orchestration.providers", name="example")
    with pytest.raises(ValueError, match="slots is 'many'"):
        entry.load()(ProviderContext(name="example", data_dir=Path(), owner="us", settings={"slots": "many"}))


async def test_a_gateway_runs_deployments_on_it(importable: Path, tmp_path: Path) -> None:
    del importable
    gateway = GatewayProcess(tmp_path / "data", providers__example__slots="2", offers_interval_s=1.0)
    async with gateway.api() as api:
        deployment_id = await _deploy(api)
        found = await api.reach(deployment_id, "RUNNING", within_s=60)
        assert len(found["replica_statuses"]) == 2

        async def logged() -> bool:
            answer = await api.rest.ok("GET", f"/deployment/logs/{deployment_id}")
            return any(entry["message"] == "line 2" for entry in answer["logs"])

        await eventually(logged)
        before = _processes("r-", tmp_path)
        await gateway.kill()
    async with gateway.api() as api:
        await api.reach(deployment_id, "RUNNING", within_s=60)
        assert {item.pid for item in _processes("r-", tmp_path)} == {item.pid for item in before}
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED", within_s=60)
        await until(lambda: not any(item.is_running() for item in before), 30)
        await gateway.stop()
    assert list((tmp_path / "data" / "providers" / "example" / "instances").iterdir()) == []


async def _deploy(api: Api) -> str:
    pool_id = await api.make_pool(provider="example")
    request: dict[str, Any] = {
        "model_name": "tiny",
        "inference_model": "tiny",
        "engine": "custom",
        "pool_id": pool_id,
        "replicas": 2,
        "gpu_per_replica": 0,
        "configuration": {"command": list(engine_command("--lines", "3")), "health_path": "/"},
    }
    return str((await api.rest.ok("POST", "/deployment/deploy", request))["deployment_id"])
