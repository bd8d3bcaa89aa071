"""The quick reader of JSON gives what the standard library gives, and nothing of a text that names a key twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldOptions
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.gateway.errors import RequestError
from orchestration.gateway.jsontext import JsonReader
from orchestration.gateway.quickjson import QuickReader
from tests.support.transcoding_service import pool

READER = QuickReader(Struct.DESCRIPTOR)
THING = pool().FindMessageTypeByName("gatewaytest.Thing")
THINGS = QuickReader(THING)
TWICE = [
    '{"a":1,"a":2}',
    '{"a" :1,"a":2}',
    '{"a"\t:\n1,"a":"x"}',
    '{"c" :0,"a":1,"a":2}',
    '{"c"\n:0,"a":1,"a":2}',
    '{"c"\r\n:0,"a":1,"a":2}',
    '{"c"\t:0,"a":1,"a":2}',
    '{"c":" :","a":1,"a":2}',
    '{"a":"1","a":"1"}',
    '{"a":{"b":1,"b":[]},"c":"x"}',
    '{"a":[{"b":1,"b":1}]}',
    '{"":1,"":1}',
    '{"a":"\\"","a":1}',
    '{"a":1,"\\u0061":2}',
    '{"x":"\\"a\\":1","a":1,"a":2}',
]


@pytest.mark.parametrize("text", TWICE)
def test_a_key_that_is_there_twice_is_left_to_the_reader_that_tells_where(text: str) -> None:
    assert READER.read(text.encode()) is None


_SPACES = st.text(st.sampled_from(" \t\r\n"), max_size=2)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    value=st.dictionaries(st.text(), _values, max_size=5), ascii_only=st.booleans(), indent=st.sampled_from([None, 1])
)
def test_what_is_right_is_read_as_it_is(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if "fields" not in text and "Value" not in text:  # names that Struct's own messages spell in two ways
        assert READER.read(text.encode()) == value


@settings(max_examples=300, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", 'q"', "\\"]), _SPACES, st.text(max_size=3) | st.just(": a:")),
        min_size=1,
        max_size=4,
    ),
    nested=st.booleans(),
)
def test_whatever_it_reads_has_no_key_twice(pairs: list[tuple[str, str, str]], nested: bool) -> None:
    members = ", ".join(
        f"{json.dumps(key)}{space}:{json.dumps(value, ensure_ascii=False)}" for key, space, value in pairs
    )
    text = f'{{"outer": [{{{members}}}]}}' if nested else f"{{{members}}}"
    found = READER.read(text.encode())
    unique = len({key for key, _, _ in pairs}) == len(pairs)
    assert (found is not None) == unique


OF_THINGS = [
    '{"sub":{"n":1,"n":2}}',
    '{"subs":[{"n":1},{"s":"a","s":"b"}]}',
    '{"sub":{"deep":{"deep":{"s":"a","s":"b"}}}}',
    '{"m":{"a":"1","a":"2"}}',
    '{"msub":{"sub":{"s":"a"},"sub":{"s":"b"}}}',
    '{"msub":{"a":{"n":1,"n":1}}}',
    '{"st":{"a":[{"b":1,"b":1}]}}',
    '{"val":[{"b":1,"b":1}]}',
    '{"lv":[[{"b":1,"b":1}]]}',
    '{"name":": ","sub":{"n":1 ,"n" :2}}',
    '{"name":"\\":","sub":{"n":1,"n":2}}',
    '{"camel_case_field":"a","camelCaseField":"b"}',
    '{"renamed":"a","custom":"b"}',
    '{"ca":"a","cb":1}',
    '{"unknown":{"a":1,"a":2}}',
    '{"st":{"a":1e999}}',
    '{"val":-1e999}',
    '{"any":{"@type":"type.googleapis.com/gatewaytest.Sub","n":1}}',
]


@pytest.mark.parametrize("text", OF_THINGS)
def test_of_a_message_what_may_be_wrong_anywhere_is_left_to_the_other(text: str) -> None:
    assert THINGS.read(text.encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"name":"http://a:1","sub":{"n":1,"s":":"},"subs":[{"n":1},{"n":2}]}',
        '{"name" : "a:b", "sub" : {"n" : 1}}',
        '{"name":"\\":","sub":{"n":1}}',
        '{"msub":{"a":{"n":1},"b":{"deep":{"s":"x"}}},"m":{"a":"1","camelCaseField":"2","custom":"3"}}',
        '{"st":{"a":[{"b":1},1.5,null]},"val":2.5,"lv":[{"c":1}],"ts":"2024-01-01T00:00:00Z","sw":"a","any":null}',
        '{"sub":null,"subs":[null],"unknown":{"a":1}}',
        '{"sub":[{"n":1}],"subs":{"n":1},"m":[],"msub":"x","rs":"y"}',
    ],
)
def test_of_a_message_what_is_right_is_read(text: str) -> None:
    assert THINGS.read(text.encode()) == json.loads(text)


def test_a_field_that_is_a_map_is_read_as_one() -> None:
    field = THING.fields_by_name["msub"]
    assert field.message_type is not None
    reader = QuickReader(field.message_type, field)
    assert reader.read(b'{"value":{"n":1},"key":{"n":2}}') == {"value": {"n": 1}, "key": {"n": 2}}
    assert reader.read(b'{"value":{"n":1},"key":{"n":2,"n":3}}') is None


def test_extensions_are_left_to_the_other() -> None:
    assert QuickReader(FieldOptions.DESCRIPTOR).read(b'{"[a.b]":{"x":1}}') is None
    assert QuickReader(FieldOptions.DESCRIPTOR).read(b'{"lazy":true}') == {"lazy": True}


_NAMES = st.sampled_from(
    [
        *THING.fields_by_name,
        *(field.json_name for field in THING.fields),
        "n",
        "s",
        "deep",
        "key",
        "value",
        "@type",
        ": ",
    ]
)


def _texts(depth: int) -> st.SearchStrategy[str]:
    """Objects that may name a field twice, spaced as nobody would."""
    leaf = st.sampled_from(["1", "2.5", "null", '"a"', '":"', '"\\":"', '" :"', '""'])
    value = leaf if depth == 0 else leaf | _texts(depth - 1) | st.lists(_texts(depth - 1), max_size=2).map(_joined)
    pair = st.tuples(_NAMES, _SPACES, value).map(lambda each: f'"{each[0]}"{each[1]}:{each[2]}')
    return st.lists(pair, max_size=3).map(lambda pairs: f"{{{','.join(pairs)}}}")


def _joined(texts: list[str]) -> str:
    return f"[{','.join(texts)}]"


@settings(max_examples=1000, deadline=None)
@given(text=_texts(3))
def test_of_a_message_what_it_reads_the_other_reads_too(text: str) -> None:
    found = THINGS.read(text.encode())
    if found is not None:
        try:
            closely = JsonReader(THING)._read_closely(text.encode())  # pyright: ignore[reportPrivateUsage]
        except RequestError as error:
            raise AssertionError(f"{text} was read, and is wrong: {error}") from error
        assert found == closely


@pytest.mark.parametrize("text", ["", "[]", "1", '"a"', "{", '{"a":NaN}', '{"a":1e999}', '{"a":[-1e999]}', '{"a":1} x'])
def test_what_is_not_plainly_right_is_left_to_the_other(text: str) -> None:
    assert READER.read(text.encode()) is None
