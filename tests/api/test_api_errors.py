"""What REST alone can get wrong, and the shape of every error."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from orchestration.v1 import compute_pools_pb2 as pools_pb
from tests.support.gateway import Api, tiny

POOL = {"pool_name": "gpus", "owner_type": "user", "owner_id": "ann", "provider": "local"}
INFO, BAD = "type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.BadRequest"
RETRY, RESOURCE = "type.googleapis.com/google.rpc.RetryInfo", "type.googleapis.com/google.rpc.ResourceInfo"


async def refused(
    gateway: Api, status: int, method: str, path: str, body: object = None, **kwargs: Any
) -> tuple[str, dict[str, str]]:
    """The message, and what was wrong by field, of a request that must be refused."""
    code, answer = await gateway.rest.call(method, path, body, **kwargs)
    assert code == status, answer
    error = answer["error"]
    assert error["code"] == status
    (info,) = (item for item in error["details"] if item["@type"] == INFO)
    assert info["domain"] == "orchestration"
    assert info["reason"].replace("_", "").isupper()
    fields = [item for bad in error["details"] if bad["@type"] == BAD for item in bad["field_violations"]]
    return error["message"], {item["field"]: item["description"] for item in fields}


async def test_an_invalid_argument_is_told_whole(gateway: Api) -> None:
    status, answer = await gateway.rest.call("POST", "/deployment/createpool", {**POOL, "owner_type": "team"})
    assert status == 400
    text = "must be in list [org, user, system, organization], got 'team'"
    assert answer == {
        "error": {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "message": f"owner_type: {text}",
            "details": [
                {
                    "@type": INFO,
                    "reason": "INVALID_FIELD",
                    "domain": "orchestration",
                    "metadata": {"field": "owner_type"},
                },
                {"@type": BAD, "field_violations": [violation("owner_type", text)]},
            ],
        }
    }


def violation(field: str, description: str) -> dict[str, str]:
    return {"field": field, "description": description, "reason": ""}


async def test_a_missing_resource_is_told_whole(gateway: Api) -> None:
    status, answer = await gateway.rest.call("GET", "/deployment/pool/nowhere")
    assert status == 404
    assert answer["error"]["message"] == "pool 'nowhere' does not exist"
    info, resource = answer["error"]["details"]
    assert (info["@type"], info["reason"], info["metadata"]) == (INFO, "POOL_NOT_FOUND", {"pool": "nowhere"})
    assert (resource["@type"], resource["resource_type"], resource["resource_name"]) == (RESOURCE, "pool", "nowhere")


async def test_what_can_be_tried_again_says_when(gateway: Api) -> None:
    status, answer = await gateway.rest.call("GET", "/deployment/provider/resources")
    assert status == 503
    retry = next(item for item in answer["error"]["details"] if item["@type"] == RETRY)
    assert retry["retry_delay"] == "300s"


async def test_grpc_carries_the_same_details(gateway: Api) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.pools.GetPool(pools_pb.GetPoolRequest(pool_id="nowhere"))
    packed = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    status = status_pb2.Status.FromString(packed)
    info, resource = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(resource)
    assert (info.reason, info.domain, dict(info.metadata)) == ("POOL_NOT_FOUND", "orchestration", {"pool": "nowhere"})
    assert (resource.resource_type, resource.resource_name) == ("pool", "nowhere")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**POOL, "poolname": "x"}, "poolname"),
        ({**POOL, "max_gpus": 3}, "max_gpus"),
        ({**POOL, "": 1}, ""),
    ],
)
async def test_an_unknown_json_field_is_named(gateway: Api, body: dict[str, Any], field: str) -> None:
    message, fields = await refused(gateway, 400, "POST", "/deployment/createpool", body)
    assert list(fields) == [field]
    assert "RegisterPoolRequest" in message
    assert (await gateway.rest.ok("GET", "/deployment/listPools/ann"))["total_size"] == 0


async def test_an_unknown_field_deep_inside_is_named_by_its_path(gateway: Api) -> None:
    body = tiny("p", update_strategy={"max_sruge": 1})
    _, fields = await refused(gateway, 400, "POST", "/deployment/deploy", body)
    assert list(fields) == ["update_strategy.max_sruge"]


@pytest.mark.parametrize(
    "path",
    [
        "/deployment/deployments?orgid=acme",
        "/deployment/listPools/ann?orgid=acme",
        "/deployment/status/some-id?orgid=acme",
        "/inventory/providers?orgid=acme",
        "/deployment/watch?orgid=acme",
    ],
)
async def test_an_unknown_query_parameter_is_named(gateway: Api, path: str) -> None:
    _, fields = await refused(gateway, 400, "GET", path)
    assert list(fields) == ["orgid"]


async def test_a_query_beside_a_whole_body_is_refused(gateway: Api) -> None:
    message, _ = await refused(gateway, 400, "POST", "/deployment/createpool?max_nodes=3", POOL)
    assert "max_nodes" in message


async def test_a_path_and_a_body_that_disagree_are_refused(gateway: Api) -> None:
    message, _ = await refused(gateway, 400, "PATCH", "/deployment/updatepool/a", {"pool_id": "b"})
    assert "pool_id" in message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"pool_name": "a",\n "max_nodes": oops}', "line 2, column 15"),
        ('{"pool_name": "a"', "line 1, column 18"),
        ("{'pool_name': 'a'}", "line 1, column 2"),
        ('{"pool_name": "a",}', "line 1"),
        ('{"pool_name": "a"} {}', "line 1, column 20"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
async def test_broken_json_is_told_by_its_place(gateway: Api, body: str | bytes, says: str) -> None:
    message, _ = await refused(gateway, 400, "POST", "/deployment/createpool", body)
    assert says in message


@pytest.mark.parametrize("body", ["[]", '"text"', "3", "null"])
async def test_a_body_that_is_no_object_is_refused(gateway: Api, body: str) -> None:
    await refused(gateway, 400, "POST", "/deployment/createpool", body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_nodes": "many"}, "max_nodes"),
        ({"max_nodes": 1.5}, "max_nodes"),
        ({"max_nodes": 2**31}, "max_nodes"),
        ({"is_dedicated": "yes"}, "is_dedicated"),
        ({"pool_name": 3}, "pool_name"),
        ({"allowed_gpu_types": "A100"}, "allowed_gpu_types"),
    ],
)
async def test_a_value_of_another_type_is_named(gateway: Api, change: dict[str, Any], field: str) -> None:
    _, fields = await refused(gateway, 400, "POST", "/deployment/createpool", {**POOL, **change})
    assert list(fields) == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=ten", "page_size"),
        ("page_size=1.5", "page_size"),
        ("page_size=1&page_size=2", "page_size"),
        ("status=BUSY", "status"),
        ("status=running", "status"),
    ],
)
async def test_a_wrong_query_value_is_named(gateway: Api, query: str, field: str) -> None:
    _, fields = await refused(gateway, 400, "GET", f"/deployment/deployments?{query}")
    assert list(fields) == [field]


async def test_both_spellings_of_a_field_are_taken_and_one_is_given(gateway: Api) -> None:
    camel = {"poolName": "gpus", "ownerType": "user", "ownerId": "ann", "provider": "local", "maxNodes": 3}
    pool = (await gateway.rest.ok("POST", "/deployment/createpool", camel))["pool"]
    assert (pool["pool_name"], pool["owner_type"], pool["max_nodes"]) == ("gpus", "user", 3)
    assert not any(character.isupper() for name in pool for character in name)
    listed = await gateway.rest.ok("GET", "/v1/pools?ownerId=ann&pageSize=1")
    assert listed["pools"] == [pool]
    both = {**POOL, "poolName": "gpus"}
    await refused(gateway, 400, "POST", "/deployment/createpool", both)


async def test_enum_values_are_bare(gateway: Api) -> None:
    pool_id = await gateway.make_pool()
    deployment_id = await gateway.deploy(pool_id, replicas=0)
    pool = await gateway.rest.ok("GET", f"/deployment/pool/{pool_id}")
    found = await gateway.reach(deployment_id, "RUNNING")
    (node,) = (await gateway.rest.ok("GET", f"/deployment/list/pool/{pool_id}/inventory"))["nodes"]
    assert (pool["state"], node["state"], found["restart_policy"]["condition"]) == ("ACTIVE", "READY", "ALWAYS")
    assert {item["status"] for item in found["conditions"]} <= {"TRUE", "FALSE", "UNKNOWN"}


async def test_an_unknown_path_and_an_unknown_verb(gateway: Api) -> None:
    message, _ = await refused(gateway, 404, "GET", "/deployment/nothing")
    assert "/deployment/nothing" in message
    async with gateway.rest.session.delete(gateway.rest.base + "/deployment/deploy") as answer:
        assert answer.status == 405
        assert "POST" in answer.headers["Allow"]


async def test_another_content_type_is_refused(gateway: Api) -> None:
    headers = {"Content-Type": "text/plain"}
    message, _ = await refused(gateway, 415, "POST", "/deployment/createpool", "a=b", headers=headers)
    assert "application/json" in message


async def test_every_answer_has_a_request_id(gateway: Api) -> None:
    async with gateway.rest.session.get(gateway.rest.base + "/inventory/providers") as answer:
        assert answer.headers["X-Request-Id"]
    given = {"X-Request-Id": "mine-1"}
    async with gateway.rest.session.get(gateway.rest.base + "/inventory/providers", headers=given) as answer:
        assert answer.headers["X-Request-Id"] == "mine-1"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_what_is_no_rpc_is_served(gateway: Api, path: str) -> None:
    async with gateway.rest.session.get(gateway.rest.base + path) as answer:
        assert answer.status == 200
        assert await answer.read()


async def test_a_configuration_nested_too_deeply_is_the_callers_fault(gateway: Api) -> None:
    """The runtime reads a hundred messages within each other, and each object of a Struct takes three."""
    configuration: Any = 1
    for _ in range(50):
        configuration = {"a": configuration}
    for path in ("/deployment/deploy", "/v1/deployments"):
        message, _ = await refused(gateway, 400, "POST", path, tiny("pool", configuration=configuration))
        assert "nested too deeply" in message
