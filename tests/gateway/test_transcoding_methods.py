"""Section H: HTTP methods, and browsers of other origins."""

from __future__ import annotations

import pytest

from orchestration.gateway import GatewayConfig
from tests.support.transcoding_client import Running, Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "https://page.example"


async def test_wrong_method_names_the_right_ones(served: Running) -> None:
    """T143."""
    answer = await served.send("POST", "/v1/things/abc")
    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PURGE, PUT"
    assert answer.reason == "METHOD_NOT_ALLOWED"


async def test_head_is_a_get_without_its_body(served: Running) -> None:
    """T145."""
    get, head = await served.get("/v1/things/abc"), await served.send("HEAD", "/v1/things/abc")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


async def test_head_of_an_error(served: Running) -> None:
    head = await served.send("HEAD", "/v1/things?nope=1")
    assert (head.status, head.body) == (400, b"")


async def test_head_of_a_stream_asks_for_nothing(served: Running) -> None:
    head = await served.send("HEAD", "/v1/ticks?count=3")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == "application/x-ndjson"


async def test_custom_head(served: Running) -> None:
    """T146."""
    head = await served.send("HEAD", "/v1/heads/x")
    assert (head.status, head.body) == (200, b"")
    assert (await served.get("/v1/heads/x")).status == 405


@pytest.mark.parametrize("method", ["GET", "PURGE", "POST"])
async def test_any_method(served: Running, method: str) -> None:
    """T148."""
    answer = await served.send(method, "/v1/any/x")
    assert answer.json["name"] == "x"


async def test_custom_method(served: Running) -> None:
    assert (await served.send("PURGE", "/v1/things/x")).json["name"] == "x"


async def test_method_is_never_overridden(served: Running) -> None:
    """T149."""
    answer = await served.send("POST", "/v1/things/abc", headers={"X-HTTP-Method-Override": "GET"})
    assert answer.status == 405


async def test_options(served: Running) -> None:
    answer = await served.send("OPTIONS", "/v1/things")
    assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_other_origins_are_let_in_by_configuration(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(cors_origins=[PAGE])) as served:
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization",
        }
        preflight = await served.send("OPTIONS", "/v1/things/x", headers=asked)
        assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
        assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
        assert preflight.headers["Access-Control-Allow-Headers"] == "authorization"
        answer = await served.get("/v1/things/x", Origin=PAGE)
        assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (PAGE, "Origin")
        refused = await served.get("/v1/things?nope=1", Origin=PAGE)
        assert refused.headers["Access-Control-Allow-Origin"] == PAGE
        other = await served.get("/v1/things/x", Origin="https://other.example")
        assert "Access-Control-Allow-Origin" not in other.headers
