"""What is said of a value that does not fit: where it stands, what was expected, what came."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any, Final

import pytest

from orchestration.gateway.diagnosis import find_violations
from tests.support.transcoding_client import Running
from tests.support.transcoding_service import pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOAT: Final = '(a number, "NaN", "Infinity" or "-Infinity")'
TIME: Final = "expected Timestamp (RFC 3339, from year 0001 to 9999, such as 2026-01-02T03:04:05Z), got"
DURATION: Final = "expected Duration (seconds, at most 315576000000, with a unit, such as 1.5s), got"
BYTES: Final = "expected bytes (base64, standard or URL-safe), got"
ANY: Final = "expected JSON object with a known @type, got"


WRONG: Final[list[tuple[Any, str, str]]] = [
    ({"r_sub": [{}, {}, {}, {"n": "x"}]}, "r_sub[3].n", 'expected int32, got "x"'),
    ({"a_int32": "x"}, "a_int32", 'expected int32, got "x"'),
    ({"a_int32": 1.5}, "a_int32", "expected int32, got 1.5"),
    ({"a_int32": True}, "a_int32", "expected int32, got true"),
    ({"a_int32": []}, "a_int32", "expected int32, got []"),
    ({"a_int32": 2**31}, "a_int32", "expected int32 from -2147483648 to 2147483647, got 2147483648"),
    ({"aInt32": "2147483648"}, "aInt32", 'expected int32 from -2147483648 to 2147483647, got "2147483648"'),
    ({"a_uint32": -1}, "a_uint32", "expected uint32 from 0 to 4294967295, got -1"),
    ({"a_sfixed64": 2**63}, "a_sfixed64", f"expected int64 from {-(2**63)} to {2**63 - 1}, got {2**63}"),
    ({"a_fixed64": {}}, "a_fixed64", "expected uint64, got {}"),
    ({"a_double": "x"}, "a_double", f'expected double {FLOAT}, got "x"'),
    ({"a_float": 1e39}, "a_float", f"expected float {FLOAT}, got 1e+39"),
    ({"a_bool": "true"}, "a_bool", 'expected bool (true or false), got "true"'),
    ({"a_string": 1}, "a_string", "expected string, got 1"),
    ({"a_string": "\ud800"}, "a_string", 'expected string, got "\\ud800"'),
    ({"a_bytes": "!"}, "a_bytes", f'{BYTES} "!"'),
    ({"a_color": "BLUE"}, "a_color", 'expected one of COLOR_UNSPECIFIED, RED, GREEN, got "BLUE"'),
    ({"a_sub": 5}, "a_sub", "expected JSON object (Sub), got 5"),
    ({"a_self": {"a_self": {"a_int32": "x"}}}, "a_self.a_self.a_int32", 'expected int32, got "x"'),
    ({"o_int64": "x"}, "o_int64", 'expected int64, got "x"'),
    ({"r_int32": 5}, "r_int32", "expected JSON array of int32, got 5"),
    ({"r_int32": [1, "2", None]}, "r_int32[2]", "expected int32, got null"),
    ({"r_color": ["RED", "BLUE"]}, "r_color[1]", 'expected one of COLOR_UNSPECIFIED, RED, GREEN, got "BLUE"'),
    ({"r_sub": [{}, []]}, "r_sub[1]", "expected JSON object (Sub), got []"),
    ({"r_sub": [None]}, "r_sub[0]", "expected JSON object (Sub), got null"),
    ({"r_sub": {}}, "r_sub", "expected JSON array of JSON object (Sub), got {}"),
    ({"w_int64": "x"}, "w_int64", 'expected int64, got "x"'),
    ({"w_uint32": -1}, "w_uint32", "expected uint32 from 0 to 4294967295, got -1"),
    ({"w_bool": 1}, "w_bool", "expected bool (true or false), got 1"),
    ({"w_string": {"value": "x"}}, "w_string", 'expected string, got {"value": "x"}'),
    ({"w_bytes": "!"}, "w_bytes", f'{BYTES} "!"'),
    ({"r_wrapped": [1, "x"]}, "r_wrapped[1]", 'expected int64, got "x"'),
    ({"t_timestamp": "10000-01-01T00:00:00Z"}, "t_timestamp", f'{TIME} "10000-01-01T00:00:00Z"'),
    ({"t_timestamp": 5}, "t_timestamp", f"{TIME} 5"),
    ({"rt_timestamp": ["2020-01-01T00:00:00Z", "x"]}, "rt_timestamp[1]", f'{TIME} "x"'),
    ({"t_duration": "315576000001s"}, "t_duration", f'{DURATION} "315576000001s"'),
    ({"t_duration": "1"}, "t_duration", f'{DURATION} "1"'),
    ({"mv_duration": {"k": "x"}}, 'mv_duration["k"]', f'{DURATION} "x"'),
    ({"t_struct": []}, "t_struct", "expected JSON object, got []"),
    ({"t_list": {}}, "t_list", "expected JSON array, got {}"),
    ({"t_struct": {"a": ["\ud800"]}}, "t_struct.a[0]", 'expected string, got "\\ud800"'),
    ({"t_value": {"a": {"b": 10**400}}}, "t_value.a.b", f"expected double, got 1{'0' * 59}..."),
    ({"t_any": {"@type": "type.googleapis.com/no.Such"}}, "t_any", f'{ANY} "type.googleapis.com/no.Such"'),
    ({"t_any": {"a": 1}}, "t_any", f"{ANY} null"),
    ({"t_any": 5}, "t_any", f"{ANY} 5"),
    ({"t_any": {"@type": "x/gatewaytest.Sub", "n": "x"}}, "t_any.n", 'expected int32, got "x"'),
    ({"t_any": {"@type": "x/gatewaytest.Sub", "no": 1}}, "t_any.no", "Sub has no such field"),
    ({"t_any": {"@type": "x/google.protobuf.Duration", "value": "x"}}, "t_any.value", f'{DURATION} "x"'),
    ({"rt_any": [{}, {"@type": "x/no.Such"}]}, "rt_any[1]", f'{ANY} "x/no.Such"'),
    ({"mk_string": {"k": 1}}, 'mk_string["k"]', "expected string, got 1"),
    ({"mk_string": []}, "mk_string", "expected JSON object, got []"),
    ({"mk_int32": {"x": "a"}}, 'mk_int32["x"]', 'the key must be int32, not "x"'),
    ({"mk_bool": {"1": "a"}}, 'mk_bool["1"]', 'the key must be bool (true or false), not "1"'),
    ({"mk_uint32": {"-1": "a"}}, 'mk_uint32["-1"]', 'the key must be uint32 from 0 to 4294967295, not "-1"'),
    ({"mk_int64": {"1": 5}}, 'mk_int64["1"]', "expected string, got 5"),
    ({"mv_int32": {"k": "x"}}, 'mv_int32["k"]', 'expected int32, got "x"'),
    ({"mv_sub": {"k": {"n": "x"}}}, 'mv_sub["k"].n', 'expected int32, got "x"'),
    ({"mv_sub": {"k": 1}}, 'mv_sub["k"]', "expected JSON object (Sub), got 1"),
    ({"mv_sub": {'a"b': {"deep": {"s": 1}}}}, 'mv_sub["a\\"b"].deep.s', "expected string, got 1"),
    ({"k_sub": {"n": "x"}}, "k_sub.n", 'expected int32, got "x"'),
    ({"a_self": {"nope": 1}}, "a_self.nope", "Everything has no such field"),
]


@pytest.mark.parametrize(("body", "field", "said"), WRONG)
async def test_value_is_named_by_its_path(served: Running, body: Any, field: str, said: str) -> None:
    answer = await served.send("POST", "/v1/everything", body=json.dumps(body).encode())
    assert answer.status == 400, answer.body
    assert answer.violations == {field: said}
    assert answer.json["error"]["message"] == f"{field}: {said}"


async def test_everything_wrong_is_named(served: Running) -> None:
    body = {"a_int32": "x", "r_int64": ["y", 1, "z"], "nope": 1}
    answer = await served.send("POST", "/v1/everything", body=body)
    assert list(answer.violations) == ["a_int32", "r_int64[0]", "r_int64[2]", "nope"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"t_mask": "a,,b"}, "t_mask"),
        ({"t_mask": "a b"}, "t_mask"),
        ({"t_mask": "a.bÛ"}, "t_mask"),
        ({"t_mask": "a_1"}, "t_mask"),
        ({"t_mask": "aB_c"}, "t_mask"),
        ({"rt_mask": ["a", "b."]}, "rt_mask[1]"),
        ({"a_self": {"mv_mask": {"k": ","}}}, 'a_self.mv_mask["k"]'),
        ({"mk_int32": {"1": "a", "01": "b"}}, 'mk_int32["01"]'),
        ({"r_sub": [], "mv_self": {"k": {"mk_uint64": {"5": "a", "5.0": "b"}}}}, 'mv_self["k"].mk_uint64["5.0"]'),
        ({"t_any": {"@type": "gatewaytest.Sub"}}, ""),
    ],
)
async def test_what_the_runtime_would_take_is_refused(served: Running, body: Any, field: str) -> None:
    answer = await served.send("POST", "/v1/everything", body=body)
    assert answer.status == 400, answer.body
    assert list(answer.violations) == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"t_any":{"@type":"x/gatewaytest.Thing","name":"a","name":"b"}}', "t_any.name"),
        (
            b'{"t_any":{"@type":"x/gatewaytest.Thing","camelCaseField":"a","camel_case_field":"b"}}',
            "t_any.camel_case_field",
        ),
        (b'{"t_any":{"@type":"x/gatewaytest.Thing","ca":"a","cb":1}}', "t_any"),
        (b'{"a_self":{"k_int64":1,"k_string":"x"}}', "a_self"),
        (b'{"mv_struct":{"k":{"a":1,"a":2}}}', 'mv_struct["k"].a'),
        (b'{"renamed":"a","another-name":"b"}', "another-name"),
    ],
)
async def test_field_is_set_once_at_any_depth(served: Running, body: bytes, field: str) -> None:
    answer = await served.send("POST", "/v1/everything", body=body)
    assert (answer.status, answer.reason) == (400, "DUPLICATE_FIELD"), answer.body
    assert list(answer.violations) == [field]


async def test_number_too_large_for_free_json_is_refused(served: Running) -> None:
    for body in (b'{"t_value":1e400}', b'{"t_struct":{"a":[-1e999]}}', b'{"name":"x","name":"y","t_value":1e400}'):
        answer = await served.send("POST", "/v1/everything", body=body)
        assert (answer.status, answer.reason) == (400, "JSON_INVALID"), answer.body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"\\ud804":1}', "\\ud804"),
        (b'{"a_sub":{"\\ud804":1}}', "a_sub.\\ud804"),
        (b'{"\\ud804":1,"\\ud804":2}', "\\ud804"),
        (b'{"mk_string":{"\\ud804":"x"}}', 'mk_string["\\\\ud804"]'),
        (b'{"mk_int32":{"\\ud804":"x"}}', 'mk_int32["\\\\ud804"]'),
        (b'{"t_struct":{"\\ud804":1}}', "t_struct"),
        (b'{"t_any":{"@type":"x/\\ud804"}}', "t_any"),
        (b'{"t_any":{"\\ud804":1}}', "t_any"),
        (b'{"t_any":{"@type":"x/gatewaytest.Sub","\\ud804":1}}', "t_any.\\ud804"),
        (b'{"t_mask":"\\ud804"}', "t_mask"),
        (b'{"a_color":"\\ud804"}', "a_color"),
        (b'{"t_timestamp":"\\ud804"}', "t_timestamp"),
    ],
)
async def test_half_a_character_is_refused(served: Running, body: bytes, field: str) -> None:
    answer = await served.send("POST", "/v1/everything", body=body)
    assert answer.status == 400, answer.body
    assert list(answer.violations) == [field]


def nested(kind: tuple[bytes, bytes, bytes, bytes], depth: int) -> bytes:
    before, opening, closing, after = kind
    return before + opening * depth + b"{}" + closing * depth + after


ANY_OF_ANY: Final = b'{"@type":"type.googleapis.com/google.protobuf.Any","value":'

DEEP: Final[dict[str, tuple[bytes, bytes, bytes, bytes]]] = {
    "arrays": (b'{"a_sub":', b"[", b"]", b"}"),
    "values": (b'{"t_value":', b"[", b"]", b"}"),
    "objects": (b'{"t_struct":', b'{"a":', b"}", b"}"),
    "messages": (b'{"a_self":', b'{"a_self":', b"}", b"}"),
    "lists": (b'{"mv_self":{"k":', b'{"mv_self":{"k":', b"}}", b"}}"),
    "anys": (b'{"t_any":', ANY_OF_ANY, b"}", b"}"),
    "anys-of-messages": (b'{"t_any":', b'{"@type":"x/gatewaytest.Everything","a_self":{"t_any":', b"}}", b"}"),
    "messages-in-an-any": (b'{"t_any":{"@type":"x/gatewaytest.Everything","a_self":', b'{"a_self":', b"}", b"}}"),
    "unknown": (b'{"nope":', b"[", b"]", b"}"),
    "twice": (b'{"a_int32":1,"a_int32":', b"[", b"]", b"}"),
}
"""What is around, and what is within itself."""


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("depth", [30, 60, 98, 99, 100, 101, 150, 300, 480, 900, 1000, 10_000])
async def test_depth_ends_in_an_answer(served: Running, kind: str, depth: int) -> None:
    """Whatever is taken is printed again, and the rest is refused, quickly."""
    began = time.process_time()
    answer = await served.send("POST", "/v1/everything", body=nested(DEEP[kind], depth))
    assert answer.status in (200, 400), answer.body[:500]
    assert answer.status == 400 or depth < 100
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize(("depth", "status"), [(30, 200), (40, 400)])
async def test_anys_within_each_other_are_few(served: Running, depth: int, status: int) -> None:
    """Each is unpacked and packed again with all that is in it."""
    answer = await served.send("POST", "/v1/everything", body=nested(DEEP["anys"], depth))
    assert answer.status == status
    assert status == 200 or answer.violations == {"t_any": "more than 32 objects with @type are nested"}


LARGE: Final = {
    "numbers": b'{"r_int32":[' + b"1," * 300_000 + b'"x"]}',
    "messages": b'{"r_sub":[' + b"{}," * 100_000 + b"1]}",
    "entries": b'{"mk_string":{' + b",".join(b'"%d":"x"' % index for index in range(50_000)) + b',"a":1}}',
    "names": b"{" + b",".join(b'"k%d":1' % index for index in range(50_000)) + b"}",
    "digits": b'{"a_int64":' + b"1" * 1_000_000 + b"}",
    "digits-in-text": b'{"a_int64":"' + b"1" * 1_000_000 + b'"}',
    "digits-of-a-key": b'{"mk_int32":{"' + b"1" * 1_000_000 + b'":"a"}}',
    "base64": b'{"a_bytes":"' + b"a" * 1_000_000 + b'!"}',
    "mask": b'{"t_mask":"' + b"a," * 300_000 + b'"}',
    "exponent": b'{"a_int32":1e999999999}',
    "exponent-in-text": b'{"a_int64":"1e999999999"}',
    "name": b'{"' + b"a" * 1_000_000 + b'":1}',
    "anys": b'{"rt_any":[' + b'{"@type":"x/gatewaytest.Sub"},' * 10_000 + b'{"@type":"x"}]}',
}


@pytest.mark.parametrize("kind", LARGE)
async def test_size_ends_in_an_answer(served: Running, kind: str) -> None:
    """A large bad body costs little more than reading it does."""
    began = time.process_time()
    answer = await served.send("POST", "/v1/everything", body=LARGE[kind])
    assert answer.status == 400, answer.body[:500]
    # A conversion of digits at the cost of their square would take five; the others take most of a second as it is.
    assert time.process_time() - began < (3.0 if kind.startswith("digits") else 10.0)
    assert len(answer.body) < 10_000


def _fits_not(_: object, __: object) -> bool:
    return False


async def test_free_json_is_named_without_a_path_for_each_value() -> None:
    """Below long keys, the paths of all values would be thousands of times as large as the body."""
    free: Any = [*range(5000), "\ud800"]
    for _ in range(50):
        free = {"k" * 100: free}
    message: Any = pool().FindMessageTypeByName("google.protobuf.Struct")
    tracemalloc.start()
    (found,) = find_violations(message, free, _fits_not, "no")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.field == ".".join(["k" * 100] * 50) + "[5000]"
    assert found.description == 'expected string, got "\\ud800"'
    assert peak < 1_000_000


async def test_free_json_is_looked_at_within_the_budget() -> None:
    message: Any = pool().FindMessageTypeByName("google.protobuf.ListValue")
    (found,) = find_violations(message, [*[0] * 60_000, "\ud800"], _fits_not, "no")
    assert (found.field, found.description) == ("", "is no valid google.protobuf.ListValue: no")
