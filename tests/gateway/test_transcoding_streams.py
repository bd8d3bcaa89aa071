"""Section L: server streams over plain HTTP."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from orchestration.gateway import GatewayConfig
from orchestration.gateway.streams import resume_query
from tests.support.raw_http import exchange
from tests.support.transcoding_client import Running, Transport, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = "text/event-stream"


def ticks(*numbers: int) -> list[dict[str, object]]:
    return [{"number": number, "cursor": str(number), "padding": ""} for number in numbers]


@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/x-ndjson", "application/jsonl;q=0.5"])
async def test_lines(served: Running, accept: str) -> None:
    """T197: JSON lines stand for what Envoy sends as an array."""
    answer = await served.get("/v1/ticks?count=3", Accept=accept)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.lines == [{"result": tick} for tick in ticks(1, 2, 3)]


async def test_events(served: Running) -> None:
    """T196."""
    answer = await served.get("/v1/ticks?count=2", Accept=EVENTS)
    assert answer.headers["Content-Type"] == EVENTS
    retry, first, second, end, rest = answer.body.split(b"\n\n")
    assert (retry, first.splitlines()[0], second.splitlines()[0]) == (b"retry: 2000", b"id: 1", b"id: 2")
    assert (end, rest) == (b"event: end\ndata: {}", b"")
    assert json.loads(first.splitlines()[1].removeprefix(b"data: ")) == ticks(1)[0]


@pytest.mark.parametrize("query", ["count=1", "cursor=2&count=1"])
async def test_events_are_taken_up_where_they_ended(served: Running, query: str) -> None:
    answer = await served.get(f"/v1/ticks?{query}", Accept=EVENTS, Last_Event_ID="7")
    assert answer.body.split(b"\n\n")[1].startswith(b"id: 8\n")


async def test_the_cursor_is_replaced_however_it_is_spelt() -> None:
    spellings = ("resume_token", "resumeToken")
    assert resume_query("resumeToken=1&a=b", spellings, "9") == "a=b&resume_token=9"
    assert resume_query("resume%54oken=1&resume_token=2", spellings, "9") == "resume_token=9"


@pytest.mark.parametrize(
    ("target", "body", "first"),
    [
        ("/v1/ticks", {"count": 1}, b"id: 1\n"),
        ("/v1/ticks/from/3", {"count": 1}, b"id: 4\n"),
    ],
)
async def test_no_taking_up_where_no_query_gives_the_cursor(
    served: Running, target: str, body: object, first: bytes
) -> None:
    """The event stream is what was asked for, from its beginning."""
    headers = {"Accept": EVENTS, "Last-Event-ID": "7"}
    answer = await served.send("POST", target, body=body, headers=headers)
    assert answer.status == 200
    assert answer.body.split(b"\n\n")[1].startswith(first)


async def test_last_event_that_is_not_utf_8(served: Running) -> None:
    head = f"GET /v1/ticks?count=1 HTTP/1.1\r\nHost: a\r\nAccept: {EVENTS}\r\nLast-Event-ID: ".encode()
    answer = await exchange(served.base, head + b"\xff\r\n\r\n")
    assert (answer.status, answer.reason) == (400, "INVALID_HEADER")


async def test_stream_of_a_post(served: Running) -> None:
    answer = await served.send("POST", "/v1/ticks", body={"count": 1})
    assert answer.lines == [{"result": ticks(1)[0]}]


@pytest.mark.parametrize("target", ["/v1/ticks", "/v1/rooms/a/collect"])
@pytest.mark.parametrize(("name", "value"), [("If-Match", '"v1"'), ("If-None-Match", "*")])
async def test_a_condition_that_cannot_be_checked_is_refused(
    served: Running, target: str, name: str, value: str
) -> None:
    answer = await served.send("POST", target, headers={name: value})
    assert (answer.status, list(answer.violations)) == (400, [name])


async def test_stream_of_nothing(served: Running) -> None:
    answer = await served.get("/v1/ticks")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("accept", ["*/*", EVENTS])
async def test_error_before_the_first_message(served: Running, accept: str) -> None:
    """T199."""
    answer = await served.get("/v1/ticks?fail_after=-1", Accept=accept)
    assert answer.status == 404
    assert answer.json["error"]["message"] == "no such stream"


async def test_bad_request_of_a_stream(served: Running) -> None:
    assert (await served.get("/v1/ticks?count=x")).violations.keys() == {"count"}


async def test_error_after_messages_in_lines(served: Running) -> None:
    """T200."""
    answer = await served.get("/v1/ticks?count=9&fail_after=2")
    assert answer.status == 200
    assert answer.lines[:2] == [{"result": tick} for tick in ticks(1, 2)]
    (last,) = answer.lines[2:]
    assert (last["error"]["code"], last["error"]["message"]) == (429, "that is enough")


async def test_error_after_messages_in_events(served: Running) -> None:
    """T200."""
    answer = await served.get("/v1/ticks?count=9&fail_after=1", Accept=EVENTS)
    event, data = answer.body.split(b"\n\n")[2].splitlines()
    assert event == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["status"] == "RESOURCE_EXHAUSTED"


async def test_unacceptable(served: Running) -> None:
    assert (await served.get("/v1/ticks", Accept="text/html")).status == 406


@pytest.mark.parametrize(("accept", "sign"), [("*/*", b"\n"), (EVENTS, b": keep-alive\n\n")])
async def test_silence_is_broken(transport: Transport, accept: str, sign: bytes) -> None:
    """T203; and the status line does not wait for a first message for ever."""
    config = GatewayConfig(keepalive_s=0.05, stream_start_s=0.05)
    async with (
        running(transport, config=config) as served,
        served.session.get(served.url("/v1/ticks?linger=true"), headers={"Accept": accept}) as response,
    ):
        assert response.status == 200
        if accept == EVENTS:
            assert await response.content.readexactly(13) == b"retry: 2000\n\n"
        assert await asyncio.wait_for(response.content.readexactly(2 * len(sign)), 30) == 2 * sign


async def test_chunks(served: Running) -> None:
    """T205."""
    answer = await served.get("/v1/chunks")
    assert (answer.headers["Content-Type"], answer.body) == ("text/csv", b"one,two,three")


async def test_deadline_of_a_stream(served: Running) -> None:
    answer = await served.get("/v1/ticks?count=1&linger=true", X_Request_Timeout="1")
    assert answer.lines[0] == {"result": ticks(1)[0]}
    assert answer.lines[1]["error"]["status"] == "DEADLINE_EXCEEDED"


async def test_slow_client_holds_up_the_handler(transport: Transport) -> None:
    """T187: what a client does not read waits in buffers that have an end."""
    async with (
        running(transport) as served,
        served.session.get(served.url("/v1/ticks?count=100000&padding=100000"), read_bufsize=2**16) as response,
    ):
        await response.content.readuntil(b"{")
        made = -1
        async with asyncio.timeout(60):
            while made != served.handlers.ticks:
                made = served.handlers.ticks
                await asyncio.sleep(0.3)
        assert made < 1000  # 100 MB
        assert not served.handlers.cancelled.is_set()


async def test_shutdown_ends_streams(transport: Transport) -> None:
    async with running(transport) as served:
        async with served.session.get(served.url("/v1/ticks?count=1&linger=true")) as response:
            await response.content.readline()
            pending = asyncio.create_task(response.content.read())
            await served.gateway.end_streams()
            with pytest.raises(aiohttp.ClientPayloadError):
                await asyncio.wait_for(pending, 30)
        await asyncio.wait_for(served.handlers.cancelled.wait(), 30)
