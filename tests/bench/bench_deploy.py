"""How soon a deployment runs: from its acceptance until a process of its engine exists on this machine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.bench.measuring import in_turns
from tests.bench.results import Row, Target
from tests.bench.servers import Server, Servers, gateway
from tests.support.gateway import eventually

_TIMES = 15
_SCRIPT = 'date +%s%N > "$0.part"; mv "$0.part" "$0"; exec sleep 600'
"""The engine: it notes the time of its first breath, then does nothing. Argument 0 is the file."""


async def rows(servers: Servers) -> list[Row]:
    """Against fork and exec of the same engine by hand."""
    folder = servers.folder / "deploy"
    async with gateway(folder / "data") as server:
        pool = {"pool_name": "bench", "owner_type": "user", "owner_id": "bench", "provider": "local"}
        pool_id = json.loads(await server.post("/deployment/createpool", json.dumps(pool).encode()))["pool_id"]
        files = (folder / f"time-{number}" for number in range(1000))
        rounds = await in_turns(
            _TIMES, {"deploy": lambda: _deploy(server, pool_id, next(files)), "fork": lambda: _fork(next(files))}
        )
    return [
        Row(
            figure="deploy accepted until its engine's process runs, p50",
            value=rounds.median("deploy"),
            unit="ms",
            peer="fork and exec",
            peer_value=rounds.median("fork"),
            ratio=rounds.ratio("deploy", "fork"),
            target=Target("<=", 30, "value"),
        )
    ]


def _command(file: Path) -> list[str]:
    return ["/bin/sh", "-c", _SCRIPT, str(file)]


async def _deploy(server: Server, pool_id: str, file: Path) -> float:
    request: dict[str, Any] = {
        "model_name": "bench",
        "inference_model": "bench",
        "engine": "custom",
        "pool_id": pool_id,
        "gpu_per_replica": 0,
        "configuration": {"command": [*_command(file), "{port}"], "stop_grace_seconds": 1},
    }
    answer = json.loads(await server.post("/deployment/deploy", json.dumps(request).encode()))
    accepted = time.time_ns()
    started = await _noted(file)
    await server.post("/deployment/terminate", json.dumps({"deployment_id": answer["deployment_id"]}).encode())
    return (started - accepted) / 1e6


async def _fork(file: Path) -> float:
    before = time.time_ns()
    process = await asyncio.create_subprocess_exec(*_command(file), stdin=subprocess.DEVNULL)
    try:
        return (await _noted(file) - before) / 1e6
    finally:
        process.kill()
        await process.wait()


async def _noted(file: Path) -> int:
    """When the engine began, in nanoseconds since the epoch."""

    async def look() -> str:
        return await asyncio.to_thread(_content, file)

    return int(await eventually(look, within_s=10, why=lambda: "the engine never started"))


def _content(file: Path) -> str:
    return file.read_text() if file.exists() else ""
