"""Section K: bodies of answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.transcoding_client import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_proto_json(served: Running) -> None:
    """T188, with proto names, and all fields without presence."""
    answer = await served.get("/v1/things?i64=5&color=RED&data=aGk&ts=2020-01-01T00:00:00Z&camelCaseField=x&cb=0")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {
        "name": "",
        "b": False,
        "i32": 0,
        "i64": "5",
        "u32": 0,
        "u64": "0",
        "s32": 0,
        "s64": "0",
        "f32": 0,
        "f64": "0",
        "sf32": 0,
        "sf64": "0",
        "f": 0.0,
        "d": 0.0,
        "data": "aGk=",
        "color": "RED",
        "rs": [],
        "ri": [],
        "subs": [],
        "m": {},
        "msub": {},
        "mi": {},
        "cb": 0,
        "camel_case_field": "x",
        "renamed": "",
        "ts": "2020-01-01T00:00:00Z",
        "colors": [],
        "rts": [],
    }


async def test_empty_response(served: Running) -> None:
    """T190."""
    answer = await served.send("DELETE", "/v1/things/x")
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("sub/x?sub.s=y", {"s": "y", "n": 0}, id="T191-message"),
        pytest.param("sub/x", {}, id="T191-no-message"),
        pytest.param("rs?rs=a&rs=b", ["a", "b"], id="T191-list"),
        pytest.param("rs", [], id="T191-no-list"),
        pytest.param("i32?i32=5", 5, id="T191-scalar"),
        pytest.param("i32", 0, id="T191-no-scalar"),
        pytest.param("m", {}, id="T191-no-map"),
        pytest.param("opt?opt=x", "x", id="T191-optional"),
        pytest.param("opt", "", id="T191-no-optional"),
        pytest.param("ts?ts=2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", id="T191-timestamp"),
        pytest.param("ts", None, id="T191-no-timestamp"),
    ],
)
async def test_response_body(served: Running, target: str, expected: Any) -> None:
    answer = await served.get(f"/v1/part/{target}")
    assert answer.status == 200, answer.body
    assert answer.json == expected


async def test_response_body_of_a_map(served: Running) -> None:
    """T191."""
    answer = await served.send("POST", "/v1/part/m", body={"m": {"k": "v"}})
    assert answer.json == {"k": "v"}


async def test_any_of_an_unknown_type(served: Running) -> None:
    """T193."""
    answer = await served.get("/v1/unknown-any")
    assert answer.json["any"] == {"@type": "type.example.com/no.Such", "value": "AQI="}


async def test_any_of_a_known_type(served: Running) -> None:
    body = {"any": {"@type": "type.googleapis.com/gatewaytest.Sub", "s": "x"}}
    assert (await served.send("POST", "/v1/things", body=body)).json["any"] == {**body["any"], "n": 0}


async def test_text_is_not_escaped(served: Running) -> None:
    assert "€".encode() in (await served.get("/v1/things/%E2%82%AC")).body
