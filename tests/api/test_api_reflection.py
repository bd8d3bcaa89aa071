"""What a gRPC client finds out by itself: services, their descriptors, and whether they serve."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from orchestration.service.app import serving
from orchestration.service.settings import Settings
from tests.support.protos import methods

OURS = {
    f"orchestration.v1.{name}"
    for name in ("ComputePoolManagerService", "ModelRegistryService", "ModelDeploymentService")
}
STANDARD = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
BUF = Path(sys.executable).with_name("buf")
versions = pytest.mark.parametrize("version", ["v1", "v1alpha"])


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Where a gateway serves gRPC."""
    settings = Settings(data_dir=tmp_path / "data", grpc_listen="127.0.0.1:0", http_listen="127.0.0.1:0")
    async with serving(settings) as running:
        yield running.grpc_address


async def reflect(address: str, version: str, *requests: reflection_pb2.ServerReflectionRequest) -> list[Any]:
    """The answers of a reflection service; both versions have the same messages."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(iter(requests))
        return [answer async for answer in call]


@versions
async def test_the_services_are_listed(address: str, version: str) -> None:
    (answer,) = await reflect(address, version, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert {service.name for service in answer.list_services_response.service} == OURS | STANDARD


@versions
async def test_descriptors_are_complete(address: str, version: str) -> None:
    """From the files that reflection gives, and no others, every RPC of the contract can be made."""
    pool = descriptor_pool.DescriptorPool()
    known: set[str] = set()

    async def add(request: reflection_pb2.ServerReflectionRequest) -> None:
        (answer,) = await reflect(address, version, request)
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = FileDescriptorProto.FromString(data)
            if file.name in known:
                continue
            known.add(file.name)
            for dependency in file.dependency:
                await add(reflection_pb2.ServerReflectionRequest(file_by_filename=dependency))
            pool.Add(file)

    for service in OURS:
        await add(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
    found = {method.full_name for service in OURS for method in pool.FindServiceByName(service).methods}
    assert found == {method.full_name for method in methods()}
    rule = pool.FindExtensionByName("google.api.http")
    assert rule.number == 72295728


@versions
async def test_an_unknown_symbol_is_not_found(address: str, version: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="orchestration.v1.Nothing")
    (answer,) = await reflect(address, version, request)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("service", ["", *sorted(OURS)])
async def test_health_says_serving(address: str, service: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str


async def buf_curl(tmp_path: Path, address: str, *arguments: str) -> Ended:
    """``buf curl``, which knows the schema from reflection alone."""
    process = await asyncio.create_subprocess_exec(
        BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, cwd=tmp_path,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize(
    ("rpc", "request_json", "field"),
    [
        ("ComputePoolManagerService/ListProviders", {}, "providers"),
        ("ModelRegistryService/ListModels", {"page_size": 5}, ""),
        ("ModelDeploymentService/ListDeployments", {"org_id": "acme"}, ""),
    ],
)
async def test_a_client_without_our_protos_calls(
    address: str, tmp_path: Path, rpc: str, request_json: dict[str, Any], field: str
) -> None:
    url = f"http://{address}/orchestration.v1.{rpc}"
    ended = await buf_curl(tmp_path, address, "-d", json.dumps(request_json), url)
    assert (ended.code, ended.err) == (0, "")
    answer = json.loads(ended.out)
    assert field in answer if field else answer == {}


async def test_a_client_without_our_protos_reads_errors(address: str, tmp_path: Path) -> None:
    url = f"http://{address}/orchestration.v1.ComputePoolManagerService/GetPool"
    ended = await buf_curl(tmp_path, address, "-d", '{"pool_id": "nowhere"}', url)
    assert ended.code != 0
    error = json.loads(ended.err)
    assert (error["code"], error["message"]) == ("not_found", "pool 'nowhere' does not exist")
    kinds = [detail["type"] for detail in error["details"]]
    assert kinds == ["google.rpc.ErrorInfo", "google.rpc.ResourceInfo"]


async def test_buf_lists_the_services(address: str, tmp_path: Path) -> None:
    ended = await buf_curl(tmp_path, address, "--list-services", f"http://{address}")
    assert ended.code == 0, ended.err
    assert set(ended.out.split()) == OURS | STANDARD
