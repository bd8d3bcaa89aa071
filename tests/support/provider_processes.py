"""What provider tests share: specs, waiting, asking an engine, and counting the processes that are left."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from orchestration.service.providers.base import Instance, InstanceSpec, Provider

ENGINE = Path(__file__).with_name("provider_engine.py")

T = TypeVar("T")


def make_spec(name: str, **changes: Any) -> InstanceSpec:
    """A spec with the uninteresting fields filled in; ``owner`` and ``command`` must be among the changes."""
    fields: dict[str, Any] = {
        "name": name,
        "deployment_id": "deployment-1",
        "replica_id": "replica-1",
        "engine": "custom",
        "env": {},
        "model": "org/model",
        "image": "",
        "port": 0,
        "gpu_count": 0,
        "gpu_types": (),
        "stop_grace_s": 5.0,
        "labels": {},
        "provider_pool_id": "",
        "provider_credential_name": "",
        "install_hint": "pip install engine",
    }
    return InstanceSpec(**(fields | changes))


def engine_command(*options: str) -> tuple[str, ...]:
    """The command of the test engine."""
    return (sys.executable, "-I", "-S", str(ENGINE), *options)


def python_command(code: str) -> tuple[str, ...]:
    """The command of an engine that is a few lines of Python."""
    return (sys.executable, "-I", "-S", "-c", code)


async def until(condition: Callable[[], T], timeout_s: float = 60.0) -> T:
    """The first true value of the condition, asked again and again; fails when there is none in time."""

    async def asked() -> T:
        return condition()

    return await until_async(asked, timeout_s)


async def until_async(condition: Callable[[], Awaitable[T]], timeout_s: float = 60.0) -> T:
    """The same for a condition that has to be awaited."""
    deadline = time.monotonic() + timeout_s
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(0.01)
    return value


async def ask(instance: Instance, path: str = "/") -> Any:
    """The engine's answer, as soon as it gives one."""

    def fetch() -> Any:
        try:
            with urllib.request.urlopen(instance.endpoint + path, timeout=5) as reply:
                return [json.load(reply)]
        except (urllib.error.URLError, ConnectionError):
            return None

    return (await until_async(lambda: asyncio.to_thread(fetch)))[0]


async def gone(provider: Provider, name: str) -> None:
    """Wait until the provider has forgotten the instance."""

    async def forgotten() -> bool:
        return await provider.describe(name) is None

    await until_async(forgotten)


async def ended(provider: Provider, name: str) -> Instance:
    """Wait for the instance's end, however it comes."""

    async def over() -> Instance | None:
        instance = await provider.describe(name)
        assert instance is not None
        return instance if instance.state in ("EXITED", "FAILED") else None

    found = await until_async(over)
    assert found is not None
    return found


def owned_processes(owner: str) -> list[psutil.Process]:
    """Every process that carries the owner's tag, found without the provider's help; zombies do not count."""
    return [process for process, _ in _tagged(owner)]


def engines(owner: str, name: str | None = None) -> list[psutil.Process]:
    """The owner's processes without the supervisors; with a name, that instance's alone."""
    return [
        process
        for process, environment in _tagged(owner)
        if "ORCHESTRATION_SUPERVISOR" not in environment
        and (name is None or environment.get("ORCHESTRATION_INSTANCE") == name)
    ]


def supervisors(owner: str) -> list[psutil.Process]:
    """The owner's supervisors."""
    return [process for process, environment in _tagged(owner) if "ORCHESTRATION_SUPERVISOR" in environment]


def _tagged(owner: str) -> list[tuple[psutil.Process, dict[str, str]]]:
    found: list[tuple[psutil.Process, dict[str, str]]] = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("ORCHESTRATION_OWNER") == owner and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, environment))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
