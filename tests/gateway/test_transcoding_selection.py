"""System parameters that shape an answer: parts of it by ``fields``, and streams as events by ``alt``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration.gateway import GatewayConfig
from orchestration.gateway.systemparams import Style, SystemParameters
from tests.support.library_service import lending
from tests.support.transcoding_client import Running, running
from tests.support.transcoding_service import pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

THING = {
    "name": "x",
    "camel_case_field": "c",
    "renamed": "r",
    "sub": {"s": "a", "n": 1, "deep": {"s": "b", "deep": {"s": "c"}}},
    "subs": [{"s": "d", "n": 2}, {"s": "e", "n": 3}],
    "rs": ["f", "g"],
    "m": {"k": "v", "a.b": "w"},
    "msub": {"k": {"s": "h", "n": 4}, "l": {"s": "i", "n": 5}},
    "st": {"free": {"x": 1, "y": [{"z": 2, "u": 3}]}, "other": 1},
    "ts": "2020-01-01T00:00:00Z",
    "color": "RED",
    "i64": "5",
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("name", {"name": "x"}),
        ("name,color,i64,ts", {"name": "x", "color": "RED", "i64": "5", "ts": "2020-01-01T00:00:00Z"}),
        ("camelCaseField", {"camel_case_field": "c"}),
        ("camel_case_field", {"camel_case_field": "c"}),
        ("custom", {"renamed": "r"}),
        ("b,i32", {"b": False, "i32": 0}),
        ("opt", {}),
        ("sub.s", {"sub": {"s": "a"}}),
        ("sub/s", {"sub": {"s": "a"}}),
        ("sub(s)", {"sub": {"s": "a"}}),
        ("sub(s,n)", {"sub": {"s": "a", "n": 1}}),
        ("sub.s,sub.n", {"sub": {"s": "a", "n": 1}}),
        ("sub.s,sub", {"sub": THING["sub"]}),
        ("sub,sub.s", {"sub": THING["sub"]}),
        ("sub.*", {"sub": THING["sub"]}),
        ("sub(deep/deep.s,s)", {"sub": {"s": "a", "deep": {"deep": {"s": "c"}}}}),
        ("sub(deep(s,deep(s)))", {"sub": {"deep": {"s": "b", "deep": {"s": "c"}}}}),
        ("subs.n", {"subs": [{"n": 2}, {"n": 3}]}),
        ("subs(s),rs", {"subs": [{"s": "d"}, {"s": "e"}], "rs": ["f", "g"]}),
        ("m", {"m": THING["m"]}),
        ("m.k", {"m": {"k": "v"}}),
        ("m.`a.b`", {"m": {"a.b": "w"}}),
        ("m.nope", {"m": {}}),
        ("msub.k", {"msub": {"k": {"s": "h", "n": 4}}}),
        ("msub.*.s", {"msub": {"k": {"s": "h"}, "l": {"s": "i"}}}),
        ("msub(*(s),l(n))", {"msub": {"k": {"s": "h"}, "l": {"s": "i", "n": 5}}}),
        ("msub.k.n,msub.k.s", {"msub": {"k": {"n": 4, "s": "h"}}}),
        ("st", {"st": THING["st"]}),
        ("st.free.y.z", {"st": {"free": {"y": [{"z": 2}]}}}),
        ("st.*.x", {"st": {"free": {"x": 1}, "other": 1}}),
    ],
)
@pytest.mark.parametrize("name", ["fields", "$fields", "%24fields"])
async def test_part_of_an_answer(served: Running, name: str, fields: str, expected: Any) -> None:
    answer = await served.send("POST", f"/v1/things?{name}={fields}", body=THING)
    assert answer.status == 200, answer.body
    assert answer.json == expected


@pytest.mark.parametrize("fields", ["", "*"])
async def test_the_whole_answer(served: Running, fields: str) -> None:
    whole = await served.send("POST", "/v1/things", body=THING)
    assert (await served.send("POST", f"/v1/things?fields={fields}", body=THING)).body == whole.body


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("nope", "Thing has no field 'nope'"),
        ("sub.nope", "Sub has no field 'nope'"),
        ("name.x", "nothing can follow 'name'"),
        ("ts.seconds", "nothing can follow 'ts'"),
        ("*.s", "nothing can follow '*'"),
        ("sub(", "the name of a field is missing"),
        ("sub(s", "a closing parenthesis is missing"),
        ("sub()", "expected the name of a field, found"),
        ("sub(s))", "expected a comma, found"),
        ("name,", "the name of a field is missing"),
        (",name", "expected the name of a field, found ','"),
        ("name,,b", "expected the name of a field, found ','"),
        ("sub..s", "expected the name of a field, found"),
        ("name+b", "expected names of fields"),
        ("m.`a", "expected names of fields"),
        ("sub" + ".deep" * 200, "more than 100 levels"),
        ("sub" + "(deep" * 200 + ")" * 200, "more than 100 levels"),
    ],
)
async def test_what_selects_nothing_is_refused(served: Running, fields: str, said: str) -> None:
    answer = await served.send("POST", f"/v1/things?fields={fields}", body=THING)
    assert (answer.status, answer.reason, list(answer.violations)) == (400, "INVALID_QUERY", ["fields"])
    assert said in answer.violations["fields"]


@pytest.mark.parametrize("target", ["/v1/chunks", "/v1/download/x"])
async def test_an_answer_without_fields(served: Running, target: str) -> None:
    answer = await served.get(f"{target}?fields=data")
    assert answer.violations == {"fields": 'this answer has no fields to choose from, got "data"'}


async def test_together_with_the_others(served: Running) -> None:
    answer = await served.send(
        "POST", "/v1/things?$alt=json;enum-encoding=int&$fields=color&$prettyPrint=true", body=THING
    )
    assert answer.body == b'{\n  "color": 1\n}'


async def test_a_field_of_the_request_keeps_its_name() -> None:
    """A Struct has one that is called so; the dollar tells the parameter from it."""
    request = pool().FindMessageTypeByName("google.protobuf.Struct")
    answer = pool().FindMessageTypeByName("gatewaytest.Sub")
    parameters = SystemParameters(request, answer, GatewayConfig(), events=False)
    assert parameters.take("fields=s&$fields=n") == ("fields=s", Style(selection={"n": None}))


async def test_tag_and_next_page_are_those_of_the_whole() -> None:
    async with lending() as served:
        served.library.book = {"title": "x", "etag": "v1"}
        answer = await served.get("/v1/books/1?fields=title")
        assert (answer.json, answer.headers["ETag"]) == ({"title": "x"}, '"v1"')
        assert (await served.get("/v1/books/1?fields=title", If_None_Match='"v1"')).status == 304
        served.library.next_page_token = "next"
        answer = await served.get("/v1/books?fields=books(title)&page_size=1")
        assert set(answer.json) == {"books"}
        assert answer.headers["Link"] == (
            f'<{served.base}/v1/books?fields=books(title)&page_size=1&page_token=next>; rel="next"'
        )


async def test_a_long_answer_is_compressed_after_the_choice() -> None:
    async with lending(config=GatewayConfig(compress_min_bytes=1000)) as served:
        served.library.book = {"title": "x", "text": "y" * 5000}
        assert "Content-Encoding" not in (await served.get("/v1/books/1?fields=title", Accept_Encoding="gzip")).headers
        assert (await served.get("/v1/books/1?fields=text", Accept_Encoding="gzip")).headers[
            "Content-Encoding"
        ] == "gzip"


EVENTS = "text/event-stream"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/x-ndjson", EVENTS])
@pytest.mark.parametrize("query", ["$alt=sse", "alt=sse", "alt=sse;enum-encoding=int", "%24alt=sse"])
async def test_a_stream_as_events(served: Running, accept: str, query: str) -> None:
    answer = await served.get(f"/v1/ticks?count=1&{query}", Accept=accept)
    assert (answer.status, answer.headers["Content-Type"]) == (200, EVENTS)
    plain = await served.get("/v1/ticks?count=1", Accept=EVENTS)
    assert answer.body == plain.body


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("*/*", "application/x-ndjson"), ("application/json", "application/json"), (EVENTS, EVENTS)],
)
async def test_json_leaves_the_form_of_a_stream_to_the_headers(served: Running, accept: str, expected: str) -> None:
    answer = await served.get("/v1/ticks?count=1&$alt=json", Accept=accept)
    assert answer.headers["Content-Type"] == expected


async def test_events_are_resumed_though_their_cursors_are_not_wanted(served: Running) -> None:
    answer = await served.get("/v1/ticks?count=1&alt=sse&fields=number", Last_Event_ID="7")
    assert answer.body.split(b"\n\n")[1] == b'id: 8\ndata: {"number":8}'


@pytest.mark.parametrize(
    ("accept", "expected"), [("*/*", {"result": {"number": 1}}), ("application/json", [{"number": 1}])]
)
async def test_parts_of_messages(served: Running, accept: str, expected: Any) -> None:
    assert json.loads((await served.get("/v1/ticks?count=1&fields=number", Accept=accept)).body) == expected


async def test_parts_of_frames(served: Running) -> None:
    async with served.socket("/v1/ticks?count=1&$fields=cursor") as socket:
        assert await socket.receive_json(timeout=30) == {"result": {"cursor": "1"}}


async def test_part_of_the_answer_to_a_clients_stream(served: Running) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await served.send("POST", "/v1/rooms/a/collect?fields=count", body=b'{"text":"x"}\n', headers=headers)
    assert answer.json == {"count": 1}


@pytest.mark.parametrize(
    ("target", "offered"),
    [
        ("/v1/things/x?alt=sse", "json"),
        ("/v1/chunks?alt=sse", "json"),
        ("/v1/ticks?alt=proto", "json or sse"),
        ("/v1/ticks?alt=SSE", "json or sse"),
    ],
)
async def test_other_forms_are_refused(served: Running, target: str, offered: str) -> None:
    answer = await served.get(target)
    assert answer.status == 400
    assert answer.violations["alt"].startswith(f"expected {offered}, with or without ;enum-encoding=int, got")


async def test_a_socket_has_no_events(served: Running) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    answer = await served.send("GET", "/v1/ticks?count=1&alt=sse", headers=headers)
    assert (answer.status, list(answer.violations)) == (400, ["alt"])


async def test_unknown_system_parameters_say_which_there_are(served: Running) -> None:
    answer = await served.get("/v1/things/x?$callback=f")
    assert answer.violations["$callback"].endswith("$.xgafv, $alt, $fields, $prettyPrint, alt, fields, prettyPrint")
    async with running("in_process", config=GatewayConfig(unknown_query=frozenset({"$callback"}))) as lenient:
        assert (await lenient.get("/v1/things/x?$callback=f")).status == 200
        assert (await lenient.get("/v1/things/x?$key=f")).status == 400
    async with running("in_process", config=GatewayConfig(unknown_query="ignore")) as lenient:
        assert (await lenient.get("/v1/things/x?$callback=f&$key=g")).status == 200
