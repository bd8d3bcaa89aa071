"""A gateway with keys, as those with and without one see it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestration.service.keys import Role, new_key
from orchestration.v1 import compute_pools_pb2 as pb
from tests.support.gateway import Api, running_gateway

KEYS = {role: new_key(role) for role in Role}
POOL: dict[str, Any] = {"pool_name": "p", "owner_type": "user", "owner_id": "ann", "provider": "local"}


@dataclass
class Guarded:
    """The gateway, and calls of it with a role's key."""

    api: Api

    async def rest(self, method: str, path: str, role: Role | None, body: object = None) -> tuple[int, Any]:
        """The status, and the reason of an error or the answer."""
        headers = {} if role is None else {"Authorization": f"Bearer {KEYS[role][0]}"}
        status, answer = await self.api.rest.call(method, path, body, headers=headers)
        return status, answer["error"]["details"][0]["reason"] if "error" in answer else answer


@pytest.fixture(params=["inprocess", "channel"])
async def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Guarded]:
    stored = {str(role): stored for role, (_, stored) in KEYS.items()}
    async with running_gateway(tmp_path, api_keys=stored, gateway_upstream=request.param) as api:
        yield Guarded(api)


async def test_who_shows_no_key_or_a_wrong_one_is_told_how(guarded: Guarded) -> None:
    assert await guarded.rest("GET", "/v1/pools", None) == (401, "API_KEY_MISSING")
    url = guarded.api.rest.base + "/v1/pools"
    for shown in ("Bearer", "Bearer ", "Basic YTpi", "bearer"):
        async with guarded.api.rest.session.get(url, headers={"Authorization": shown}) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            told = await answer.json()
            assert told["error"]["details"][0]["reason"] == "API_KEY_MISSING"
    headers = {"Authorization": "Bearer " + KEYS[Role.ADMIN][0] + "x"}
    async with guarded.api.rest.session.get(url, headers=headers) as answer:
        assert answer.status == 401
        text = await answer.text()
        assert "API_KEY_INVALID" in text
        assert KEYS[Role.ADMIN][0] not in text


async def test_each_role_may_do_its_part(guarded: Guarded) -> None:
    assert await guarded.rest("POST", "/deployment/createpool", Role.OPERATOR, POOL) == (403, "ROLE_TOO_LOW")
    status, made = await guarded.rest("POST", "/deployment/createpool", Role.ADMIN, POOL)
    assert status == 200
    assert (await guarded.rest("GET", f"/v1/pools/{made['pool_id']}", Role.VIEWER))[0] == 200
    assert await guarded.rest("GET", "/v1/pools", Role.AGENT) == (403, "ROLE_TOO_LOW")
    beat = {"provider": "local", "provider_instance_id": "n"}
    assert await guarded.rest("POST", "/inventory/heartbeat", Role.OPERATOR, beat) == (403, "ROLE_TOO_LOW")
    assert await guarded.rest("POST", "/inventory/heartbeat", Role.AGENT, beat) == (404, "NODE_NOT_REGISTERED")
    terminate = {"deployment_id": "none"}
    assert await guarded.rest("POST", "/deployment/terminate", Role.VIEWER, terminate) == (403, "ROLE_TOO_LOW")
    assert await guarded.rest("POST", "/deployment/terminate", Role.OPERATOR, terminate) == (
        404,
        "DEPLOYMENT_NOT_FOUND",
    )


async def test_a_call_that_may_not_be_made_is_not_looked_at(guarded: Guarded) -> None:
    """Neither its body nor its query: who has no key learns nothing of what is there, and costs nothing."""
    for body in cast("tuple[object, ...]", ({}, "{bad", '{"unknown": 1}', "\x1f\x8b")):
        assert await guarded.rest("POST", "/deployment/createpool", None, body) == (401, "API_KEY_MISSING")
        assert await guarded.rest("POST", "/deployment/createpool", Role.VIEWER, body) == (403, "ROLE_TOO_LOW")
    assert await guarded.rest("GET", "/v1/pools?page_size=x", None) == (401, "API_KEY_MISSING")
    assert await guarded.rest("GET", "/v1/deployments:watch?nonsense=1", None) == (401, "API_KEY_MISSING")


async def test_grpc_asks_for_the_same_keys(guarded: Guarded) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await guarded.api.pools.ListPools(pb.ListPoolsRequest())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    metadata = (("authorization", f"bearer {KEYS[Role.VIEWER][0]}"),)
    assert (await guarded.api.pools.ListPools(pb.ListPoolsRequest(), metadata=metadata)).total_size == 0
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await guarded.api.pools.RegisterPool(pb.RegisterPoolRequest(**POOL), metadata=metadata)
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    beats = guarded.api.pools.StreamHeartbeats(iter([pb.HeartbeatRequest()]), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in beats:
            pass
    assert streamed.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_probes_need_no_key(guarded: Guarded) -> None:
    health: Any = health_pb2_grpc.HealthStub(guarded.api.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    for path in ("/healthz", "/readyz", "/openapi.json"):
        async with guarded.api.rest.session.get(guarded.api.rest.base + path) as answer:
            assert answer.status == 200
            document = await answer.json()
    assert document["security"] == [{"bearer": []}]


async def test_a_browser_shows_its_key_as_a_subprotocol(guarded: Guarded) -> None:
    url = guarded.api.rest.base + "/v1/deployments:watch"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await guarded.api.rest.session.ws_connect(url)
    assert refused.value.status == 401
    async with guarded.api.rest.session.ws_connect(url, protocols=("bearer", KEYS[Role.VIEWER][0])) as socket:
        assert "resume_token" in (await socket.receive_json(timeout=30))["result"]
        assert KEYS[Role.VIEWER][0] not in str(socket.protocol)


async def test_the_command_line_shows_the_key_of_its_environment(guarded: Guarded) -> None:
    async def pools(key: str | None) -> tuple[int, str]:
        environment = {**os.environ, "ORCHESTRATION_SERVER": guarded.api.grpc_address}
        environment |= {} if key is None else {"ORCHESTRATION_API_KEY": key}
        command = (sys.executable, "-m", "orchestration.service.cli.main", "pool", "list")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        _, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, err.decode()

    assert await pools(KEYS[Role.VIEWER][0]) == (0, "")
    code, told = await pools(None)
    assert code == 6
    assert "API_KEY_MISSING" in told
