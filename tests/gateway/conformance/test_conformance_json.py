"""JSON of messages: the same as that of google.protobuf.json_format, in both directions."""

from __future__ import annotations

import functools
import json
import math
from typing import Any, Final, TypeGuard, cast

import pytest
from google.protobuf import json_format
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestration.gateway import RequestError
from orchestration.gateway.binding import MessageEncoder
from orchestration.gateway.codec import Codec
from orchestration.gateway.jsontext import JsonReader
from orchestration.gateway.responses import ResponseEncoder
from tests.support.proto_strategies import messages
from tests.support.transcoding_service import compile_protos, message, pool

EVERYTHING: Final = pool().FindMessageTypeByName("gatewaytest.Everything")


@functools.cache
def encoder() -> MessageEncoder:
    return MessageEncoder(EVERYTHING, Codec(compile_protos()))


@functools.cache
def printer() -> ResponseEncoder:
    return ResponseEncoder(EVERYTHING, "", Codec(compile_protos()))


@functools.cache
def reader() -> JsonReader:
    return JsonReader(EVERYTHING)


def parse(text: str) -> Any:
    """The message that a text means to the gateway."""
    return message("Everything").FromString(encoder().encode(reader().read(text.encode())))


def attempt(text: str) -> Any:
    """The message, or the refusal."""
    try:
        return parse(text)
    except RequestError as error:
        return error


def reference(made: Any) -> Any:
    return json_format.MessageToDict(
        made, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, descriptor_pool=pool()
    )


def canonical(made: Any) -> bytes:
    """Equal for equal messages, a NaN included."""
    return bytes(made.SerializeToString(deterministic=True))


@given(messages(EVERYTHING))
@settings(max_examples=200, deadline=None)
def test_message_has_the_json_that_json_format_gives(made: Any) -> None:
    # json_format prints the largest float as what it refuses to read.
    expected = json.loads(json.dumps(reference(made)).replace("3.4028235e+38", "3.4028234663852886e+38"))
    assert json.loads(printer().encode(made.SerializeToString())) == expected


@given(messages(EVERYTHING))
@settings(max_examples=200, deadline=None)
def test_json_of_json_format_is_read_as_the_message_it_is_of(made: Any) -> None:
    for names in (True, False):
        for numbers in (True, False):
            text = json_format.MessageToJson(
                made, preserving_proto_field_name=names, use_integers_for_enums=numbers, descriptor_pool=pool()
            )
            assert canonical(parse(text)) == canonical(made), text


@given(messages(EVERYTHING))
@settings(max_examples=200, deadline=None)
def test_own_json_is_read_as_the_message_it_is_of(made: Any) -> None:
    assert canonical(parse(printer().encode(made.SerializeToString()))) == canonical(made)


AWKWARD: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 1.0, 1.5, -0.0, 1e2, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32),
    *(
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        2**64 - 1,
        2**64,
        1e18,
        1e308,
        3.4028235e38,
        3.5e38,
        10**400,
    ),
    *("", " ", "0", "1", "-1", "-0", "+1", "01", "1.0", "1e2", "1.5", " 1", "1 ", "0x1", "1_0", "٣", "9" * 30, "1e400"),
    *("2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615"),
    *("NaN", "nan", "Infinity", "-Infinity", "inf", "+Infinity", "true", "false", "True", "RED", "red", "99"),
    *("aGk", "aGk=", "aGk==", "_-8=", "_+8=", "a", "!", "aG k", "aGk=\n", "NULL_VALUE", "3.4028235e+38"),
    *("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.5+01:00", "10000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    *("2020-02-30T00:00:00Z", "2020-01-01T00:00:60Z", "2020-01-01", "2020-01-01t00:00:00z", "0000-12-31T23:59:59Z"),
    *(
        "0s",
        "1.5s",
        "-1.5s",
        "-0.000000001s",
        "315576000001s",
        "1.0000000001s",
        "1",
        ".5s",
        "1.s",
        "+1s",
        "a,b.c",
        "aB",
    ),
    *(
        "a_b",
        "a,,b",
        "a..b",
        "a b",
        [],
        [None],
        [[]],
        [1],
        ["a"],
        {},
        {"a": None},
        {"1": "a"},
        {"true": "a"},
        {"s": "x"},
    ),
    *({"a": 1}, {"a": "x"}, {"n": "x"}, {"nope": 1}, [{}], [{"s": 1}], {"a": {}}, {"a": []}, {"1": "a", "01": "b"}),
    *({"@type": "type.googleapis.com/gatewaytest.Sub", "s": "x"}, {"@type": "type.googleapis.com/no.Such"}),
    *({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}, {"@type": 5}, {"value": "x"}),
    *({"@type": "type.example.com/gatewaytest.Sub", "s": "x"}, {"@type": "gatewaytest.Sub"}),
]

LAXITIES: Final = {
    # What json_format takes beyond what ProtoJSON allows, by a part of what the gateway says about it.
    "expected double": "white space, underscores, other spellings of infinity and overflow: it calls float()",
    "expected float": "the same",
    "expected bytes": "it drops what is not in the alphabet, and mixes both alphabets",
    "expected one of": "it takes numbers written as strings, fractions and bools for enums",
    "expected Timestamp": "it takes digits of other scripts and an empty fraction",
    "expected Duration": "it takes a plus, white space, and more than nine digits",
    "expected FieldMask": "it takes empty paths, which it then cannot tell apart",
    "expected JSON object": "it takes any empty list for a message",
    "is the same key as": "it keeps the last of two spellings of one key",
    "the key must be": "it takes white space and signs around keys",
    "expected bool": "it takes what Python compares equal",
    "expected int": "it takes white space and underscores: it calls int()",
    "expected uint": "the same",
    "expected JSON array": "it takes an empty object for an empty list",
    "gatewaytest.Sub": "it takes a type URL without a slash, which any.proto forbids",
    "is too large for a double": "it makes an infinity of it, which it then cannot print",
}


def refused_for_nothing(text: str) -> bool:
    """What json_format refuses and ProtoJSON allows: the largest float in its shortest form, and null for a NullValue
    in a list or a map, and for a list of Values."""
    nulls = ("r_null", "rNull", "mv_null", "mvNull", "rt_value", "rtValue")
    return "3.4028235e+38" in text or ("null" in text and any(f'"{name}"' in text for name in nulls))


MASKS: Final = frozenset(
    name
    for field in EVERYTHING.fields
    if field.name in ("t_mask", "rt_mask", "mv_mask")
    for name in (field.name, field.json_name)
)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def with_camel_masks(value: Any, *, mask: bool = False) -> Any:
    """A value whose masks have the paths ``a_b`` in their JSON form: json_format refuses the proto's names, which the
    gateway takes as it does in a URL. Their meaning is compared all the same."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return {key: with_camel_masks(each, mask=mask or key in MASKS) for key, each in pairs}
    if is_array(value):
        return [with_camel_masks(each, mask=mask) for each in value]
    return "aB" if mask and value == "a_b" else value


def theirs(text: str) -> Any:
    text = json.dumps(with_camel_masks(json.loads(text)))
    try:
        return json_format.Parse(text, message("Everything")(), descriptor_pool=pool())
    except (json_format.ParseError, ValueError, OverflowError, TypeError, AttributeError, KeyError):
        return None


@pytest.mark.parametrize("field", [field.name for field in EVERYTHING.fields])
def test_awkward_values_are_taken_or_refused_alike(field: str) -> None:
    for value in AWKWARD:
        text = json.dumps({field: value})
        expected = theirs(text)
        made = attempt(text)
        if isinstance(made, RequestError):
            assert made.http_status == 400
            assert expected is None or any(part in made.message for part in LAXITIES), (text, made.message)
            _check_path(field, made)
        else:
            assert expected is not None or refused_for_nothing(text), f"{text} was taken, as {made}"
            assert expected is None or canonical(made) == canonical(expected), text
            assert_printable(made)


def _check_path(field: str, error: RequestError) -> None:
    """Every refusal says where, and what was expected."""
    for violation in error.violations:
        assert violation.field == "" or violation.field.split(".")[0].split("[")[0] == field, violation
        assert violation.description


def assert_printable(made: Any) -> None:
    """Whatever is taken can be printed again."""
    json.loads(printer().encode(made.SerializeToString()))


JSON: Final = st.recursive(
    st.sampled_from([value for value in AWKWARD if not isinstance(value, (list, dict))]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([field.name for field in EVERYTHING.fields]), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["", "a", "1", "-1", "true", "s", "n", "deep", "@type", "value"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([field.json_name for field in EVERYTHING.fields]), JSON, max_size=4))
@settings(max_examples=300, deadline=None)
@example({"a_self": {"a_self": {"r_int32": [1, "x"]}}})
def test_any_json_is_taken_or_refused_with_a_path(value: dict[str, Any]) -> None:
    made = attempt(json.dumps(value))
    if isinstance(made, RequestError):
        assert made.http_status == 400
        assert made.violations
        assert all(each.description for each in made.violations)
    else:
        expected = theirs(json.dumps(value))
        assert expected is not None or refused_for_nothing(json.dumps(value)), f"{value} was taken, as {made}"
        assert expected is None or canonical(made) == canonical(expected)
        assert_printable(made)


def test_awkward_values_hold_what_they_should() -> None:
    assert any(isinstance(value, float) and math.copysign(1, value) < 0 for value in AWKWARD)
    assert theirs('{"a_int32": 1}').a_int32 == 1
