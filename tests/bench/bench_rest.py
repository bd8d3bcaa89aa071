"""REST, unary, through the whole chain: CPU of the server process for a request."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

from tests.bench.measuring import cpu_per_call, in_turns
from tests.bench.results import Row, Target
from tests.bench.seed import PROVIDER
from tests.bench.servers import SMALL, Server, Servers

_ROUNDS = 15
_CALLERS = 8
_EACH = 60
HEARTBEAT = "/inventory/heartbeat"
BEAT = json.dumps(
    {
        "provider": PROVIDER,
        "provider_instance_id": "node-0",
        "state": "READY",
        "gpu_allocated": 1,
        "vcpu_allocated": 12.5,
        "ram_gb_allocated": 96.0,
        "health_score": 99.0,
        "telemetry": {"gpu0.temperature_c": 61.0, "gpu0.utilization": 0.93},
    }
).encode()
"""A heartbeat's body."""


async def rows(servers: Servers) -> list[Row]:
    """A GET and a POST against a bare handler that answers the same bytes, and against REST over a channel."""
    server = await servers.gateway(SMALL)
    path = await status_path(server)
    return [
        *await _compare(servers, "GET /deployment/status/{id}", path, lambda one: partial(one.get, path)),
        *await _compare(servers, f"POST {HEARTBEAT}", HEARTBEAT, lambda one: partial(one.post, HEARTBEAT, BEAT)),
    ]


async def status_path(server: Server) -> str:
    """The path of some deployment's status."""
    found = json.loads(await server.get("/deployment/deployments?page_size=1"))
    return f"/deployment/status/{found['deployments'][0]['deployment_id']}"


async def _compare(
    servers: Servers, name: str, path: str, asks: Callable[[Server], Callable[[], Awaitable[bytes]]]
) -> list[Row]:
    compared = {
        "ours": await servers.gateway(SMALL),
        "channel": await servers.gateway(SMALL, "channel"),
        "bare": await servers.peer(),
    }
    await compared["bare"].put(path, await asks(compared["ours"])())
    measures = {key: partial(_cpu, server.pid, asks(server)) for key, server in compared.items()}
    rounds = await in_turns(_ROUNDS, measures)
    ours, channel, bare = (rounds.median(key) for key in compared)
    return [
        Row(
            figure=f"{name}, CPU of a request",
            value=ours,
            unit="us",
            peer="bare aiohttp handler, same bytes",
            peer_value=bare,
            ratio=rounds.ratio("ours", "bare"),
            target=Target("<=", 2.0),
        ),
        Row(
            figure=f"{name} over a gRPC channel",
            value=channel,
            unit="us",
            peer="in the same process",
            peer_value=ours,
            ratio=rounds.ratio("channel", "ours"),
        ),
    ]


async def _cpu(pid: int, ask: Callable[[], Awaitable[bytes]]) -> float:
    return await cpu_per_call(pid, lambda _: ask(), callers=_CALLERS, each=_EACH)
