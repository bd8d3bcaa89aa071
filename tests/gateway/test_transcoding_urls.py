"""Sections C, D and E: percent-decoding, and what a query may say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.transcoding_client import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEEP = ".".join(["sub", *["deep"] * 120, "s"])


def at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(
    ("target", "name"),
    [
        pytest.param("/v1/things/a%2Fb", "a/b", id="T041"),
        pytest.param("/v1/shelves/1%21x/books/b%3Fc", "shelves/1!x/books/b?c", id="T043"),
        pytest.param("/v1/shelves/a%2Fb/books/c%2fd", "shelves/a%2Fb/books/c%2fd", id="T043-slash"),
        pytest.param("/v1/files/one%2Ftwo", "one%2Ftwo", id="T044"),
        pytest.param("/v1/things/a+b", "a+b", id="T049"),
        pytest.param("/v1/things/..", "..", id="T050-plain"),
        pytest.param("/v1/things/%2e%2e", "..", id="T050-encoded"),
        pytest.param("/v1/things/%E2%82%AC", "€", id="utf8"),
        pytest.param("/v1/things/%00", "\0", id="nul"),
        pytest.param("/v1/things/a%25zz", "a%zz", id="percent"),
        pytest.param("/v1/things/a%0Ab", "a\nb", id="newline"),
    ],
)
async def test_path_is_decoded(served: Running, target: str, name: str) -> None:
    answer = await served.get(target)
    assert answer.status == 200, answer.body
    assert answer.json["name"] == name


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/v1/things/a%zz", id="T046-not-hex"),
        pytest.param("/v1/things/100%", id="T046-cut"),
        pytest.param("/v1/things/%FF%FE", id="T047"),
        pytest.param("/v1/files/a/%FF", id="T047-multi"),
        pytest.param("/v1/numbers/x/1/true/RED/1/aGk/2020-01-01T00:00:00Z/s", id="T076-path"),
        pytest.param("/v1/numbers/1/1/TRUE/RED/1/aGk/2020-01-01T00:00:00Z/s", id="T080-path"),
        pytest.param("/v1/numbers/1/1/true/BLUE/1/aGk/2020-01-01T00:00:00Z/s", id="T083-path"),
        pytest.param("/v1/numbers/1/1/true/RED/1/!!/2020-01-01T00:00:00Z/s", id="T091-path"),
        pytest.param("/v1/numbers/1/1/true/RED/1/aGk/yesterday/s", id="T092-path"),
    ],
)
async def test_bad_path_value_is_refused(served: Running, target: str) -> None:
    answer = await served.get(target)
    assert answer.status == 400
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert answer.violations


async def test_path_values_of_all_kinds(served: Running) -> None:
    answer = await served.get("/v1/numbers/-5/9007199254740993/true/GREEN/1.5/aGk/2020-01-01T00:00:00Z/text")
    thing = answer.json
    assert [thing[name] for name in ("i32", "i64", "b", "color", "d", "data", "ts", "sw")] == [
        *(-5, "9007199254740993", True, "GREEN", 1.5, "aGk=", "2020-01-01T00:00:00Z", "text")
    ]


@pytest.mark.parametrize(
    ("query", "path", "value"),
    [
        pytest.param("sub.s=x&sub.deep.deep.s=z&sub.n=3", "sub.deep.deep.s", "z", id="T052"),
        pytest.param("sub.n=3&sub.deep.deep.s=z&sub.s=x", "sub.n", 3, id="T052-other-order"),
        pytest.param("rs=a&rs=b", "rs", ["a", "b"], id="T053"),
        pytest.param("rs=a&name=x&rs=b&sub.s=q&rs=c", "rs", ["a", "b", "c"], id="T053-interleaved"),
        pytest.param("ri=1&ri=2", "ri", [1, 2], id="T053-numbers"),
        pytest.param("colors=RED&colors=2", "colors", ["RED", "GREEN"], id="T053-enums"),
        pytest.param("rts=2020-01-01T00:00:00Z", "rts", ["2020-01-01T00:00:00Z"], id="T053-timestamps"),
        pytest.param("rs=a,b", "rs", ["a,b"], id="T055"),
        pytest.param("n%61me=x", "name", "x", id="T058"),
        pytest.param("camelCaseField=x", "camel_case_field", "x", id="lower-camel"),
        pytest.param("camel_case_field=x", "camel_case_field", "x", id="proto-name"),
        pytest.param("custom=x", "renamed", "x", id="json-name"),
        pytest.param("name", "name", "", id="T070-no-equals"),
        pytest.param("&&name=a&", "name", "a", id="T070-empty-pairs"),
        pytest.param("name=a;i32=5", "name", "a;i32=5", id="T071"),
        pytest.param("name=a=b", "name", "a=b", id="second-equals"),
        pytest.param("i64=9007199254740993", "i64", "9007199254740993", id="T076-exact"),
        pytest.param("i32=-2147483648", "i32", -(2**31), id="T076-lowest"),
        pytest.param("i32=2147483647", "i32", 2**31 - 1, id="T076-highest"),
        pytest.param("u32=4294967295", "u32", 2**32 - 1, id="T076-u32"),
        pytest.param("u64=18446744073709551615", "u64", str(2**64 - 1), id="T076-u64"),
        pytest.param("i64=9223372036854775807", "i64", str(2**63 - 1), id="T076-i64"),
        pytest.param("b=true", "b", True, id="T079-true"),
        pytest.param("b=false", "b", False, id="T079-false"),
        pytest.param("color=RED", "color", "RED", id="T082-name"),
        pytest.param("color=1", "color", "RED", id="T082-number"),
        pytest.param("d=NaN", "d", "NaN", id="T085-nan"),
        pytest.param("d=Infinity", "d", "Infinity", id="T085-infinity"),
        pytest.param("d=-Infinity", "d", "-Infinity", id="T085-minus"),
        pytest.param("d=-1.5e3", "d", -1500.0, id="exponent"),
        pytest.param("f=3.4028235e%2B38", "f", pytest.approx(3.4028235e38), id="T088"),
        pytest.param("data=aGk=", "data", "aGk=", id="T089-padded"),
        pytest.param("data=aGk", "data", "aGk=", id="T089-bare"),
        pytest.param("data=_-8=", "data", "/+8=", id="T089-url-safe"),
        pytest.param("data=%2B%2B8%3D", "data", "++8=", id="T089-encoded"),
        pytest.param("ts=2020-01-01T00:00:00Z", "ts", "2020-01-01T00:00:00Z", id="T092"),
        pytest.param(
            "ts=2020-01-01T00:00:00.123456789%2B02:00", "ts", "2019-12-31T22:00:00.123456789Z", id="T092-offset"
        ),
        pytest.param("dur=1.5s", "dur", "1.500s", id="T095"),
        pytest.param("fm=a,b.c", "fm", "a,b.c", id="T097"),
        pytest.param("fm=camelCase", "fm", "camelCase", id="T097-camel"),
        pytest.param("fm=camel_case", "fm", "camelCase", id="T097-proto-name"),
        pytest.param("sw=x", "sw", "x", id="T098-string"),
        pytest.param("sw=", "sw", "", id="T098-empty-string"),
        pytest.param("iw=5", "iw", 5, id="T098-int"),
        pytest.param("bw=false", "bw", False, id="T098-bool"),
        pytest.param("byw=aGk=", "byw", "aGk=", id="T098-bytes"),
        pytest.param("opt=", "opt", "", id="T101"),
        pytest.param("name=a+b", "name", "a b", id="T103-plus"),
        pytest.param("name=a%2Bb", "name", "a+b", id="T103-encoded-plus"),
        pytest.param("name=a%20b", "name", "a b", id="T103-space"),
        pytest.param("cs.s=q&cs.n=2", "cs.n", 2, id="one-member-twice"),
    ],
)
async def test_query_is_bound(served: Running, query: str, path: str, value: Any) -> None:
    answer = await served.get(f"/v1/things?{query}")
    assert answer.status == 200, answer.body
    assert at(answer.json, path) == value


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param("nope=1", "nope", id="unknown"),
        pytest.param("sub.nope=1", "sub.nope", id="unknown-nested"),
        pytest.param("subs.s=x", "subs.s", id="T056"),
        pytest.param("m[k]=v", "m[k]", id="T059-brackets"),
        pytest.param("m.k=v", "m.k", id="T059-dot"),
        pytest.param("m=v", "m", id="T059-whole"),
        pytest.param("name.x=1", "name.x", id="T061"),
        pytest.param("i32=1&i32=2", "i32", id="T062"),
        pytest.param("camelCaseField=1&camel_case_field=2", "camel_case_field", id="T062-spellings"),
        pytest.param("ca=x&cb=1", "cb", id="T067"),
        pytest.param("cs.s=q&cb=1", "cb", id="T067-message"),
        pytest.param("=a", "=a", id="T070-no-name"),
        pytest.param(f"{DEEP}=x", DEEP, id="T073"),
        pytest.param("i64=abc", "i64", id="T076-text"),
        pytest.param("i64=1.5", "i64", id="T076-fraction"),
        pytest.param("i64=0x10", "i64", id="T076-hex"),
        pytest.param("i64=9223372036854775808", "i64", id="T076-over-64"),
        pytest.param("i32=2147483648", "i32", id="T076-over-32"),
        pytest.param("u32=-1", "u32", id="T076-negative"),
        pytest.param("i32=%205", "i32", id="T076-space"),
        pytest.param("i32=", "i32", id="T076-empty"),
        pytest.param("i32=1_0", "i32", id="T076-underscore"),
        pytest.param("i32=%D9%A3", "i32", id="T076-arabic-digit"),
        pytest.param("i32=5.0", "i32", id="T077-decimal"),
        pytest.param("i32=1e2", "i32", id="T077-exponent"),
        *(pytest.param(f"b={text}", "b", id=f"T080-{text}") for text in ("1", "0", "t", "True", "TRUE", "yes", "no")),
        pytest.param("color=99", "color", id="T083"),
        pytest.param("color=BLUE", "color", id="T083-name"),
        pytest.param("color=red", "color", id="T083-case"),
        pytest.param("d=nan", "d", id="T086-nan"),
        pytest.param("d=inf", "d", id="T086-inf"),
        pytest.param("d=1e400", "d", id="T086-double"),
        pytest.param("f=1e39", "f", id="T086-float"),
        pytest.param("data=!!", "data", id="T091"),
        pytest.param("data=a", "data", id="T091-cut"),
        pytest.param("ts=yesterday", "ts", id="T092-text"),
        pytest.param("ts.seconds=5", "ts.seconds", id="T094"),
        pytest.param("dur=1.5", "dur", id="T095-unit"),
        pytest.param("iw=x", "iw", id="T098-int"),
        pytest.param("st={}", "st", id="T100-struct"),
        pytest.param("val=1", "val", id="T100-value"),
        pytest.param("lv=1", "lv", id="T100-list"),
        pytest.param("any.type_url=x", "any.type_url", id="T100-any"),
        pytest.param("sub=x", "sub", id="T100-message"),
        pytest.param("name=%FF", "name", id="T104"),
    ],
)
async def test_bad_query_is_refused_by_name(served: Running, query: str, field: str) -> None:
    answer = await served.get(f"/v1/things?{query}")
    assert answer.status == 400, answer.body
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert field in answer.violations
    assert answer.violations[field]


async def test_bad_value_stands_in_the_answer(served: Running) -> None:
    """T076."""
    answer = await served.get("/v1/things?i32=abc&b=maybe")
    assert answer.violations == {
        "i32": 'expected int32, got "abc"',
        "b": 'expected bool (true or false), got "maybe"',
    }


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("POST", "/v1/things?i32=7", id="T064"),
        pytest.param("POST", "/v1/things:search?sub.n=9", id="T065"),
        pytest.param("GET", "/users/x?cb=1", id="T068"),
        pytest.param("GET", "/v1/things/x?name=y", id="path-field"),
        pytest.param("GET", "/v1/alt/x/things/y?sub.s=z", id="nested-path-field"),
    ],
)
async def test_field_comes_from_one_place(served: Running, method: str, target: str) -> None:
    answer = await served.send(method, target, body={} if method == "POST" else None)
    assert answer.status == 400, answer.body
    assert answer.violations


async def test_oneof_names_both_members(served: Running) -> None:
    """T067."""
    answer = await served.get("/v1/things?ca=x&cb=1")
    assert all(word in answer.violations["cb"] for word in ("choice", "ca", "cb"))


async def test_body_and_query_share_a_oneof(served: Running) -> None:
    """T067, with the member in the body."""
    answer = await served.send("POST", "/v1/things:choice?cb=1", body={"s": "x"})
    assert answer.status == 400
    assert "choice" in answer.violations["cb"]


async def test_query_and_nested_body_do_not_mix(served: Running) -> None:
    answer = await served.send("POST", "/v1/things:search?name=x", body={"s": "y"})
    assert (answer.json["name"], answer.json["sub"]["s"]) == ("x", "y")


async def test_number_of_parameters_is_limited(served: Running) -> None:
    """T074."""
    answer = await served.get("/v1/things?" + "&".join(["rs=a"] * 1500))
    assert answer.status == 400
    assert answer.violations["query"] == "has 1500 parameters, more than 1000"
