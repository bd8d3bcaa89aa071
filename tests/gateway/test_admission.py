"""Callers are let in before anything of their request is looked at."""

from __future__ import annotations

import gzip
from typing import Any

import grpc
import pytest

from orchestration.gateway import Call, UpstreamError
from tests.support.transcoding_client import Transport, running
from tests.support.transcoding_service import Handlers, message

ASKED: list[str] = []


def admit(method: str, call: Call) -> None:
    ASKED.append(method)
    if ("authorization", "Bearer me") not in call.metadata:
        raise UpstreamError(grpc.StatusCode.UNAUTHENTICATED.value[0], "who are you?")


@pytest.fixture(autouse=True)
def _nobody_asked() -> None:
    ASKED.clear()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/things", b"{bad"),
        ("POST", "/v1/things", gzip.compress(b"[" * 1_000_000)),
        ("GET", "/v1/things?nonsense=1", None),
        ("GET", "/v1/ticks?nonsense=1", None),
    ],
)
async def test_who_is_not_let_in_learns_nothing(
    transport: Transport, method: str, path: str, body: bytes | None
) -> None:
    async with running(transport, admit=admit) as served:
        headers = {"Content-Type": "application/json"}
        async with served.session.request(method, served.url(path), data=body, headers=headers) as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]["message"] == "who are you?"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert len(ASKED) == 1
    assert ASKED[0].startswith("/gatewaytest.")


async def test_a_handler_in_this_process_is_told_who_was_let_in() -> None:
    told: list[object] = []

    async def inspect(_: Any, context: Any) -> Any:
        told.append(context.admitted)
        return message("Thing")()

    handlers: Any = Handlers()
    handlers.on_get = inspect
    async with running(
        "in_process", handlers=handlers, admit=lambda _, call: dict(call.metadata)["x-request-id"]
    ) as served:
        for number in range(3):
            assert (await served.get("/v1/things/x", X_Request_Id=f"id-{number}")).status == 200
    assert told == ["id-0", "id-1", "id-2"]


async def test_who_is_let_in_is_asked_once(transport: Transport) -> None:
    async with running(transport, admit=admit) as served:
        answer = await served.get("/v1/things?name=x", Authorization="Bearer me")
        assert (answer.status, answer.json["name"]) == (200, "x")
    assert len(ASKED) == 1
