"""Section I: statuses, and the bodies of errors."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from orchestration.gateway import GatewayConfig
from tests.support.transcoding_client import Answer, Running, Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def fail(served: Running, code: int, message: str = "", details: list[Any] | None = None) -> Answer:
    status = status_pb2.Status(code=code, message=message)
    for detail in details or []:
        if isinstance(detail, any_pb2.Any):
            status.details.append(detail)
        else:
            status.details.add().Pack(detail)
    given = base64.b64encode(status.SerializeToString()).decode() if details else ""
    return await served.send("POST", "/v1/fail", body={"code": code, "message": message, "status": given})


async def test_ok(served: Running) -> None:
    """T151."""
    assert (await served.get("/v1/things/x")).status == 200


@pytest.mark.parametrize(
    ("code", "status"),
    [
        pytest.param(grpc.StatusCode.CANCELLED, 499, id="T152"),
        pytest.param(grpc.StatusCode.UNKNOWN, 500, id="UNKNOWN"),
        pytest.param(grpc.StatusCode.INVALID_ARGUMENT, 400, id="T154-INVALID_ARGUMENT"),
        pytest.param(grpc.StatusCode.FAILED_PRECONDITION, 400, id="T154-FAILED_PRECONDITION"),
        pytest.param(grpc.StatusCode.OUT_OF_RANGE, 400, id="T154-OUT_OF_RANGE"),
        pytest.param(grpc.StatusCode.DEADLINE_EXCEEDED, 504, id="T155"),
        pytest.param(grpc.StatusCode.NOT_FOUND, 404, id="NOT_FOUND"),
        pytest.param(grpc.StatusCode.ALREADY_EXISTS, 409, id="T157-ALREADY_EXISTS"),
        pytest.param(grpc.StatusCode.ABORTED, 409, id="T157-ABORTED"),
        pytest.param(grpc.StatusCode.PERMISSION_DENIED, 403, id="T158"),
        pytest.param(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, id="T160"),
        pytest.param(grpc.StatusCode.UNIMPLEMENTED, 501, id="T161"),
        pytest.param(grpc.StatusCode.INTERNAL, 500, id="INTERNAL"),
        pytest.param(grpc.StatusCode.UNAVAILABLE, 503, id="UNAVAILABLE"),
        pytest.param(grpc.StatusCode.DATA_LOSS, 500, id="DATA_LOSS"),
        pytest.param(grpc.StatusCode.UNAUTHENTICATED, 401, id="UNAUTHENTICATED"),
    ],
)
async def test_code_has_its_status(served: Running, code: grpc.StatusCode, status: int) -> None:
    answer = await fail(served, code.value[0], "because")
    assert answer.status == status
    error = answer.json["error"]
    assert (error["code"], error["status"], error["message"]) == (status, code.name, "because")


async def test_retry_info_becomes_a_header(served: Running) -> None:
    """T160."""
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=1))
    answer = await fail(served, 8, "later", [retry])
    assert answer.headers["Retry-After"] == "3"
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "2.000000001s"} in (
        answer.json["error"]["details"]
    )


async def test_details_are_decoded(served: Running) -> None:
    """T164."""
    info = error_details_pb2.ErrorInfo(reason="TOO_BIG", domain="test", metadata={"size": "5"})
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="name", description="too long")
    unknown = any_pb2.Any(type_url="type.example.com/no.Such", value=b"\1\2")
    answer = await fail(served, 3, "no", [info, request, unknown])
    assert answer.status == 400
    assert answer.json["error"]["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "TOO_BIG",
        "domain": "test",
        "metadata": {"size": "5"},
    }
    assert answer.violations == {"name": "too long"}
    assert answer.json["error"]["details"][2] == {"@type": "type.example.com/no.Such", "value": "AQI="}


async def test_broken_details_do_not_hide_the_error(served: Running) -> None:
    body = {"code": 5, "message": "gone", "status": base64.b64encode(b"\xff\xff").decode()}
    answer = await served.send("POST", "/v1/fail", body=body)
    assert (answer.status, answer.json["error"]["message"]) == (404, "gone")


async def test_error_without_details_has_its_code_as_reason(served: Running) -> None:
    assert (await fail(served, 5, "gone")).reason == "NOT_FOUND"


async def test_message_is_decoded_once(served: Running) -> None:
    """T167."""
    answer = await fail(served, 5, "50% von €: %41")
    assert answer.json["error"]["message"] == "50% von €: %41"


async def test_unexpected_exception_tells_nothing(served: Running) -> None:
    """T169."""
    answer = await served.get("/v1/crash")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"ValueError" not in answer.body


async def test_own_error_has_details(served: Running) -> None:
    """T166."""
    answer = await served.send("POST", "/v1/things", body=b'{"sub":\n{"n":"x"}}')
    info, request = answer.json["error"]["details"]
    assert info == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "INVALID_FIELD",
        "domain": "gateway",
        "metadata": {},
    }
    assert [each["field"] for each in request["field_violations"]] == ["sub.n"]


async def test_format_and_domain_are_settings(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(error_format="status", error_domain="test")) as served:
        answer = await served.get("/v1/things?nope=1")
        assert answer.status == 400
        assert set(answer.json) == {"code", "message", "details"}
        assert answer.json["code"] == 3
        assert answer.json["details"][0]["domain"] == "test"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_body_bytes", 0),
        ("default_timeout_s", -1.0),
        ("keepalive_s", 0),
        ("stream_start_s", -1),
        ("trusted_proxies", ["10.0.0.300"]),
    ],
)
async def test_bad_setting_is_named(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting):
        GatewayConfig(**{setting: value})  # type: ignore[arg-type]
