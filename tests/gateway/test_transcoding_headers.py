"""Section J: headers, deadlines and callers that leave."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

import pytest
from aiohttp.test_utils import make_mocked_request

from orchestration.gateway import GatewayConfig
from orchestration.gateway.headers import HeaderReader
from tests.support.raw_http import exchange
from tests.support.transcoding_client import Running, Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("header", "value", "key"),
    [
        pytest.param("Authorization", "Bearer x", "authorization", id="T170"),
        pytest.param("Grpc-Metadata-Foo", "bar", "foo", id="T172"),
        pytest.param("grpc-metadata-foo.bar_x", "bar", "foo.bar_x", id="T172-lower"),
        pytest.param("X-Request-Id", "abc-1", "x-request-id", id="request-id"),
        pytest.param("traceparent", "00-0af7-b7ad-01", "traceparent", id="traceparent"),
        pytest.param("Tracestate", "a=b", "tracestate", id="tracestate"),
        pytest.param("Idempotency-Key", "k-1", "idempotency-key", id="idempotency-key"),
    ],
)
async def test_header_becomes_metadata(served: Running, header: str, value: str, key: str) -> None:
    answer = await served.send("GET", "/v1/inspect", headers={header: value})
    assert answer.json["metadata"][key] == value


@pytest.mark.parametrize("header", ["Accept", "Cookie", "X-Other", "X-Thing-Bin"])
async def test_other_header_stays_behind(served: Running, header: str) -> None:
    """T173."""
    answer = await served.send("GET", "/v1/inspect", headers={header: "*/*"})
    assert header.lower() not in answer.json["metadata"]
    assert not answer.json["binary"]


@pytest.mark.parametrize("text", ["AAH/", "AAH/AA", "AAH/AA=="])
async def test_binary_metadata_is_decoded(served: Running, text: str) -> None:
    """T175."""
    answer = await served.send("GET", "/v1/inspect", headers={"Grpc-Metadata-Thing-Bin": text})
    assert answer.json["binary"]["thing-bin"] == text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        pytest.param("Grpc-Metadata-Thing-Bin", "!!", id="T176"),
        pytest.param("Grpc-Metadata-Grpc-Timeout", "5S", id="reserved"),
        pytest.param("Grpc-Metadata-X-Forwarded-For", "1.2.3.4", id="spoofed"),
        *(
            pytest.param(f"Grpc-Metadata-{name}", "x", id=name)
            for name in ("Connection", "Host", "Keep-Alive", "Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade")
        ),
        pytest.param("Grpc-Metadata-", "x", id="nameless"),
        pytest.param("Grpc-Metadata-Foo", "café", id="not-ascii"),
        pytest.param("X-Request-Id", "a b", id="request-id"),
        pytest.param("Grpc-Timeout", "bad", id="T179-text"),
        pytest.param("Grpc-Timeout", "123456789S", id="T179-digits"),
        pytest.param("Grpc-Timeout", "5", id="T179-unit"),
        pytest.param("X-Request-Timeout", "soon", id="T179-seconds"),
        pytest.param("X-Request-Timeout", "-1", id="T179-negative"),
        pytest.param("X-Request-Timeout", "0", id="T179-zero"),
    ],
)
async def test_bad_header_is_refused_by_name(served: Running, header: str, value: str) -> None:
    answer = await served.send("GET", "/v1/inspect", headers={header: value})
    assert answer.status == 400
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert list(answer.violations) == [header]


@pytest.mark.parametrize("value", [b"x\xff", b"x\ty", "é.example".encode()])
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For"])
async def test_what_metadata_cannot_hold_is_refused(transport: Transport, header: str, value: bytes) -> None:
    """gRPC's own refusal would be an error of the gateway's."""
    lines = [b"GET /v1/inspect HTTP/1.1", *([] if header == "Host" else [b"Host: a"]), header.encode() + b": " + value]
    async with running(transport, config=GatewayConfig(trusted_proxies=["127.0.0.0/8"])) as served:
        answer = await exchange(served.base, b"\r\n".join(lines) + b"\r\n\r\n")
        assert (answer.status, answer.reason) == (400, "INVALID_HEADER")
        assert answer.json["error"]["details"][1]["field_violations"][0]["field"] == header


async def test_valid_call_after_a_bad_one(served: Running) -> None:
    """A bad timeout must not spoil the upstream's connection for others."""
    await served.get("/v1/inspect", Grpc_Timeout="bad")
    assert (await served.get("/v1/inspect", Grpc_Timeout="5S")).status == 200


async def test_request_id_is_echoed(served: Running) -> None:
    answer = await served.get("/v1/things/x", X_Request_Id="mine")
    assert answer.headers["X-Request-Id"] == "mine"


async def test_request_id_is_made(served: Running) -> None:
    answer = await served.get("/v1/inspect")
    assert answer.headers["X-Request-Id"] == answer.json["metadata"]["x-request-id"]
    assert (await served.get("/nowhere")).headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        pytest.param("Grpc-Timeout", "5S", 5.0, id="T178-S"),
        pytest.param("Grpc-Timeout", "2M", 120.0, id="T178-M"),
        pytest.param("Grpc-Timeout", "1H", 3600.0, id="T178-H"),
        pytest.param("Grpc-Timeout", "9000m", 9.0, id="T178-m"),
        pytest.param("Grpc-Timeout", "9000000u", 9.0, id="T178-u"),
        pytest.param("X-Request-Timeout", "7.5", 7.5, id="T178-seconds"),
    ],
)
async def test_deadline_reaches_the_handler(served: Running, header: str, value: str, seconds: float) -> None:
    answer = await served.send("GET", "/v1/inspect", headers={header: value})
    # gRPC rounds timeouts up on the wire.
    assert seconds - 2 < answer.json["time_remaining"] <= seconds * 1.01 + 0.1


@pytest.mark.parametrize("value", ["99999999H", "2562048H"])
async def test_a_deadline_is_never_too_long(served: Running, value: str) -> None:
    """In nanoseconds these leave 64 bits: they would be over at once."""
    assert (await served.get("/v1/inspect", Grpc_Timeout=value)).status == 200


async def test_no_deadline(served: Running) -> None:
    assert "time_remaining" not in (await served.get("/v1/inspect")).json


async def test_deadlines_of_the_configuration(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(default_timeout_s=20, max_timeout_s=40)) as served:
        assert 18 < (await served.get("/v1/inspect")).json["time_remaining"] <= 20.5
        assert 38 < (await served.get("/v1/inspect", Grpc_Timeout="1H")).json["time_remaining"] <= 41


@pytest.mark.parametrize("transport", ["in_process", "channel"])
@pytest.mark.asyncio(loop_scope="function")
async def test_deadline_passes(transport: Transport) -> None:
    """T181."""
    async with running(transport) as served:
        answer = await served.get("/v1/hang", X_Request_Timeout="0.5")
        assert answer.status == 504
        assert answer.json["error"]["status"] == "DEADLINE_EXCEEDED"
        await asyncio.wait_for(served.handlers.cancelled.wait(), 30)


@pytest.mark.parametrize("transport", ["in_process", "channel"])
@pytest.mark.parametrize("target", ["/v1/hang", "/v1/ticks?count=1&linger=true"])
@pytest.mark.asyncio(loop_scope="function")
async def test_caller_that_leaves_cancels_the_call(transport: Transport, target: str) -> None:
    async with running(transport) as served:
        host, port = served.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.wait_for(served.handlers.started.wait(), 30)
        assert not served.handlers.cancelled.is_set()
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(served.handlers.cancelled.wait(), 30)
        assert reader.at_eof() or await reader.read() is not None


async def test_peer_is_told(served: Running) -> None:
    answer = await served.get("/v1/inspect")
    assert answer.json["peer"].startswith("ipv4:127.0.0.1:")


class TestForwarded:
    """T182."""

    told: ClassVar = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "https"}

    async def test_strangers_are_not_believed(self, served: Running) -> None:
        metadata = (await served.send("GET", "/v1/inspect", headers=self.told)).json["metadata"]
        assert metadata["x-forwarded-for"] == "127.0.0.1"
        assert metadata["x-forwarded-host"] == served.base.removeprefix("http://")
        assert metadata["x-forwarded-proto"] == "http"

    async def test_trusted_proxies_are(self, transport: Transport) -> None:
        async with running(transport, config=GatewayConfig(trusted_proxies=["127.0.0.0/8"])) as served:
            metadata = (await served.send("GET", "/v1/inspect", headers=self.told)).json["metadata"]
            assert metadata["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
            assert metadata["x-forwarded-host"] == "api.example"
            assert metadata["x-forwarded-proto"] == "https"

    async def test_the_proxys_own_line_is_the_last(self, transport: Transport) -> None:
        """What comes before it was sent by the caller."""
        told = "".join(
            f"{name}: {value}\r\n"
            for name, *values in (
                ("X-Forwarded-For", "evil", "192.0.2.7"),
                ("X-Forwarded-Host", "evil.example", "api.example"),
                ("X-Forwarded-Proto", "http", "https"),
            )
            for value in values
        )
        async with running(transport, config=GatewayConfig(trusted_proxies=["127.0.0.0/8"])) as served:
            answer = await exchange(served.base, f"GET /v1/inspect HTTP/1.1\r\nHost: a\r\n{told}\r\n")
            metadata = answer.json["metadata"]
            assert metadata["x-forwarded-for"] == "evil, 192.0.2.7, 127.0.0.1"
            assert metadata["x-forwarded-host"] == "api.example"
            assert metadata["x-forwarded-proto"] == "https"


async def test_headers_that_are_long_are_not_kept_for_the_next_request(served: Running) -> None:
    """Names count as values do: of a thousand connections, each could leave megabytes behind."""
    host, port = served.base.removeprefix("http://").split(":")
    reader = HeaderReader(GatewayConfig())
    for length, kept in ((10, True), (5000, False)):
        message = make_mocked_request("GET", "/v1/inspect", headers={"X-" + "n" * length: "", "Host": f"{host}:{port}"})
        reader.read(message, "id", streaming=False)
        assert (reader.recall(message) is not None) is kept
    assert all(len(name) <= 128 for name in reader._keys)  # pyright: ignore[reportPrivateUsage]


async def test_calls_run_side_by_side(served: Running) -> None:
    start = time.monotonic()
    answers = await asyncio.gather(*(served.get("/v1/hang", X_Request_Timeout="0.5") for _ in range(20)))
    assert {answer.status for answer in answers} == {504}
    assert time.monotonic() - start < 20 * 0.5, "one after the other"


@pytest.mark.parametrize("target", ["/v1/things/x", "/v1/ticks"])
async def test_what_is_accepted_may_stand_in_several_headers(served: Running, target: str) -> None:
    lines = "Accept: text/html\r\nAccept: application/json\r\n"
    answer = await exchange(served.base, f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    assert answer.status == 200
