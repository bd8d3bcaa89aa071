"""Random messages, for Hypothesis: every kind of field, and what is awkward of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tests.support.transcoding_service import message as message_class

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


_INT32: Final = _integers(-(2**31), 2**31 - 1)
_INT64: Final = _integers(-(2**63), 2**63 - 1)
_UINT32: Final = _integers(0, 2**32 - 1)
_UINT64: Final = _integers(0, 2**64 - 1)
_DOUBLES: Final = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e21, 1e-7])
_FLOATS: Final = st.floats(width=32) | st.sampled_from([0.0, -0.0, 3.4028234663852886e38, 1.401298464324817e-45])

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
        return special()
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


def _timestamps() -> st.SearchStrategy[Any]:
    return st.builds(
        lambda seconds, nanos: message_class("google.protobuf.Timestamp")(seconds=seconds, nanos=nanos),
        _integers(-62_135_596_800, 253_402_300_799),
        _integers(0, 10**9 - 1),
    )


def _durations() -> st.SearchStrategy[Any]:
    return st.builds(
        lambda seconds, nanos: message_class("google.protobuf.Duration")(
            seconds=seconds, nanos=-nanos if seconds < 0 else nanos
        ),
        _integers(-315_576_000_000, 315_576_000_000),
        _integers(0, 10**9 - 1),
    )


def _free(name: str, texts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    from google.protobuf import json_format

    return texts.map(lambda value: json_format.ParseDict(value, message_class(f"google.protobuf.{name}")()))


def _masks() -> st.SearchStrategy[Any]:
    return _PATHS.map(lambda paths: message_class("google.protobuf.FieldMask")(paths=paths))


def _anys() -> st.SearchStrategy[Any]:
    def pack(inner: Any) -> Any:
        made = message_class("google.protobuf.Any")()
        made.Pack(inner)
        return made

    inner = message_class("Sub").DESCRIPTOR
    return messages(inner).map(pack) | _timestamps().map(pack) | st.just(message_class("google.protobuf.Any")())


_SPECIAL: Final[dict[str, Callable[[], st.SearchStrategy[Any]]]] = {
    "google.protobuf.Timestamp": _timestamps,
    "google.protobuf.Duration": _durations,
    "google.protobuf.FieldMask": lambda: _PATHS.map(
        lambda paths: message_class("google.protobuf.FieldMask")(paths=paths)
    ),
    "google.protobuf.Struct": lambda: _free("Struct", st.dictionaries(TEXTS, FREE_JSON, max_size=3)),
    "google.protobuf.ListValue": lambda: _free("ListValue", st.lists(FREE_JSON, max_size=3)),
    "google.protobuf.Value": lambda: _free("Value", FREE_JSON),
    "google.protobuf.Any": _anys,
}
