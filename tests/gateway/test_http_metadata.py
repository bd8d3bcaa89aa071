"""A service's metadata in answers: headers, trailers, the status of an answer that is OK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestration.gateway import GatewayConfig
from tests.support.library_service import Lending, lending
from tests.support.raw_http import RawAnswer, connected, exchange
from tests.support.transcoding_client import Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(transport: Transport) -> AsyncIterator[Lending]:
    async with lending(transport) as service:
        yield service


async def ask(served: Lending, *headers: str, **fields: Any) -> RawAnswer:
    body = json.dumps(fields)
    lines = ["POST /v1/metadata HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
    return await exchange(served.base, "\r\n".join(lines) + "\r\n\r\n" + body)


async def test_initial_metadata_becomes_headers(served: Lending) -> None:
    answer = await ask(served, initial={"shelf": "a 1", "x.y_z": "b"}, binary={"data-bin": "AAH/"})
    assert answer.all("Grpc-Metadata-Shelf") == ["a 1"]
    assert answer.all("Grpc-Metadata-x.y_z") == ["b"]
    assert answer.all("Grpc-Metadata-Data-Bin") == ["AAH/"]
    assert answer.json == {"text": "x"}


async def test_trailing_metadata_becomes_trailers(served: Lending) -> None:
    """T184."""
    answer = await ask(served, "TE: trailers", trailing={"took": "5", "other": "x"})
    assert (answer.status, answer.json) == (200, {"text": "x"})
    assert sorted(answer.trailers) == [("Grpc-Trailer-other", "x"), ("Grpc-Trailer-took", "5")]
    assert sorted(answer.all("Trailer")[0].split(", ")) == ["Grpc-Trailer-other", "Grpc-Trailer-took"]
    assert answer.all("Content-Length") == []


@pytest.mark.parametrize("header", ["TE: gzip", "X-TE: trailers", "TE: nottrailers"])
async def test_no_trailers_for_those_who_do_not_ask(served: Lending, header: str) -> None:
    """T184."""
    answer = await ask(served, header, trailing={"took": "5"})
    assert answer.trailers == []
    assert answer.all("Content-Length") == [str(len(answer.body))]
    assert not any("took" in name.lower() for name, _ in answer.headers)


@pytest.mark.parametrize("header", ["TE: gzip;q=0.5, trailers", "te: Trailers"])
async def test_trailers_however_asked_for(served: Lending, header: str) -> None:
    assert (await ask(served, header, trailing={"took": "5"})).trailers == [("Grpc-Trailer-took", "5")]


async def test_the_connection_goes_on_after_trailers(served: Lending) -> None:
    body = '{"trailing":{"a":"b"}}'
    request = f"POST /v1/metadata HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    async with connected(served.base) as connection:
        for _ in range(3):
            await connection.send(request)
            assert (await connection.answer()).trailers == [("Grpc-Trailer-a", "b")]


async def test_no_trailers_in_old_http(served: Lending) -> None:
    body = '{"trailing":{"a":"b"}}'
    head = f"POST /v1/metadata HTTP/1.0\r\nTE: trailers\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = await exchange(served.base, head + body)
    assert (answer.status, answer.trailers, answer.all("Transfer-Encoding")) == (200, [], [])


async def test_what_is_the_transports_own_stays_out(served: Lending) -> None:
    answer = await ask(served, "TE: trailers", initial={"x-request-id": "evil"}, trailing={"x-request-id": "evil"})
    assert answer.trailers == []
    assert [name for name, _ in answer.headers if name.lower().startswith("grpc-")] == []
    assert "evil" not in answer.all("X-Request-Id")


async def test_an_error_has_them_too(served: Lending) -> None:
    answer = await ask(served, initial={"shelf": "a"}, code=5)
    assert (answer.status, answer.all("Grpc-Metadata-Shelf")) == (404, ["a"])


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: evil=1", "a\nb", "a\0b", "é", "a\x7fb"])
async def test_a_value_cannot_leave_its_header(value: str) -> None:
    """In this process alone: gRPC refuses to send such a value."""
    async with lending("in_process") as service:
        answer = await ask(service, "TE: trailers", initial={"a": value}, trailing={"b": value, "c": "fine"})
        assert answer.status == 200
        assert answer.all("Set-Cookie") == answer.all("Grpc-Metadata-a") == []
        assert answer.trailers == [("Grpc-Trailer-c", "fine")]


async def test_keys_are_chosen_by_configuration(transport: Transport) -> None:
    async with lending(transport, GatewayConfig(response_metadata=["Shelf"])) as service:
        answer = await ask(service, "TE: trailers", initial={"shelf": "a", "other": "b"}, trailing={"other": "b"})
        assert answer.all("Grpc-Metadata-Shelf") == ["a"]
        assert answer.all("Grpc-Metadata-Other") == []
        assert answer.trailers == []
    async with lending(transport, GatewayConfig(response_metadata=[])) as service:
        answer = await ask(service, initial={"shelf": "a"})
        assert answer.all("Grpc-Metadata-Shelf") == []


async def test_status_is_the_services_by_configuration(transport: Transport) -> None:
    """T185."""
    async with lending(transport, GatewayConfig(metadata_status=True)) as service:
        created = await ask(service, initial={"x-http-code": "201", "location": "/v1/books/7"})
        assert (created.status, created.all("Location"), created.json) == (201, ["/v1/books/7"], {"text": "x"})
        assert [name for name, _ in created.headers if name.startswith("Grpc-")] == []
        nothing = await ask(service, trailing={"x-http-code": "204"})
        assert (nothing.status, nothing.body, nothing.all("Content-Type")) == (204, b"", [])
        for bad in ("500", "99", "2x1", "", "٢٠١"):
            if bad.isascii() or transport == "in_process":
                assert (await ask(service, initial={"x-http-code": bad})).status == 200
        failed = await ask(service, initial={"x-http-code": "201"}, code=5)
        assert failed.status == 404


@pytest.mark.parametrize("status", ["204", "304"])
async def test_no_trailers_after_an_answer_without_a_body(transport: Transport, status: str) -> None:
    """They would be taken for the beginning of the next answer."""
    body = json.dumps({"trailing": {"x-http-code": status, "took": "5"}})
    request = f"POST /v1/metadata HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    async with (
        lending(transport, GatewayConfig(metadata_status=True)) as service,
        connected(service.base) as connection,
    ):
        await connection.send(request + "GET /v1/text?text=next HTTP/1.1\r\nHost: a\r\n\r\n")
        first, second = await connection.answer(), await connection.answer()
        assert (first.status, first.all("Transfer-Encoding"), first.all("Trailer")) == (int(status), [], [])
        assert (second.status, second.json) == (200, {"text": "next"})


async def test_status_is_not_the_services_by_default(served: Lending) -> None:
    """T185."""
    answer = await ask(served, initial={"x-http-code": "201", "location": "/x"})
    assert (answer.status, answer.all("Location")) == (200, [])


class TestRequestHeaders:
    """T173, T175: what else becomes metadata, by configuration."""

    async def test_named_headers(self, transport: Transport) -> None:
        config = GatewayConfig(forward_headers=["X-Tenant", "X-Thing-Bin"])
        async with running(transport, config=config) as service:
            answer = await service.get("/v1/inspect", X_Tenant="t1", X_Thing_Bin="AAH/", X_Other="no")
            assert answer.json["metadata"]["x-tenant"] == "t1"
            assert answer.json["binary"] == {"x-thing-bin": "AAH/"}
            assert "x-other" not in answer.json["metadata"]
            bad = await service.get("/v1/inspect", X_Thing_Bin="!!")
            assert (bad.status, list(bad.violations)) == (400, ["X-Thing-Bin"])

    async def test_permanent_headers(self, transport: Transport) -> None:
        """T173."""
        async with running(transport, config=GatewayConfig(permanent_headers=True)) as service:
            metadata = (await service.get("/v1/inspect", Accept="*/*", Cookie="a=b", X_Other="no")).json["metadata"]
            assert (metadata["grpcgateway-accept"], metadata["grpcgateway-cookie"]) == ("*/*", "a=b")
            assert "accept" not in metadata
            assert "x-other" not in metadata

    @pytest.mark.parametrize("name", ["X-Forwarded-For", "x-request-id", "Grpc-Timeout", "grpc-status", "TE", "Host"])
    async def test_the_gateways_own_cannot_be_taken_over(self, name: str) -> None:
        with pytest.raises(ValueError, match="forward_headers"):
            GatewayConfig(forward_headers=[name])
