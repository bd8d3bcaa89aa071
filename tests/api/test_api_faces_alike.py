"""The same calls by every face of one gateway: bodies, statuses and headers are the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestration.gateway import ChannelUpstream, Gateway, GatewayConfig
from orchestration.service.rpc.errors import DOMAIN
from orchestration.service.rpc.server import SERVICES
from tests.support.caller import Caller
from tests.support.faces import ApiError, Face, GrpcFace, RestFace
from tests.support.gateway import Api, running_gateway
from tests.support.transcoding_client import listening

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("GetDeployment", {"deployment_id": "ID"}),
    ("GetDeployment", {"deployment_id": "nothing"}),
    ("GetDeployment", {"deployment_id": "é /?"}),
    ("ListDeployments", {}),
    ("ListDeployments", {"page_size": -1}),
    ("ListDeployments", {"page_token": "nonsense"}),
    ("ListDeploymentEvents", {"deployment_id": "ID"}),
    ("GetDeploymentLogs", {"deployment_id": "ID"}),
    ("GetDeploymentLogs", {"deployment_id": "ID", "tail": 5001}),
    ("DeleteDeployment", {"deployment_id": "nothing"}),
    ("ScaleDeployment", {"deployment_id": "ID", "replicas": -1}),
    ("DeployModel", {}),
    ("RegisterPool", {"pool_name": "pool", "owner_type": "user", "owner_id": "ann", "provider": "nowhere"}),
    ("ListPools", {"owner_id": "ann"}),
    ("ListModels", {"model_name": "llama"}),
]
"""ID stands for that of a deployment."""
HEADERS = {"X-Request-Id": "one"}
"""Errors tell the request's id, so that it must be the same on every face."""
STREAMS: list[tuple[str, dict[str, Any]]] = [
    ("TailDeploymentLogs", {"deployment_id": "ID", "follow": False}),
    ("TailDeploymentLogs", {"deployment_id": "nothing"}),
    ("TailDeploymentLogs", {"deployment_id": "ID", "cursor": "nonsense"}),
    ("WatchDeployments", {"deployment_id": "ID"}),
    ("WatchDeployments", {"resume_token": "nonsense"}),
]
REQUESTS = [
    ("GET", "/deployment/status/nothing"),
    ("GET", "/deployment/status/ID"),
    ("GET", "/deployment/nowhere"),
    ("PUT", "/deployment/status/ID"),
    ("HEAD", "/deployment/status/ID"),
    ("OPTIONS", "/deployment/status/ID"),
    ("GET", "/v1/pools?nope=1"),
    ("POST", "/deployment/deploy"),
]


@asynccontextmanager
async def three_faces(folder: Path) -> AsyncGenerator[tuple[Api, list[Face], list[str]], None]:
    """One gateway by gRPC, by its own REST in the process, and by REST over a channel; and the bases of both RESTs."""
    async with running_gateway(folder, gateway_upstream="inprocess") as api, aiohttp.ClientSession() as session:
        config = GatewayConfig(error_domain=DOMAIN)
        channel = Gateway(ChannelUpstream(api.grpc_address), SERVICES, config)
        await channel.start()
        async with listening(channel) as base:
            here = RestFace(api.rest.session, api.rest.base, "rest")
            there = RestFace(session, base, "rest-over-channel")
            yield api, [GrpcFace(api.channel), here, there], [api.rest.base, base]
            await Caller(here, api).clean_up()


def filled(fields: Mapping[str, Any], deployment_id: str) -> dict[str, Any]:
    return {key: deployment_id if value == "ID" else value for key, value in fields.items()}


async def outcome(face: Face, rpc: str, fields: Mapping[str, Any]) -> object:
    try:
        return await face.call(rpc, headers=HEADERS, **fields)
    except ApiError as error:
        return error.code, error.message, error.details


async def streamed(face: Face, rpc: str, fields: Mapping[str, Any]) -> list[object]:
    """What a stream begins with: all, or until it has nothing more to say for now."""
    seen: list[object] = []
    try:
        async with face.stream(rpc, headers=HEADERS, **fields) as stream:
            async for message in stream:
                seen.append(message)
                if message.get("type") == "SYNCED":
                    break
    except ApiError as error:
        seen.append((error.code, error.message, error.details))
    return seen


@pytest.mark.slow
async def test_all_faces_answer_alike(tmp_path: Path) -> None:
    async with three_faces(tmp_path) as (api, faces, bases):
        caller = Caller(faces[1], api)
        deployment_id = await caller.deploy(await caller.make_pool(), replicas=0)
        await caller.reach(deployment_id, "RUNNING")
        for rpc, fields in CALLS:
            grpc, here, there = [await outcome(face, rpc, filled(fields, deployment_id)) for face in faces]
            assert grpc == here == there, (rpc, fields)
        for rpc, fields in STREAMS:
            async with asyncio.timeout(20):
                grpc, here, there = [await streamed(face, rpc, filled(fields, deployment_id)) for face in faces]
            assert grpc == here == there, (rpc, fields)
            assert here or rpc == "TailDeploymentLogs"  # without a replica there is no line
        for method, path in REQUESTS:
            target = path.replace("ID", deployment_id)
            answers = [await request(api, method, base + target) for base in bases]
            assert answers[0] == answers[1], (method, path)


async def request(api: Api, method: str, url: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers but the date, and body."""
    async with api.rest.session.request(method, url, headers=HEADERS) as response:
        headers = {key: value for key, value in response.headers.items() if key != "Date"}
        return response.status, headers, await response.read()
