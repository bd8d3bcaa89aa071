"""A real gateway for tests: in this process for speed, or as a process of its own to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil

from orchestration.service.app import serving
from orchestration.service.settings import Settings
from orchestration.v1.compute_pools_pb2_grpc import ComputePoolManagerServiceStub
from orchestration.v1.model_deployments_pb2_grpc import ModelDeploymentServiceStub
from orchestration.v1.model_registry_pb2_grpc import ModelRegistryServiceStub

ENGINE = str(Path(__file__).with_name("tiny_engine.py"))
"""A small HTTP server that answers /health: an engine of kind ``custom``."""
FAST: dict[str, Any] = {
    "backoff_initial_s": 0.05,
    "backoff_max_s": 0.5,
    "probe_interval_s": 0.5,
    "lease_ttl_s": 3.0,
    "reconcile_interval_s": 5.0,
}
"""Knobs that make what takes seconds in production take less in tests."""


@dataclass
class Rest:
    """A REST client that keeps status, body and headers together."""

    session: aiohttp.ClientSession
    base: str

    async def call(self, method: str, path: str, body: object = None, **kwargs: Any) -> tuple[int, Any]:
        """The status and the JSON body."""
        data = None if body is None else (body if isinstance(body, str | bytes) else json.dumps(body))
        headers = (
            {"Content-Type": "application/json", **kwargs.pop("headers", {})}
            if data is not None
            else kwargs.pop("headers", {})
        )
        async with self.session.request(method, self.base + path, data=data, headers=headers, **kwargs) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def ok(self, method: str, path: str, body: object = None, **kwargs: Any) -> Any:
        """The JSON body of an answer that must be 200."""
        status, answer = await self.call(method, path, body, **kwargs)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer


@dataclass
class Api:
    """A gateway as its callers have it."""

    rest: Rest
    channel: grpc.aio.Channel
    data_dir: Path
    grpc_address: str = ""
    pools: Any = field(init=False)
    models: Any = field(init=False)
    deployments: Any = field(init=False)

    def __post_init__(self) -> None:
        self.pools = ComputePoolManagerServiceStub(self.channel)
        self.models = ModelRegistryServiceStub(self.channel)
        self.deployments = ModelDeploymentServiceStub(self.channel)

    async def make_pool(self, name: str = "pool", **fields: Any) -> str:
        """A pool on this machine; its id."""
        body = {"pool_name": name, "owner_type": "user", "owner_id": "ann", "provider": "local", **fields}
        return str((await self.rest.ok("POST", "/deployment/createpool", body))["pool_id"])

    async def deploy(self, pool_id: str, *arguments: str, **fields: Any) -> str:
        """A deployment of the tiny engine; its id."""
        answer = await self.rest.ok("POST", "/deployment/deploy", tiny(pool_id, *arguments, **fields))
        return str(answer["deployment_id"])

    async def status(self, deployment_id: str) -> dict[str, Any]:
        """The deployment as it is now."""
        return dict(await self.rest.ok("GET", f"/deployment/status/{deployment_id}"))

    async def reach(self, deployment_id: str, *wanted: str, within_s: float = 60.0) -> dict[str, Any]:
        """The deployment once its status is one of those wanted."""

        async def look() -> dict[str, Any] | None:
            found = await self.status(deployment_id)
            return found if found["status"] in wanted else None

        found = await eventually(look, within_s=within_s, why=lambda: f"{deployment_id} never became {wanted}")
        return dict(found)

    async def events(self, deployment_id: str) -> list[dict[str, Any]]:
        """What happened, oldest first."""
        answer = await self.rest.ok("GET", f"/deployment/events/{deployment_id}?page_size=1000")
        return list(reversed(answer["events"]))


def tiny(pool_id: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    """A deploy request for the tiny engine."""
    command = [sys.executable, "-S", ENGINE, "{port}", *arguments]
    return {
        "model_name": "tiny",
        "inference_model": "tiny",
        "engine": "custom",
        "pool_id": pool_id,
        "gpu_per_replica": 0,
        "configuration": {"command": command, "stop_grace_seconds": 2, **fields.pop("configuration", {})},
        **fields,
    }


async def eventually(
    look: Callable[[], Awaitable[Any]], *, within_s: float = 60.0, why: Callable[[], str] = lambda: "it never came true"
) -> Any:
    """What `look` gives once it gives something true, asked again and again until the deadline."""
    deadline = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < deadline:
        last = await look()
        if last:
            return last
        await asyncio.sleep(0.05)
    raise AssertionError(f"{why()} within {within_s} s; last: {last!r}")


@asynccontextmanager
async def running_gateway(data_dir: Path, **knobs: Any) -> AsyncGenerator[Api]:
    """A gateway in this process on free ports."""
    given: dict[str, Any] = {"grpc_listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", **FAST, **knobs}
    settings = Settings(data_dir=data_dir, **given)
    try:
        async with serving(settings) as running, _clients(running.grpc_address, running.http_address, data_dir) as api:
            yield api
    finally:
        end_engines(data_dir)


def end_engines(data_dir: Path) -> None:
    """End what a test that failed left running: engines outlive their gateway on purpose."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            command = process.cmdline()
            if "-S" in command and any(part.startswith(f"{data_dir}/") for part in command):
                process.terminate()


@asynccontextmanager
async def _clients(grpc_address: str, http_address: str, data_dir: Path) -> AsyncGenerator[Api]:
    async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(grpc_address) as channel:
        yield Api(Rest(session, f"http://{http_address}"), channel, data_dir, grpc_address)


class GatewayProcess:
    """A gateway as a process of its own, which can be killed and started again on the same data."""

    def __init__(self, data_dir: Path, name: str = "gateway", **knobs: Any) -> None:
        self.data_dir = data_dir
        self.name = name
        """Of its log files: several gateways may share a data folder."""
        self._knobs = {**FAST, **knobs}
        self._process: asyncio.subprocess.Process | None = None
        self._starts = 0

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> dict[str, Any]:
        """Start it and wait until it serves; gives what it announced."""
        await self.launch()
        return await self.announced(within_s=60)

    async def launch(self) -> None:
        """Start it, and wait for nothing."""
        self._starts += 1
        environment = {
            **os.environ,
            **{f"ORCHESTRATION_{name.upper()}": str(value) for name, value in self._knobs.items()},
            "ORCHESTRATION_DATA_DIR": str(self.data_dir),
            "ORCHESTRATION_GRPC_LISTEN": "127.0.0.1:0",
            "ORCHESTRATION_HTTP_LISTEN": "127.0.0.1:0",
            "ORCHESTRATION_LOG_FORMAT": "json",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a start that compiles every module takes seconds longer
        with self.log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "orchestration.service.cli.main", "serve", stdout=out, stderr=out, env=environment
            )

    @property
    def log(self) -> Path:
        """What the process that was started last prints."""
        return self.data_dir.parent / f"{self.name}-{self._starts}.log"

    async def announced(self, *, within_s: float) -> dict[str, Any]:
        """What it announces once it serves."""

        async def look() -> dict[str, Any] | None:
            assert self._process is not None
            assert self._process.returncode is None, f"the gateway ended: {self.log.read_text()}"
            for line in self.log.read_text().splitlines():
                if '"grpc"' in line and '"http"' in line:
                    return dict(json.loads(line))
            return None

        found = await eventually(look, within_s=within_s, why=lambda: f"no announcement in {self.log.read_text()}")
        return dict(found)

    def log_lines(self) -> list[str]:
        """What it has logged since its last start."""
        return self.log.read_text().splitlines()

    @asynccontextmanager
    async def api(self) -> AsyncGenerator[Api]:
        """Start it, and have clients for it."""
        announced = await self.start()
        async with _clients(announced["grpc"], announced["http"], self.data_dir) as api:
            yield api

    def pause(self) -> None:
        """Stop it where it is, with SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """End it with SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), 60)
