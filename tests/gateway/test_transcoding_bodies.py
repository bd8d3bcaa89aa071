"""Sections F and G: bodies, their types and their limits."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestration.gateway import GatewayConfig, RequestError
from orchestration.gateway.binding import RequestBinder
from orchestration.gateway.codec import Codec
from orchestration.gateway.schema import HttpRule
from orchestration.gateway.template import parse_template
from tests.support.transcoding_client import Running, Transport, running
from tests.support.transcoding_service import compile_protos, message, pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRAILING_COMMA = 11 if sys.version_info >= (3, 13) else 12
"""Python 3.13 points at the comma, those before it at what should not follow it."""


def at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        pytest.param(b'{"camelCaseField":"x"}', "camel_case_field", "x", id="T106-json-name"),
        pytest.param(b'{"camel_case_field":"x"}', "camel_case_field", "x", id="T106-proto-name"),
        pytest.param(b'{"custom":"x"}', "renamed", "x", id="T106-custom"),
        pytest.param(None, "name", "", id="T107-absent"),
        pytest.param(b"", "name", "", id="T107-empty"),
        pytest.param(b"{}", "name", "", id="T107-object"),
        pytest.param(b'{"i64":"123"}', "i64", "123", id="T116-string"),
        pytest.param(b'{"i64":9007199254740993}', "i64", "9007199254740993", id="T116-exact"),
        pytest.param(b'{"i32":1.0}', "i32", 1, id="T116-decimal"),
        pytest.param(b'{"i32":1e2}', "i32", 100, id="T116-exponent"),
        pytest.param(b'{"color":99}', "color", 99, id="T118"),
        pytest.param(b'{"color":1}', "color", "RED", id="T118-known"),
        pytest.param(b'{"color":1.0}', "color", "RED", id="T118-decimal"),
        pytest.param(b'{"color":1e0}', "color", "RED", id="T118-exponent"),
        pytest.param(b'{"color":-639.0}', "color", -639, id="T118-negative"),
        pytest.param(b'{"color":-2147483648.0}', "color", -(2**31), id="T118-lowest"),
        pytest.param(b'{"colors":[1.0,"GREEN",3]}', "colors", ["RED", "GREEN", 3], id="T118-list"),
        pytest.param(b'{"fm":"camel_case_field,sub.n"}', "fm", "camelCaseField,sub.n", id="T097-proto-names"),
        pytest.param(b'{"fm":"camelCaseField,a.b_c"}', "fm", "camelCaseField,a.bC", id="T097-both-spellings"),
        pytest.param(b'{"fm":"_a"}', "fm", "A", id="T097-leading-underscore"),
        pytest.param(b'{"fm":""}', "fm", "", id="T097-empty"),
        pytest.param(b'{"d":"NaN"}', "d", "NaN", id="T119"),
        pytest.param(b'{"val":null}', "val", None, id="T121-null-value"),
        pytest.param(b'{"st":{"a":[1,null,{"b":true}]}}', "st", {"a": [1, None, {"b": True}]}, id="T121-struct"),
        pytest.param(b'{"st":{"a_b":1,"aB":2}}', "st", {"a_b": 1, "aB": 2}, id="T112-keys-of-a-struct"),
        pytest.param(b'{"m":{"camel_case_field":"1","camelCaseField":"2"}}', "m.camelCaseField", "2", id="T113-map"),
        pytest.param(b'{"mi":{"1":"a"}}', "mi", {"1": "a"}, id="map-of-numbers"),
        pytest.param(b'{"any":{"@type":"type.googleapis.com/gatewaytest.Sub","s":"x"}}', "any.s", "x", id="T122-known"),
        pytest.param(b'{"name":"\\u20ac"}', "name", "€", id="escape"),
        pytest.param(b'{"ca":null,"cb":1}', "cb", 1, id="T067-null"),
        pytest.param(b' {"name" : "x"}\n', "name", "x", id="white-space"),
    ],
)
async def test_body_is_bound(served: Running, body: bytes | None, path: str, value: Any) -> None:
    answer = await served.send("POST", "/v1/things", body=body)
    assert answer.status == 200, answer.body
    assert at(answer.json, path) == value


async def test_null_leaves_a_field_absent(served: Running) -> None:
    """T121."""
    answer = await served.send("POST", "/v1/things", body=b'{"sw":null,"name":null,"opt":null}')
    assert "sw" not in answer.json
    assert "opt" not in answer.json
    assert answer.json["name"] == ""


@pytest.mark.parametrize(
    ("body", "line", "column", "offset"),
    [
        pytest.param(b'{"name":"a"', 1, 12, 11, id="T109-cut"),
        pytest.param(b'{"name":"a",}', 1, TRAILING_COMMA + 1, TRAILING_COMMA, id="T109-trailing-comma"),
        pytest.param(b"{'name':'a'}", 1, 2, 1, id="T109-single-quotes"),
        pytest.param(b'{name:"a"}', 1, 2, 1, id="T109-bare-key"),
        pytest.param(b'{"name":"a"}{}', 1, 13, 12, id="T109-two-documents"),
        pytest.param(b"\xef\xbb\xbf{}", 1, 1, 0, id="T109-bom"),
        pytest.param('{"name":"€",\n"i32":}'.encode(), 2, 7, 21, id="T109-bytes-are-counted"),
        pytest.param(b"   ", 1, 4, 3, id="T109-blank"),
    ],
)
async def test_syntax_error_says_where(served: Running, body: bytes, line: int, column: int, offset: int) -> None:
    answer = await served.send("POST", "/v1/things", body=body)
    assert answer.status == 400
    assert answer.reason == "JSON_INVALID"
    metadata = answer.json["error"]["details"][0]["metadata"]
    assert metadata == {"line": str(line), "column": str(column), "offset": str(offset)}, answer.body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param(b'{"unknown":1}', "unknown", id="T110"),
        pytest.param(b'{"sub":{"deep":{"unknown":1}}}', "sub.deep.unknown", id="T110-nested"),
        pytest.param(b'{"subs":[{},{"unknown":1}]}', "subs[1].unknown", id="T110-in-a-list"),
        pytest.param(b'{"msub":{"k":{"unknown":1}}}', 'msub["k"].unknown', id="T110-in-a-map"),
        pytest.param(b'{"camelCaseField":"a","camel_case_field":"b"}', "camel_case_field", id="T112"),
        pytest.param(b'{"name":"a","name":"b"}', "name", id="T112-same-spelling"),
        pytest.param(b'{"sub":{"s":"a","s":"b"}}', "sub.s", id="T112-nested"),
        pytest.param(b'{"st":{"a":1,"a":2}}', "st.a", id="T112-struct"),
        pytest.param(b'{"m":{"a":"1","a":"2"}}', "m.a", id="T113"),
        pytest.param(b'{"rs":["a",null]}', "rs[1]", id="T115-null-in-a-list"),
        pytest.param(b'{"rs":"a"}', "rs", id="T115-no-list"),
        pytest.param(b'{"m":{"a":null}}', 'm["a"]', id="T115-null-in-a-map"),
        pytest.param(b'{"mi":{"x":"a"}}', 'mi["x"]', id="T115-key"),
        pytest.param(b'{"i32":"x"}', "i32", id="T076-body"),
        pytest.param(b'{"i32":1.5}', "i32", id="T116-fraction"),
        pytest.param(b'{"i32":true}', "i32", id="T116-bool"),
        pytest.param(b'{"i32":2147483648}', "i32", id="T116-range"),
        pytest.param(b'{"name":5}', "name", id="string"),
        pytest.param(b'{"name":"\\ud800"}', "name", id="surrogate"),
        pytest.param(b'{"color":"BLUE"}', "color", id="enum"),
        pytest.param(b'{"color":1.5}', "color", id="enum-fraction"),
        pytest.param(b'{"color":"1.0"}', "color", id="enum-number-in-a-string"),
        pytest.param(b'{"color":2147483648.0}', "color", id="enum-range"),
        pytest.param(b'{"color":1e400}', "color", id="enum-infinite"),
        pytest.param(b'{"colors":[1.0,1.5]}', "colors[1]", id="enum-fraction-in-a-list"),
        pytest.param(b'{"fm":"a__b"}', "fm", id="mask-without-json-form"),
        pytest.param(b'{"fm":"aB_c"}', "fm", id="mask-of-both-spellings-in-one-name"),
        pytest.param(b'{"fm":["a_b"]}', "fm", id="mask-in-a-list"),
        pytest.param(b'{"data":"!"}', "data", id="bytes"),
        pytest.param(b'{"ts":"x"}', "ts", id="timestamp"),
        pytest.param(b'{"sub":[]}', "sub", id="message"),
        pytest.param(b'{"any":{"@type":"type.googleapis.com/no.Such"}}', "any", id="T122"),
        pytest.param(b'{"ca":"x","cb":1}', "choice", id="T067-body"),
        pytest.param(b'{"msub":{"k":{"s":"a","s":"b"}}}', 'msub["k"].s', id="T112-in-a-map"),
        pytest.param(b"[]", "", id="no-object"),
        pytest.param(b'{"d":NaN}', "", id="T119-bare"),
        pytest.param(b'{"name":"\xff"}', "", id="not-utf8"),
        pytest.param(b'{"st":' + b'{"a":' * 200 + b"1" + b"}" * 201, "st", id="too-deep"),
        pytest.param(b"[" * 100_000, "", id="much-too-deep"),
    ],
)
async def test_bad_body_is_refused_by_path(served: Running, body: bytes, field: str) -> None:
    answer = await served.send("POST", "/v1/things", body=body)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert list(answer.violations) == [field]


@pytest.mark.parametrize(
    ("method", "target", "body", "path", "value"),
    [
        pytest.param("PATCH", "/v1/things/x", b'{"s":"y"}', "sub.s", "y", id="T124"),
        pytest.param("PATCH", "/v1/things/x", b'{"s":"y"}', "name", "x", id="T124-path"),
        pytest.param(
            "POST",
            "/v1/things:subs",
            b'[{"s":"a"},{"s":"b"}]',
            "subs",
            [{"s": "a", "n": 0}, {"s": "b", "n": 0}],
            id="T127",
        ),
        pytest.param("POST", "/v1/things:text", b'"hello"', "camel_case_field", "hello", id="T128"),
        pytest.param("PUT", "/v1/things/x", b'{"i32":1}', "name", "x", id="path-beside-body"),
        pytest.param("PUT", "/v1/things/x", b'{"name":"x"}', "name", "x", id="T130"),
        pytest.param("POST", "/v1/deep/x", b'{"sub":{"deep":{"s":"x"},"n":1}}', "sub.n", 1, id="T130-nested"),
        pytest.param("POST", "/v1/deep/x", b'{"sub":{"n":1}}', "sub.deep.s", "x", id="T130-nested-absent"),
        pytest.param("POST", "/v1/deep/x", b'{"sub":null}', "sub.deep.s", "x", id="T130-nested-null"),
        pytest.param("POST", "/v1/renamed/x", b'{"custom":"x"}', "renamed", "x", id="T130-json-name"),
    ],
)
async def test_body_beside_a_path(
    served: Running, method: str, target: str, body: bytes, path: str, value: Any
) -> None:
    answer = await served.send(method, target, body=body)
    assert answer.status == 200, answer.body
    assert at(answer.json, path) == value


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        pytest.param("PUT", "/v1/things/x", b'{"name":"y"}', id="T131"),
        pytest.param("PUT", "/v1/things/x", b'{"name":""}', id="T131-empty"),
        pytest.param("POST", "/v1/deep/x", b'{"sub":{"deep":{"s":"y"}}}', id="T131-nested"),
        pytest.param("POST", "/v1/renamed/x", b'{"custom":"y"}', id="T131-json-name"),
        pytest.param("POST", "/v1/deep/x", b'{"sub":5}', id="T131-no-object"),
        pytest.param("PUT", "/v1/things/x", b"[]", id="T131-no-object-at-all"),
        pytest.param("POST", "/v1/things:subs", b"{}", id="T127-no-list"),
        pytest.param("GET", "/v1/things/x", b"{}", id="GET"),
        pytest.param("DELETE", "/v1/things/x", b"{}", id="DELETE"),
    ],
)
async def test_body_that_does_not_fit_its_route(served: Running, method: str, target: str, body: bytes) -> None:
    answer = await served.send(method, target, body=body)
    assert answer.status == 400, answer.body
    assert answer.violations


async def test_field_is_unset_without_its_body(served: Running) -> None:
    """T125."""
    answer = await served.send("POST", "/v1/things:search")
    assert "sub" not in answer.json


async def test_chunked_body_on_get_is_refused(served: Running) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    async with served.session.get(served.url("/v1/things/x"), data=chunks()) as response:
        assert response.status == 400


class TestHttpBody:
    """T133."""

    async def test_field(self, served: Running) -> None:
        answer = await served.send(
            "PUT", "/v1/upload/x?kind=photo", body=b"\x89PNG", headers={"Content-Type": "image/png"}
        )
        assert answer.json["file"] == {"content_type": "image/png", "data": "iVBORw==", "extensions": []}
        assert (answer.json["name"], answer.json["kind"]) == ("x", "photo")

    async def test_whole_request_and_response(self, served: Running) -> None:
        answer = await served.send("POST", "/v1/raw", body=b"\0\1\xff", headers={"Content-Type": "image/x-test"})
        assert (answer.body, answer.headers["Content-Type"]) == (b"\0\1\xff", "image/x-test")

    async def test_response_field(self, served: Running) -> None:
        answer = await served.get("/v1/download/x", Accept="image/png")
        assert (answer.body, answer.headers["Content-Type"]) == (b"\x89PNG\xff", "image/png")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        pytest.param("application/json", 200, id="T136"),
        pytest.param("application/json; charset=utf-8", 200, id="T136-charset"),
        pytest.param('Application/JSON;charset="UTF-8"', 200, id="T136-case"),
        pytest.param("application/merge-patch+json", 200, id="T136-suffix"),
        pytest.param("application/json; charset=latin-1", 415, id="T136-other-charset"),
        pytest.param("application/grpc", 415, id="T137"),
        pytest.param("application/x-www-form-urlencoded", 415, id="T149-form"),
        pytest.param("multipart/form-data; boundary=x", 415, id="T134"),
        pytest.param("text/plain", 415, id="text"),
    ],
)
async def test_content_type(served: Running, content_type: str, status: int) -> None:
    answer = await served.send("POST", "/v1/things", body=b"{}", headers={"Content-Type": content_type})
    assert answer.status == status, answer.body
    if status == 415:
        assert answer.reason == "UNSUPPORTED_MEDIA_TYPE"


async def test_grpc_is_sent_to_its_own_port(served: Running) -> None:
    """T137."""
    answer = await served.send("POST", "/v1/things", body=b"\0", headers={"Content-Type": "application/grpc+proto"})
    assert "REST port" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("application/*;q=0.5", 200),
        ("text/html, application/json;q=0.1", 200),
        ("text/html, */*;q=0.1", 200),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("application/xml", 406),
    ],
)
async def test_accept(served: Running, accept: str, status: int) -> None:
    answer = await served.get("/v1/things/x", Accept=accept)
    assert answer.status == status
    if status == 406:
        assert answer.reason == "NOT_ACCEPTABLE"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_body(served: Running, coding: str) -> None:
    body = gzip.compress(b'{"name":"x"}') if coding == "gzip" else zlib.compress(b'{"name":"x"}')
    answer = await served.send("POST", "/v1/things", body=body, headers={"Content-Encoding": coding})
    assert answer.json["name"] == "x"


async def test_corrupt_gzip(served: Running) -> None:
    answer = await served.send("POST", "/v1/things", body=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert answer.status == 400


async def test_cut_gzip(served: Running) -> None:
    body = gzip.compress(b'{"name":"x"}')[:14]
    answer = await served.send("POST", "/v1/things", body=body, headers={"Content-Encoding": "gzip"})
    assert answer.status == 400


async def test_unknown_coding(served: Running) -> None:
    answer = await served.send("POST", "/v1/things", body=b"x", headers={"Content-Encoding": "snappy"})
    assert answer.status == 415
    assert answer.reason == "UNSUPPORTED_ENCODING"


async def test_gzip_bomb(served: Running) -> None:
    """T139."""
    body = gzip.compress(b" " * 50_000_000)
    answer = await served.send("POST", "/v1/things", body=body, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413


async def test_body_over_the_limit(transport: Transport) -> None:
    """T140."""
    async with running(transport, config=GatewayConfig(max_body_bytes=100)) as served:
        assert (await served.send("POST", "/v1/things", body={"name": "x" * 50})).status == 200
        answer = await served.send("POST", "/v1/things", body={"name": "x" * 100})
        assert answer.status == 413
        assert answer.reason == "BODY_TOO_LARGE"


async def test_unknown_fields_can_be_ignored(transport: Transport) -> None:
    """T110, and unknown query parameters."""
    async with running(transport, config=GatewayConfig(unknown_json="ignore", unknown_query="ignore")) as served:
        answer = await served.send("POST", "/v1/things", body={"unknown": 1, "name": "x"})
        assert answer.json["name"] == "x"
        assert (await served.get("/v1/things?utm_source=x&name=y")).json["name"] == "y"
        assert (await served.get("/v1/things?i32=x")).status == 400


async def test_named_parameters_can_be_ignored(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(unknown_query=frozenset({"utm_source"}))) as served:
        assert (await served.get("/v1/things?utm_source=x")).status == 200
        assert (await served.get("/v1/things?other=x")).status == 400


async def test_expect_continue(served: Running) -> None:
    """T142."""
    async with served.session.post(served.url("/v1/things"), json={"name": "x"}, expect100=True) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"q":{"aInt32":1,"a_int32":2}}', '["q"].a_int32'),
        (b'{"q":{"k_int64":1,"k_string":"x"}}', '["q"]'),
        (b'{"q":{},"q":{}}', "q"),
    ],
)
async def test_entries_of_a_body_that_is_a_map_set_a_field_once(body: bytes, field: str) -> None:
    rule = HttpRule("POST", "/a", "mv_self", "")
    descriptor: Any = pool().FindMessageTypeByName("gatewaytest.Everything")
    binder = RequestBinder(descriptor, rule, parse_template(rule.path), Codec(compile_protos()), GatewayConfig())
    with pytest.raises(RequestError) as caught:
        binder.bind(["a"], ["a"], "", body, "application/json")
    assert caught.value.reason == "DUPLICATE_FIELD"
    assert [each.field for each in caught.value.violations] == [field]
    both = binder.bind(["a"], ["a"], "", b'{"key":{"aInt32":1},"value":{"k_string":"x"}}', "application/json")
    assert len(message("Everything").FromString(both).mv_self) == 2


async def test_unknown_names_of_enums_in_a_list_can_be_ignored(transport: Transport) -> None:
    async with running(transport, config=GatewayConfig(unknown_json="ignore")) as served:
        answer = await served.send("POST", "/v1/things", body={"colors": ["RED", "NOPE"]})
        assert (answer.status, answer.json["colors"]) == (200, ["RED"])
