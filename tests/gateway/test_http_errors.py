"""Errors: what they always have, and what they never tell."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from aiohttp import web
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from orchestration.gateway import ChannelUpstream, Gateway, GatewayConfig, RequestError, UpstreamError
from orchestration.gateway.codec import Codec
from orchestration.gateway.errorbody import ErrorWriter
from orchestration.gateway.upstream.channel import _ended  # pyright: ignore[reportPrivateUsage]
from tests.support.raw_http import exchange
from tests.support.transcoding_client import Answer, Running, Transport, listening, running
from tests.support.transcoding_service import compile_protos

INTERNALS = (b"secret", b"Traceback", b"ValueError", b"RuntimeError", b'File "', b".py", b"aiohttp", b"orchestration.")


def assert_tells_nothing(body: bytes) -> None:
    assert [each for each in INTERNALS if each in body] == []


@pytest.fixture
def writer() -> ErrorWriter:
    return ErrorWriter(Codec(compile_protos()), GatewayConfig(error_domain="test"))


@pytest.mark.parametrize("code", [17, 99, -1, 2**31 - 1])
def test_codes_that_grpc_does_not_have(writer: ErrorWriter, code: int) -> None:
    """T163."""
    status, body, headers = writer.write(UpstreamError(code, "odd"))
    assert (status, headers) == (500, {})
    error: Any = body["error"]
    assert (error["code"], error["status"], error["message"]) == (500, "UNKNOWN", "odd")
    assert error["details"][0]["reason"] == "UNKNOWN"


@pytest.mark.parametrize(
    "detail",
    [
        any_pb2.Any(type_url="type.example.com/no.Such", value=b"\1\2"),
        any_pb2.Any(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff"),
        any_pb2.Any(type_url="", value=b"x"),
        any_pb2.Any(type_url="no-slash", value=b""),
        any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Any", value=b"\x0a\x03a/b"),
        any_pb2.Any(type_url='a"b/c\n', value=b"x"),
        any_pb2.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff"),
        any_pb2.Any(
            type_url="type.googleapis.com/google.protobuf.Timestamp", value=b"\x08\x80\x80\x9a\xa6\xea\xaf\xe3\x01"
        ),
        any_pb2.Any(type_url="type.googleapis.com/google.protobuf.FieldMask", value=b"\x0a\x02aB"),
    ],
)
def test_details_of_any_kind_hide_no_error(writer: ErrorWriter, detail: any_pb2.Any) -> None:
    """T164."""
    status = status_pb2.Status(code=3, message="no", details=[detail])
    http_status, body, _ = writer.write(UpstreamError(3, "no", status.SerializeToString()))
    error: Any = body["error"]
    assert (http_status, error["message"]) == (400, "no")
    assert [each for each in error["details"] if each.get("@type", "").endswith("google.rpc.ErrorInfo")]


def test_details_without_a_json_form_are_told_in_base64(writer: ErrorWriter) -> None:
    mask = any_pb2.Any(type_url="type.googleapis.com/google.protobuf.FieldMask", value=b"\x0a\x02aB")
    status = status_pb2.Status(code=3, message="no", details=[mask])
    error: Any = writer.write(UpstreamError(3, "no", status.SerializeToString()))[1]["error"]
    assert error["details"][1] == {"@type": mask.type_url, "value": "CgJhQg=="}


@pytest.mark.parametrize("serialized", [b"", b"\xff", b"\x0a", b"\x1a\x05ab"])
def test_a_broken_status_hides_no_error(writer: ErrorWriter, serialized: bytes) -> None:
    http_status, body, _ = writer.write(UpstreamError(5, "gone", serialized))
    error: Any = body["error"]
    assert (http_status, error["message"]) == (404, "gone")


@pytest.mark.parametrize(("seconds", "nanos", "header"), [(0, 1, "1"), (2, 0, "2"), (2, 1, "3"), (-5, 0, "0")])
def test_retry_info_is_rounded_up(writer: ErrorWriter, seconds: int, nanos: int, header: str) -> None:
    """T160."""
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds, retry.retry_delay.nanos = seconds, nanos
    status = status_pb2.Status(code=14, message="later")
    status.details.add().Pack(retry)
    assert writer.write(UpstreamError(14, "later", status.SerializeToString()))[2] == {"Retry-After": header}


def test_what_http_wants_beside_the_status(writer: ErrorWriter) -> None:
    assert writer.write(UpstreamError(14, "down"))[2] == {"Retry-After": "1"}
    assert writer.write(UpstreamError(16, "who"))[2] == {"WWW-Authenticate": "Bearer"}


async def test_messages_in_any_script(transport: Transport) -> None:
    """T167."""
    async with running(transport) as served:
        for text in ("50% von €: %41", "日本語", "\N{PILE OF POO}", 'a"b\\c', "line\nline", ""):
            answer = await served.send("POST", "/v1/fail", body={"code": 5, "message": text})
            assert (answer.status, answer.json["error"]["message"]) == (404, text)


REFUSED: dict[str, Callable[[Running], Any]] = {
    "json": lambda served: served.send("POST", "/v1/things", body=b"{"),
    "field": lambda served: served.send("POST", "/v1/things", body={"sub": {"n": "x"}}),
    "unknown": lambda served: served.get("/v1/things?nope=1"),
    "query": lambda served: served.get("/v1/things?i32=x"),
    "path": lambda served: served.get("/v1/things/a%zz"),
    "header": lambda served: served.get("/v1/things/x", Grpc_Timeout="bad"),
    "metadata": lambda served: served.get("/v1/things/x", Grpc_Metadata_A_Bin="!!"),
    "request-id": lambda served: served.get("/v1/things/x", X_Request_Id="a b"),
    "no-body": lambda served: served.send("GET", "/v1/things/x", body={"name": "x"}),
    "gzip": lambda served: served.send("POST", "/v1/things", body=b"x", headers={"Content-Encoding": "gzip"}),
    "condition": lambda served: served.send("POST", "/v1/things", body={}, headers={"If-Match": '"a"'}),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_own_refusals_say_what_and_where(name: str) -> None:
    """T166."""
    async with running("in_process", config=GatewayConfig(error_domain="test")) as served:
        answer: Answer = await REFUSED[name](served)
        assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert answer.reason == answer.reason.upper()
        assert answer.json["error"]["details"][0]["domain"] == "test"
        assert answer.violations
        assert all(answer.violations.values())
        assert_tells_nothing(answer.body)


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("POST", "/v1/things/x", {}, 405),
        ("GET", "/v1/things/x", {"Accept": "text/html"}, 406),
        ("POST", "/v1/things", {"Content-Type": "text/plain"}, 415),
        ("POST", "/v1/things", {"Content-Type": "application/json; charset=latin1"}, 415),
        ("POST", "/v1/things", {"Content-Encoding": "br"}, 415),
        ("POST", "/v1/things", {"Content-Type": "application/grpc"}, 415),
        ("GET", "/v1/rooms/a/chat", {}, 426),
    ],
)
async def test_other_refusals_have_a_reason(method: str, target: str, headers: dict[str, str], status: int) -> None:
    async with running("in_process") as served:
        answer = await served.send(method, target, body={} if method == "POST" else None, headers=headers)
        assert answer.status == answer.json["error"]["code"] == status
        assert answer.reason
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Request-Id"]
        assert_tells_nothing(answer.body)


@pytest.mark.parametrize("target", ["/v1/crash", "/v1/ticks?fail_after=-1"])
async def test_handlers_that_fail_tell_nothing(transport: Transport, target: str) -> None:
    """T169."""
    async with running(transport) as served:
        answer = await served.get(target)
        assert answer.status in (404, 500)
        assert_tells_nothing(answer.body)


async def test_a_fault_of_the_gateway_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """T169: whatever fails, in whichever part."""
    async with running("in_process") as served:
        server: Any = vars(served.gateway)["_server"]
        for part, owner in (("unary", server), ("http", server.streams)):
            original = getattr(owner, part)

            async def fail(*_: object) -> None:
                raise RuntimeError("secret detail")

            setattr(owner, part, fail)
            target = "/v1/things/x" if part == "unary" else "/v1/ticks"
            answer = await served.get(target, X_Request_Id="mine")
            setattr(owner, part, original)
            assert (answer.status, answer.json["error"]["status"]) == (500, "INTERNAL")
            assert answer.headers["X-Request-Id"] == "mine"
            assert answer.reason == "INTERNAL"
            assert_tells_nothing(answer.body)
        assert "secret detail" in caplog.text
        assert "mine" in caplog.text


async def test_a_fault_of_the_application_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """T169: routes that are not the gateway's, too."""
    async with running("in_process") as served:
        app = web.Application()

        async def fail(_: web.Request) -> web.Response:
            raise RuntimeError("secret detail")

        app.router.add_get("/own", fail)
        async with listening(served.gateway, app) as base:
            answer = await exchange(base, b"GET /own HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n")
            assert (answer.status, answer.reason) == (500, "INTERNAL")
            assert_tells_nothing(answer.body)
        assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.1.2.3:41: Connection refused",
        "errors resolving db.internal:1: [field:hostname lookup error]",
        "DNS resolution failed for secret.internal:443: C-ares status is not ARES_SUCCESS",
        "Socket closed",
        "recvmsg:Connection reset by peer",
        "GOAWAY received; Error code: 2; Debug Text: Cancelling all calls",
        "ipv4:10.1.2.3:41: Socket closed",
    ],
)
def test_connections_that_fail_tell_no_addresses(message: str, caplog: pytest.LogCaptureFixture) -> None:
    """T169."""
    failed = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), message)
    with caplog.at_level(logging.WARNING):
        assert _ended(failed, None).message == "The service cannot be reached."
    assert message in caplog.text


def test_what_a_service_says_of_itself_is_told() -> None:
    failed = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "Try later.")
    assert _ended(failed, None).message == "Try later."


async def test_a_server_that_is_gone() -> None:
    gateway = Gateway(ChannelUpstream("127.0.0.1:1", descriptor_set=compile_protos()))
    await gateway.start()
    async with listening(gateway) as base:
        answer = await exchange(base, b"GET /v1/things/x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (answer.status, answer.all("Retry-After")) == (503, ["1"])
        assert b"127.0.0.1" not in answer.body
        assert answer.json["error"]["message"] == "The service cannot be reached."


def test_every_own_error_has_error_info(writer: ErrorWriter) -> None:
    refusal = RequestError(413, grpc.StatusCode.RESOURCE_EXHAUSTED, "BODY_TOO_LARGE", "too long")
    error: Any = writer.write(refusal)[1]["error"]
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "BODY_TOO_LARGE",
            "domain": "test",
            "metadata": {},
        }
    ]
