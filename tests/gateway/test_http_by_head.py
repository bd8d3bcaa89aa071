"""Requests whose head came before on their connection: answered as any other, whatever comes between."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from contextvars import ContextVar
from typing import Any

import grpc
import pytest

from orchestration.gateway import Call, GatewayConfig, UpstreamError
from orchestration.gateway.errors import RequestError
from orchestration.gateway.repeats import Repeats
from orchestration.gateway.serving import Server
from tests.support.raw_http import RawConnection, connected, exchange
from tests.support.repeated_requests import GET, HOST, Told, ask, get, post, told, warm
from tests.support.transcoding_client import running
from tests.support.transcoding_service import Handlers, message

_caller: ContextVar[str] = ContextVar("_caller", default="nobody")

REQUESTS = (
    GET,
    get("y"),
    get("x", "Accept: text/plain"),
    get("x", "If-None-Match: *"),
    get("x", "Content-Length: 0"),
    get("x", "Upgrade: websocket", "Connection: Upgrade"),
    get("x", "Connection: keep-alive"),
    f"\r\n{GET}",
    f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n",
    f"GET /healthz HTTP/1.1\r\n{HOST}\r\n",
    f"OPTIONS /v1/things/x HTTP/1.1\r\n{HOST}\r\n",
    post({"name": "a"}),
    post({"name": "b"}),
    post({"nope": 1}),
    post({"name": 1}),
    post("{", "Content-Type: application/json"),
    post(""),
    post({"name": "a"}, "Content-Type: text/plain"),
    post({"name": "a"}).replace("Content-Length: ", "Content-Length: 00"),
    f"POST /v1/things HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n" + 'c\r\n{"name":"c"}\r\n0\r\n\r\n',
)
REFUSED = (
    post({"name": "a"}, "Content-Length: 2"),
    post({"name": "a"}, "Transfer-Encoding: chunked"),
    post({"name": "a"}).replace("Content-Length: ", "Content-Length: +"),
    get("x", "Content-Length : 0"),
    get("x", "X-A: \x00"),
    get("x", "X-Folded: a\r\n b"),
    get("x", "Transfer-Encoding: identity"),
    GET.replace("\r\n", "\n"),
    "GET\r\n\r\n",
)
"""Requests that end their connection."""


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that were parsed."""
    found: list[str] = []
    note = Repeats.parsed

    def noting(self: Repeats, request: Any) -> None:
        found.append(request.path)
        note(self, request)

    monkeypatch.setattr(Repeats, "parsed", noting)
    return found


async def test_a_head_that_came_before_is_not_parsed_again(parsed: list[str]) -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        for request, name in ((GET, "x"), (post({"name": "a"}), "a"), (post({"name": "b"}), "b"), (GET, "x")) * 5:
            answer = await ask(connection, request)
            assert (answer.status, answer.json["name"]) == (200, name)
            assert len(answer.all("X-Request-Id")[0]) == 32
    assert parsed == ["/v1/things/x", "/v1/things"]


async def test_requests_that_take_turns(parsed: list[str]) -> None:
    requests = (GET, post({"name": "a"}), get("y", "Accept: application/json"), post({"name": "longer"}))
    async with running("in_process") as served, connected(served.base) as connection:
        for _ in range(10):
            for request in requests:
                assert (await ask(connection, request)).status == 200
    assert len(parsed) == len(requests)


async def test_few_heads_are_known_until_others_come_for_long(parsed: list[str]) -> None:
    old, new = [get(f"n{number}") for number in range(9)], get("new")
    async with running("in_process") as served, connected(served.base) as connection:
        await warm(connection, *old)
        parsed.clear()
        await warm(connection, *old)
        assert parsed == ["/v1/things/n8"] * 2, "there are eight at most"
        for number in range(70):
            await warm(connection, get(f"other{number}"))
        await warm(connection, new)
        parsed.clear()
        await warm(connection, new)
        assert parsed == []


async def test_long_heads_are_not_kept(parsed: list[str]) -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        for _ in range(4):
            await warm(connection, get("long", f"X-Long: {'x' * 5000}"))
    assert len(parsed) == 8


@pytest.mark.parametrize("seed", range(6))
async def test_answers_are_those_of_connections_of_their_own(seed: int) -> None:
    """Requests come whole, in pieces, and several in one."""
    chosen = random.Random(seed)
    weights = [6, 3, *[1] * (len(REQUESTS) - 2)]
    async with running("in_process") as served:
        alone = {request: await exchange(served.base, request) for request in REQUESTS}
        for _ in range(5):
            async with connected(served.base) as connection:
                for _ in range(40):
                    batch = chosen.choices(REQUESTS, weights=weights, k=chosen.choice((1, 1, 1, 2, 4)))
                    if chosen.random() < 0.3:
                        batch = batch[:1] * 3
                    await _send_in_pieces(connection, "".join(batch), chosen)
                    for request in batch:
                        assert told(await connection.answer()) == told(alone[request]), request


async def _send_in_pieces(connection: RawConnection, text: str, chosen: random.Random) -> None:
    while text:
        cut = chosen.randrange(1, len(text) + 1) if chosen.random() < 0.3 else len(text)
        await connection.send(text[:cut])
        text = text[cut:]
        await asyncio.sleep(0)


@pytest.mark.parametrize("request_text", REQUESTS)
async def test_whatever_came_before_it_once_and_again(request_text: str) -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        expected, usual = told(await exchange(served.base, request_text)), told(await exchange(served.base, GET))
        for _ in range(4):
            assert told(await ask(connection)) == usual
            assert told(await ask(connection, request_text)) == expected
            assert told(await ask(connection, request_text)) == expected


@pytest.mark.parametrize("request_text", REFUSED)
async def test_what_is_refused_after_known_heads(request_text: str) -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        expected = told(await exchange(served.base, request_text))
        await warm(connection, GET, post({"name": "a"}))
        assert told(await ask(connection, request_text)) == expected
        assert await connection.closed()


async def test_a_body_does_not_become_a_request() -> None:
    """More or less than the head announces, where the rest looks like a head that is known."""
    body = json.dumps({"name": "x" * (len(GET) - len('{"name": ""}'))})
    assert len(body) == len(GET)
    request = post(body)
    async with running("in_process") as served, connected(served.base) as connection:
        await warm(connection, GET, request)
        assert (await ask(connection, request + GET)).json["name"][:2] == "xx"
        assert (await connection.answer()).json["name"] == "x"
        await warm(connection, request)
        await connection.send(request[: -len(body)])
        await asyncio.sleep(0.05)  # nothing can be told of a head that is waited on
        answer = await ask(connection, GET + GET)
        assert (answer.status, answer.reason) == (400, "JSON_INVALID")
        assert (await connection.answer()).json["name"] == "x"


async def test_a_part_of_a_head_that_goes_on_like_another() -> None:
    """What is a head by itself is a part of one, as its beginning came along with the request before."""
    async with running("in_process") as served, connected(served.base) as connection:
        await warm(connection)
        assert (await ask(connection, GET + "GET /v1/things/y HTTP/1.1\r\nX-Other: ")).json["name"] == "x"
        assert (await ask(connection, GET)).json["name"] == "y"


@pytest.mark.parametrize("repeated", [False, True])
async def test_failures_that_look_like_the_clients(repeated: bool) -> None:
    """Whoever asks for the caller's rights cannot reach where they are kept."""

    def admit(_: str, __: Call) -> None:
        if fails:
            raise ConnectionRefusedError("not there")

    fails = False
    async with running("in_process", admit=admit) as served, connected(served.base) as connection:
        if repeated:
            await warm(connection)
        fails = True
        answer = await ask(connection)
        assert (answer.status, answer.json["error"]["message"]) == (500, "The gateway failed unexpectedly.")
        fails = False
        assert (await ask(connection)).status == 200


async def test_callers_are_asked_for_their_rights_each_time() -> None:
    def admit(_: str, call: Call) -> str:
        key = dict(call.metadata)["authorization"]
        if key not in keys:
            raise UpstreamError(grpc.StatusCode.UNAUTHENTICATED.value[0], "no such key")
        return str(key)

    keys = {"Bearer a", "Bearer b"}
    first, second = get("x", "Authorization: Bearer a"), get("x", "Authorization: Bearer b")
    async with running("in_process", admit=admit) as served, connected(served.base) as connection:
        await warm(connection, first, second)
        keys.remove("Bearer a")
        assert [(await ask(connection, each)).status for each in (first, second) * 2] == [401, 200] * 2
        keys.add("Bearer a")
        assert (await ask(connection, first)).status == 200


@pytest.mark.parametrize("status", [201, 204, 302, 304])
async def test_statuses_that_the_service_chooses(status: int, parsed: list[str]) -> None:
    handlers = Told()

    async def choose(context: Any) -> None:
        await context.send_initial_metadata((("x-http-code", str(status)), ("location", "/v1/there")))

    config = GatewayConfig(metadata_status=True)
    async with (
        running("in_process", handlers=handlers, config=config) as served,
        connected(served.base) as connection,
    ):
        await warm(connection)
        handlers.does = choose
        expected = told(await exchange(served.base, GET))
        assert expected[0] == status
        parsed.clear()
        for _ in range(3):
            assert told(await ask(connection)) == expected
        assert parsed == []
        handlers.does = None
        assert (await ask(connection)).status == 200


async def test_metadata_of_answers_and_of_errors() -> None:
    handlers = Told()

    async def tell(context: Any) -> None:
        await context.send_initial_metadata((("color", "red"),))

    async def fail(context: Any) -> None:
        await tell(context)
        await context.abort(grpc.StatusCode.ABORTED, "again")

    config = GatewayConfig(response_metadata=["color"])
    async with (
        running("in_process", handlers=handlers, config=config) as served,
        connected(served.base) as connection,
    ):
        await warm(connection)
        for does, status in ((tell, 200), (fail, 409)) * 2:
            handlers.does = does
            expected = told(await exchange(served.base, GET))
            assert (expected[0], ("Grpc-Metadata-color", "red") in expected[1]) == (status, True)
            assert told(await ask(connection)) == expected


async def test_bodies_that_are_compressed() -> None:
    head = f"POST /v1/things HTTP/1.1\r\n{HOST}Content-Encoding: gzip\r\nContent-Length: "
    body = gzip.compress(b'{"name":"packed"}')
    async with running("in_process") as served, connected(served.base) as connection:
        for _ in range(4):
            await connection.send(f"{head}{len(body)}\r\n\r\n".encode() + body)
            assert (await connection.answer()).json["name"] == "packed"


async def test_an_error_that_ends_the_connection() -> None:
    def admit(_: str, __: Call) -> None:
        if ends:
            raise RequestError(
                429, grpc.StatusCode.RESOURCE_EXHAUSTED, "ENOUGH", "enough", headers={"Connection": "close"}
            )

    ends = False
    async with running("in_process", admit=admit) as served, connected(served.base) as connection:
        await warm(connection)
        ends = True
        answer = await ask(connection)
        assert (answer.status, answer.all("Connection")) == (429, ["close"])
        assert await connection.closed()


async def test_an_answer_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway itself would put a line break into a header: nothing is sent, and nothing follows."""

    def split(*_: object) -> dict[str, str]:
        return {"X-Split": "a\r\nb"}

    async with running("in_process") as served, connected(served.base) as connection:
        await warm(connection)
        monkeypatch.setattr(Server, "answer_headers", split)
        await connection.send(GET + GET)
        assert await connection.closed()


async def test_what_a_request_sets_the_next_one_does_not_see() -> None:
    handlers, let = Told(), asyncio.Event()
    seen: list[str] = []

    async def note(_: Any) -> None:
        seen.append(_caller.get())
        _caller.set("somebody")
        await let.wait()
        seen.append(f"still {_caller.get()}")

    let.set()
    handlers.does = note
    async with running("in_process", handlers=handlers) as served, connected(served.base) as connection:
        await warm(connection, GET, get("y"))
        let.clear()
        await connection.send(GET)
        await handlers.called(5)
        await connection.send(get("y"))
        await connection.send(GET)
        let.set()
        for _ in range(3):
            assert (await connection.answer()).status == 200
        await warm(connection)
    assert seen == ["nobody", "still somebody"] * 9


async def test_after_a_stream_on_the_connection() -> None:
    async with running("in_process") as served, connected(served.base) as connection:
        await warm(connection)
        answer = await ask(connection, f"GET /v1/ticks?count=3 HTTP/1.1\r\n{HOST}\r\n")
        assert (answer.status, len(answer.body.splitlines())) == (200, 3)
        await warm(connection)


async def test_with_a_channel_to_the_service(parsed: list[str]) -> None:
    async with running("channel") as served, connected(served.base) as connection:
        await warm(connection, GET, post({"name": "a"}))
        parsed.clear()
        for _ in range(3):
            assert (await ask(connection, post({"name": "a"}))).json["name"] == "a"
        assert parsed == []
        failing = post({"code": 5, "message": "gone"}).replace("/v1/things", "/v1/fail")
        expected = told(await exchange(served.base, failing))
        assert expected[0] == 404
        for _ in range(3):
            assert told(await ask(connection, failing)) == expected


class Typed(Handlers):
    """Says that its file is of a type in which there is a tab, which headers may hold."""

    async def on_getfile(self, request: Any, context: Any) -> Any:
        reply = message("Upload")(name=request.name)
        reply.file.content_type, reply.file.data = "text/plain;\tcharset=utf-8", b"text"
        return reply


async def test_headers_with_a_tab() -> None:
    async with running("in_process", handlers=Typed()) as served, connected(served.base) as connection:
        for _ in range(3):
            answer = await ask(connection, f"GET /v1/download/x HTTP/1.1\r\n{HOST}\r\n")
            assert (answer.all("Content-Type"), answer.body) == (["text/plain;\tcharset=utf-8"], b"text")
