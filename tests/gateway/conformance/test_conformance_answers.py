"""Answers: floats as they were meant, and messages that JSON has no form for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration.gateway import UpstreamError
from orchestration.gateway.codec import Codec
from orchestration.gateway.responses import ResponseEncoder
from orchestration.gateway.systemparams import Style
from tests.support.transcoding_client import Running
from tests.support.transcoding_service import compile_protos, message, pool

pytestmark = pytest.mark.asyncio(loop_scope="module")


def printed(made: Any, field: str = "", style: Style | None = None) -> str:
    encoder = ResponseEncoder(pool().FindMessageTypeByName(made.DESCRIPTOR.full_name), field, Codec(compile_protos()))
    return (encoder if style is None else encoder.styled(style)).encode(made.SerializeToString())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("r_float?r_float=0.1&r_float=-1.5&r_float=NaN", [0.1, -1.5, "NaN"], id="list"),
        pytest.param("a_float?a_float=16777216", 16777216.0, id="whole"),
        pytest.param("a_float?a_float=3.4028235e38", 3.4028234663852886e38, id="largest"),
        pytest.param("a_float", 0.0, id="unset"),
        pytest.param("a_color?a_color=RED", "RED", id="enum"),
        pytest.param("a_color?a_color=RED&$alt=json;enum-encoding=int", 1, id="enum-as-number"),
        pytest.param("a_color?$alt=json;enum-encoding=int", 0, id="unset-enum-as-number"),
    ],
)
async def test_part_is_printed(served: Running, target: str, expected: Any) -> None:
    """T191."""
    answer = await served.get(f"/v1/everything/parts/{target}")
    assert answer.status == 200, answer.body
    assert answer.json == expected


@pytest.mark.parametrize(
    ("part", "body", "expected"),
    [
        pytest.param("mv_float", b'{"a":0.3,"b":"Infinity"}', {"a": 0.3, "b": "Infinity"}, id="map"),
        pytest.param("t_struct", b'{"a":[null,1.5,{"b":"c"}]}', {"a": [None, 1.5, {"b": "c"}]}, id="struct"),
        pytest.param("w_int64", b"9007199254740993", "9007199254740993", id="wrapper"),
        pytest.param("a_bytes", b'"_-8"', "/+8=", id="bytes"),
        pytest.param("t_any", b'{"@type":"x.example/gatewaytest.Sub","s":"y"}', None, id="any-of-another-host"),
    ],
)
async def test_body_is_a_field_and_so_is_the_answer(served: Running, part: str, body: bytes, expected: Any) -> None:
    """T128."""
    answer = await served.send("POST", f"/v1/everything/parts/{part}", body=body)
    assert answer.status == 200, answer.body
    assert answer.json == ({**json.loads(body), "n": 0} if expected is None else expected)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(["foo_bar", "a.b_c"], "fooBar,a.bC", id="usual"),
        pytest.param(["a.*", "*"], "a.*,*", id="wildcard"),
        pytest.param(["m.`k`", "é_b"], "m.`k`,éB", id="no-identifier"),
        pytest.param([], "", id="empty"),
    ],
)
async def test_mask_is_printed(paths: list[str], expected: str) -> None:
    made = message("Everything")()
    made.t_mask.paths.extend(paths)
    made.a_self.t_mask.paths.extend(paths)
    value = json.loads(printed(made))
    assert (value["t_mask"], value["a_self"]["t_mask"]) == (expected, expected)


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        pytest.param("t_mask", {"paths": ["aB"]}, id="mask-in-camel-case"),
        pytest.param("t_mask", {"paths": ["a_1"]}, id="mask-that-leads-elsewhere"),
        pytest.param("t_timestamp", {"seconds": 253402300800}, id="year-10000"),
        pytest.param("t_timestamp", {"nanos": -1}, id="nanos-below-0"),
        pytest.param("t_duration", {"seconds": 315576000001}, id="long-duration"),
        pytest.param("t_duration", {"seconds": 1, "nanos": -1}, id="signs-that-differ"),
        pytest.param("t_value", {"number_value": float("inf")}, id="infinite-value"),
    ],
)
async def test_message_without_json_is_an_error_of_the_service(field: str, parts: dict[str, Any]) -> None:
    made = message("Everything")(**{field: parts})
    for style in (None, Style(enums_as_numbers=True)):
        with pytest.raises(UpstreamError) as caught:
            printed(made, style=style)
        assert caught.value.code == 13
    with pytest.raises(UpstreamError):
        printed(made, field)


async def test_bytes_that_are_no_message_are_an_error_of_the_service() -> None:
    encoder = ResponseEncoder(
        pool().FindMessageTypeByName("gatewaytest.Everything"), "a_int32", Codec(compile_protos())
    )
    for style in (Style(), Style(enums_as_numbers=True)):
        with pytest.raises(UpstreamError):
            encoder.styled(style).encode(b"\xff\xff")


async def test_unknown_any_within_a_known_one() -> None:
    """T193."""
    inner = message("Everything")()
    inner.t_any.type_url, inner.t_any.value = "x/no.Such", b"\1"
    made = message("Everything")()
    made.t_any.Pack(inner)
    assert json.loads(printed(made))["t_any"]["t_any"] == {"@type": "x/no.Such", "value": "AQ=="}


async def test_indented_answer() -> None:
    text = printed(message("Everything")(r_color=[1]), "r_color", Style(enums_as_numbers=True, indented=True))
    assert text == "[\n  1\n]"
