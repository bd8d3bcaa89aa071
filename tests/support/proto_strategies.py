"""Random messages, for Hypothesis: every kind of field, and what is awkward of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

_F: Final = FieldDescriptor
TEXTS: Final = st.text(max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "/",
        "//",
        "..",
        "a/b",
        "%",
        "%2F",
        "+",
        "&",
        "=",
        "?",
        "#",
        ":",
        "é",
        "日本",
        "😀",
        "\0",
        "\x7f",
        '"',
        "\\",
    ]
)


def _integers(lowest: int, highest: int) -> st.SearchStrategy[int]:
    return st.sampled_from([0, 1, lowest, highest, min(highest, 2**31), min(highest, 2**53 + 1)]) | st.integers(
        lowest, highest
    )


def _one_nan(number: float) -> float:
    """JSON knows one NaN."""
    return math.nan if math.isnan(number) else number


_INT32: Final = _integers(-(2**31), 2**31 - 1)
_INT64: Final = _integers(-(2**63), 2**63 - 1)
_UINT32: Final = _integers(0, 2**32 - 1)
_UINT64: Final = _integers(0, 2**64 - 1)
_DOUBLES: Final = st.floats().map(_one_nan) | st.sampled_from(
    [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e21, 1e-7]
)
_FLOATS: Final = st.floats(width=32).map(_one_nan) | st.sampled_from(
    [0.0, -0.0, 3.4028234663852886e38, 1.401298464324817e-45]
)

_SCALARS: Final[dict[int, st.SearchStrategy[Any]]] = {
    _F.TYPE_DOUBLE: _DOUBLES,
    _F.TYPE_FLOAT: _FLOATS,
    _F.TYPE_INT32: _INT32,
    _F.TYPE_SINT32: _INT32,
    _F.TYPE_SFIXED32: _INT32,
    _F.TYPE_INT64: _INT64,
    _F.TYPE_SINT64: _INT64,
    _F.TYPE_SFIXED64: _INT64,
    _F.TYPE_UINT32: _UINT32,
    _F.TYPE_FIXED32: _UINT32,
    _F.TYPE_UINT64: _UINT64,
    _F.TYPE_FIXED64: _UINT64,
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_STRING: TEXTS,
    _F.TYPE_BYTES: st.binary(max_size=9),
}

FREE_JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
_NAME: Final = st.from_regex(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*){0,2}", fullmatch=True)
_PATHS: Final = st.lists(st.lists(_NAME, min_size=1, max_size=3).map(".".join), max_size=3)


def messages(descriptor: Descriptor, depth: int = 2) -> st.SearchStrategy[Any]:
    """Messages of a type with some of their fields set, other messages in them down to a depth."""
    special = _SPECIAL.get(descriptor.full_name)
    if special is not None:
        return special(descriptor)
    fields = [field for field in descriptor.fields if depth > 0 or field.message_type is None]

    @st.composite
    def draw_message(draw: st.DrawFn) -> Any:
        made = message_factory.GetMessageClass(descriptor)()
        for field in draw(st.lists(st.sampled_from(fields), max_size=6, unique_by=id)) if fields else []:
            _fill(draw, made, field, depth)
        return made

    return draw_message()


def values(field: FieldDescriptor, depth: int = 1) -> st.SearchStrategy[Any]:
    """Single values of a field."""
    if field.message_type is not None:
        return messages(field.message_type, depth - 1)
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        unknown = [] if field.enum_type.full_name == "google.protobuf.NullValue" else [99, -1]
        return st.sampled_from([*numbers, *unknown])
    return _SCALARS[field.type]


def _fill(draw: st.DrawFn, made: Any, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for name in draw(st.lists(values(key), max_size=3, unique=True)):
            given = draw(values(value, depth))
            if value.message_type is not None:
                getattr(made, field.name)[name].CopyFrom(given)
            else:
                getattr(made, field.name)[name] = given
    elif field.is_repeated:
        getattr(made, field.name).extend(draw(st.lists(values(field, depth), max_size=3)))
    elif field.message_type is not None:
        getattr(made, field.name).CopyFrom(draw(values(field, depth)))
    else:
        setattr(made, field.name, draw(values(field, depth)))


def _timestamps(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    made: Any = message_factory.GetMessageClass(descriptor)

    def make(seconds: int, nanos: int) -> Any:
        return made(seconds=seconds, nanos=nanos)

    return st.builds(make, _integers(-62_135_596_800, 253_402_300_799), _integers(0, 10**9 - 1))


def _durations(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    made: Any = message_factory.GetMessageClass(descriptor)

    def make(seconds: int, nanos: int) -> Any:
        return made(seconds=seconds, nanos=-nanos if seconds < 0 else nanos)

    return st.builds(make, _integers(-315_576_000_000, 315_576_000_000), _integers(0, 10**9 - 1))


def _masks(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    made: Any = message_factory.GetMessageClass(descriptor)
    return _PATHS.map(lambda paths: made(paths=paths))


def _free(values: st.SearchStrategy[Any]) -> Callable[[Descriptor], st.SearchStrategy[Any]]:
    def make(descriptor: Descriptor) -> st.SearchStrategy[Any]:
        made: Any = message_factory.GetMessageClass(descriptor)
        return values.map(lambda value: json_format.ParseDict(value, made()))

    return make


def _anys(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    made: Any = message_factory.GetMessageClass(descriptor)

    def pack(inner: Any) -> Any:
        packed = made()
        packed.Pack(inner)
        return packed

    pool = descriptor.file.pool
    sub, timestamp = map(pool.FindMessageTypeByName, ("gatewaytest.Sub", "google.protobuf.Timestamp"))
    return st.just(made()) | (messages(sub) | messages(timestamp)).map(pack)


_SPECIAL: Final[dict[str, Callable[[Descriptor], st.SearchStrategy[Any]]]] = {
    "google.protobuf.Timestamp": _timestamps,
    "google.protobuf.Duration": _durations,
    "google.protobuf.FieldMask": _masks,
    "google.protobuf.Struct": _free(st.dictionaries(TEXTS, FREE_JSON, max_size=3)),
    "google.protobuf.ListValue": _free(st.lists(FREE_JSON, max_size=3)),
    "google.protobuf.Value": _free(FREE_JSON),
    "google.protobuf.Any": _anys,
}
