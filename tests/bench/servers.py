"""The servers that are measured, each a process of its own, started when first asked for and stopped at the end."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil

from orchestration.service.keys import Role, new_key
from orchestration.service.settings import Settings
from tests.bench.seed import leases_held, seed
from tests.support.gateway import FAST, GatewayProcess, end_engines, eventually

SMALL, LARGE = 100, 10_000
"""Deployments, and nodes, of the databases."""
_KEY, _STORED = new_key(Role.ADMIN)
AUTHORIZATION = f"Bearer {_KEY}"
"""What calls of a gateway show: authentication is measured with the rest."""
_DEFAULTS: dict[str, Any] = {
    **{name: Settings.model_fields[name].default for name in FAST},
    "api_keys": json.dumps({"bench": _STORED}),
}
"""What is measured is the gateway as it is configured when nobody configures it but for its keys."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves HTTP and gRPC."""

    pid: int
    http: aiohttp.ClientSession
    channel: grpc.aio.Channel
    grpc_port: int = 0
    start_s: float = 0.0
    """From its fork until it served."""

    async def get(self, path: str) -> bytes:
        """The body of an answer that must be 200."""
        return await self._read("GET", path)

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of an answer that must be 200."""
        return await self._read("POST", path, body)

    async def put(self, path: str, body: bytes) -> bytes:
        """Make a peer answer this at the path."""
        return await self._read("PUT", path, body)

    async def _read(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        async with self.http.request(method, path, data=body, headers=headers) as answer:
            content = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content


class Servers:
    """Every server of a run."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._servers: dict[str, Server] = {}
        self._seeded: set[int] = set()

    async def gateway(self, size: int, upstream: str = "inprocess") -> Server:
        """A gateway with so many deployments and nodes that it serves and does not converge; always the same one."""
        name = f"{size}-{upstream}"
        if name not in self._servers:
            data_dir = await self.data_of(size, upstream)
            await self._stack.enter_async_context(leases_held(data_dir))
            entered = self._stack.enter_async_context(gateway(data_dir, gateway_upstream=upstream))
            self._servers[name] = await entered
        return self._servers[name]

    async def peer(self) -> Server:
        """The peers; always the same ones."""
        if "peer" not in self._servers:
            self._servers["peer"] = await self._stack.enter_async_context(_peer())
        return self._servers["peer"]

    async def data_of(self, size: int, name: str) -> Path:
        """A copy, for the use of this name, of a folder with so many deployments and nodes."""
        original = self.folder / f"seed-{size}" / "data"
        if size not in self._seeded:
            await seed(original, size)
            self._seeded.add(size)
        copy = self.folder / f"{name}-{size}" / "data"
        await asyncio.to_thread(shutil.copytree, original, copy)
        return copy


@asynccontextmanager
async def gateway(data_dir: Path, **knobs: Any) -> AsyncGenerator[Server]:
    """A gateway on a folder, stopped afterwards with all that it started."""
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    process = GatewayProcess(data_dir, **{**_DEFAULTS, **knobs})
    before = time.monotonic()
    announced = await process.start()
    start_s = time.monotonic() - before
    try:
        async with _clients(announced["http"], announced["grpc"]) as (http, channel):
            grpc_port = int(announced["grpc"].rpartition(":")[2])
            yield Server(process.pid, http, channel, grpc_port, start_s)
    finally:
        await process.stop()
        end_engines(data_dir)
        await eventually(lambda: _no_engine(data_dir), why=lambda: "engines did not end")


async def _no_engine(data_dir: Path) -> bool:
    """Whether no supervisor writes to the folder any more."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(part.startswith(f"{data_dir}/") for part in process.cmdline()):
                return False
    return True


@asynccontextmanager
async def _peer() -> AsyncGenerator[Server]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.peer", stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        http_port, grpc_port = (await process.stdout.readline()).decode().split()
        async with _clients(f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}") as (http, channel):
            yield Server(process.pid, http, channel)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)


@asynccontextmanager
async def _clients(
    http_address: str, grpc_address: str
) -> AsyncGenerator[tuple[aiohttp.ClientSession, grpc.aio.Channel]]:
    async with (
        aiohttp.ClientSession(f"http://{http_address}", headers={"Authorization": AUTHORIZATION}) as http,
        grpc.aio.insecure_channel(grpc_address) as channel,
    ):
        yield http, channel
