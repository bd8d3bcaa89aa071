"""What commands print: tables, ProtoJSON, empty states, errors."""

from __future__ import annotations

import json
import re
import socket

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from orchestration.v1 import compute_pools_pb2 as pools
from orchestration.v1 import model_deployments_pb2 as deployments
from orchestration.v1 import model_registry_pb2 as models
from tests.support.command_line import Run
from tests.support.fake_api import Failure, FakeApi

POOL = pools.Pool(
    pool_id="0192f0c4-1b2c-7def-8abc-0123456789ab",
    pool_name="p [red]",
    owner_type="user",
    owner_id="me",
    provider="local",
    state=pools.Pool.State.ACTIVE,
    gpu_total=8,
    gpu_allocated=3,
)


def reason(text: str, **metadata: str) -> Message:
    return error_details_pb2.ErrorInfo(reason=text, domain="orchestration", metadata=metadata)


async def test_a_table_has_whole_ids_and_no_control_codes(api: FakeApi, cli: Run) -> None:
    api.answers["ListPools"] = pools.ListPoolsResponse(pools=[POOL], total_size=1)
    result = await cli("pool", "list")
    heading, row = result.out.splitlines()
    assert heading.split() == [
        "POOL",
        "ID",
        "NAME",
        "PROVIDER",
        "OWNER",
        "STATE",
        "NODES",
        "GPUS",
        "COST/H",
        "CAP/H",
        "AGE",
    ]
    assert re.split(r"\s{2,}", row.strip()) == [
        POOL.pool_id, "p [red]", "local", "user/me", "ACTIVE", "0", "3/8", "-", "-", "-"
    ]  # fmt: skip
    assert "\x1b" not in result.out


async def test_json_is_one_document_with_proto_names_and_defaults(api: FakeApi, cli: Run) -> None:
    api.answers["ListPools"] = pools.ListPoolsResponse(pools=[POOL], total_size=1)
    document = json.loads((await cli("pool", "list", "-o", "json")).out)
    assert document["total_size"] == 1
    assert document["pools"][0]["pool_id"] == POOL.pool_id
    assert document["pools"][0]["state"] == "ACTIVE"
    assert document["pools"][0]["max_nodes"] == 0


async def test_pages_are_read_until_the_limit(api: FakeApi, cli: Run) -> None:
    def page(request: models.ListModelsRequest) -> models.ListModelsResponse:
        start = int(request.page_token or 0)
        end = min(start + min(request.page_size, 2), 5)
        found = [models.Model(model_id=f"m{number}") for number in range(start, end)]
        return models.ListModelsResponse(models=found, next_page_token=str(end) if end < 5 else "", total_size=5)

    api.answers["ListModels"] = page
    whole = json.loads((await cli("model", "list", "-o", "json")).out)
    assert [model["model_id"] for model in whole["models"]] == ["m0", "m1", "m2", "m3", "m4"]
    assert whole["next_page_token"] == ""
    result = await cli("model", "list", "--limit", "3")
    assert len(result.out.splitlines()) == 4
    assert "3 of 5 shown" in result.err


@pytest.mark.parametrize(
    ("line", "method", "reply", "hint"),
    [
        ("pool list", "ListPools", pools.ListPoolsResponse(), "orchestration pool create"),
        ("pool inventory p", "ListPoolInventory", pools.ListPoolInventoryResponse(), "orchestration nodes register"),
        ("model list", "ListModels", models.ListModelsResponse(), "orchestration model register"),
        ("deployments list", "ListDeployments", deployments.ListDeploymentsResponse(), "orchestration deploy"),
        ("nodes list", "ListNodes", pools.ListNodesResponse(), "orchestration nodes register"),
        ("resources", "ListProviderResources", pools.ListProviderResourcesResponse(), "orchestration providers"),
    ],
)
async def test_an_empty_list_says_so_and_names_the_next_command(
    line: str, method: str, reply: Message, hint: str, api: FakeApi, cli: Run
) -> None:
    api.answers[method] = reply
    result = await cli(*line.split())
    assert result.code == 0
    assert result.out.startswith("No")
    assert hint in result.out


async def test_a_deployment_is_shown_with_its_replicas(api: FakeApi, cli: Run) -> None:
    replica = deployments.ReplicaStatus(
        ordinal=1,
        state=deployments.ReplicaStatus.State.FAILED,
        reason="OOM_KILLED",
        message="out of memory",
        restarts=4,
    )
    api.answers["GetDeployment"] = deployments.Deployment(
        deployment_id="d1",
        model_name="m",
        model_version="2",
        status=deployments.Deployment.Status.DEGRADED,
        replicas=2,
        ready_replicas=1,
        replica_statuses=[replica],
    )
    out = (await cli("deployments", "get", "d1")).out
    assert re.search(r"status: +DEGRADED", out)
    assert re.search(r"ready: +1 of 2", out)
    assert re.search(r"1 +FAILED +4 +- +OOM_KILLED: out of memory", out)


async def test_a_provider_that_failed_is_a_warning_beside_the_others(api: FakeApi, cli: Run) -> None:
    api.answers["ListProviderResources"] = pools.ListProviderResourcesResponse(
        resources=[pools.ProviderResource(provider="local", provider_resource_id="host", gpu_count=2, gpu_type="a100")],
        errors=[pools.ProviderFailure(provider="nosana", error="no API key")],
        total_size=1,
    )
    result = await cli("resources")
    assert result.err == "warning: nosana: no API key\n"
    assert "2 x a100" in result.out


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.OUT_OF_RANGE, 2),
        (grpc.StatusCode.NOT_FOUND, 3),
        (grpc.StatusCode.FAILED_PRECONDITION, 4),
        (grpc.StatusCode.ALREADY_EXISTS, 4),
        (grpc.StatusCode.ABORTED, 4),
        (grpc.StatusCode.UNAVAILABLE, 5),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 5),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.PERMISSION_DENIED, 6),
        (grpc.StatusCode.UNAUTHENTICATED, 6),
    ],
)
async def test_a_status_is_one_line_and_an_exit_code(
    code: grpc.StatusCode, exit_code: int, api: FakeApi, cli: Run
) -> None:
    api.answers["GetPool"] = Failure(code, "it did not work", [reason("SOME_REASON")])
    result = await cli("pool", "get", "p1")
    assert (result.code, result.out) == (exit_code, "")
    assert result.err == f"error: {code.name}: it did not work [SOME_REASON]\n"


async def test_field_violations_are_told_once(api: FakeApi, cli: Run) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="pool_name", description="must not be empty")
    bad.field_violations.add(field="gpu_count", description="must be 0 or more")
    api.answers["RegisterPool"] = Failure(
        grpc.StatusCode.INVALID_ARGUMENT, "pool_name: must not be empty", [reason("INVALID_FIELD"), bad]
    )
    result = await cli("pool", "create", "x", "--provider", "local", "--owner", "me")
    assert result.err == (
        "error: INVALID_ARGUMENT: pool_name: must not be empty; gpu_count: must be 0 or more [INVALID_FIELD]\n"
    )


async def test_an_unreachable_server_is_named(cli: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and never listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = await cli("pool", "list", "--server", address)
    assert result.code == 5
    assert result.err == f"error: cannot reach {address}: Connection refused; is the server running?\n"


@pytest.mark.parametrize(
    ("status", "code", "out", "err"),
    [
        (health_pb2.HealthCheckResponse.SERVING, 0, "SERVING\n", ""),
        (health_pb2.HealthCheckResponse.NOT_SERVING, 1, "", "is NOT_SERVING"),
    ],
)
async def test_health_is_zero_only_when_ready(status: int, code: int, out: str, err: str, cli: Run) -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        await servicer.set("", status)
        result = await cli("health", "--server", address)
    finally:
        await server.stop(grace=None)
    assert (result.code, result.out) == (code, out)
    assert err in result.err


async def test_health_of_nothing_is_one(cli: Run) -> None:
    result = await cli("health", "--server", "127.0.0.1:1", "--timeout", "2")
    assert result.code == 1
    assert "cannot reach 127.0.0.1:1" in result.err


async def test_a_call_that_takes_too_long_is_five(api: FakeApi, cli: Run) -> None:
    import time

    def slow(request: object) -> pools.Pool:
        time.sleep(0.3)  # longer than the deadline below: the answer has to come too late
        return POOL

    api.answers["GetPool"] = slow
    result = await cli("pool", "get", "p1", "--timeout", "0.05")
    assert result.code == 5
    assert result.err.startswith("error: DEADLINE_EXCEEDED")
