"""The quick reader of JSON gives what the standard library gives, and nothing of a text that names a key twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.gateway.quickjson import QuickReader

READER = QuickReader(Struct.DESCRIPTOR)
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


@pytest.mark.parametrize("text", ["", "[]", "1", '"a"', "{", '{"a":NaN}', '{"a":1e999}', '{"a":[-1e999]}', '{"a":1} x'])
def test_what_is_not_plainly_right_is_left_to_the_other(text: str) -> None:
    assert READER.read(text.encode()) is None
