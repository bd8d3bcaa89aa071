"""JSON texts that nothing is wrong with, and most are such: read in native code, several times as fast.

Whatever is not plainly right is left to the reader that says what is wrong, and where.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Final

import jiter
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.schema import ANY, FREE_JSON, SCALAR_MESSAGES
from orchestration.gateway.values import JsonValue

_Count = Callable[[Any], int]
"""How many names the objects of a value have, all together; negative where it is not plainly right."""
_DOUBTFUL: Final = -(1 << 62)
"""What makes every sum negative."""


class QuickReader:
    """Reads the JSON of one message type, or that of a field of the type, which then is a map."""

    def __init__(self, message: Descriptor, field: FieldDescriptor | None = None) -> None:
        shapes: dict[str, _Shape] = {}
        count = _count_of_message(message, shapes) if field is None else _count_of_field(field, shapes)
        self._count: Final = _nothing if count is None else count

    def read(self, data: bytes) -> JsonValue | None:
        """The value of a text; None where it is not plainly right, or is no object."""
        try:
            value: Any = jiter.from_json(data, allow_inf_nan=False)
        except ValueError:
            return None
        if value.__class__ is not dict:
            return None
        count = self._count(value)
        if count < 0:
            return None
        return value if count == data.count(b":") else _read_again(data, value, count)


def _read_again(data: bytes, value: Any, count: int) -> JsonValue | None:
    """The value that was read, where no name is there twice.

    Each name is followed by a colon. As many colons as there are names left are names of their own, all of them; more
    are in strings, or follow the name of a value that another has taken the place of. Where none has white space
    before it, those that follow a quote tell as well. To have jiter look for such names costs four times the rest.
    """
    if count == data.count(b'":') and not any(colon in data for colon in (b" :", b"\n:", b"\t:", b"\r:")):
        return value  # type: ignore[no-any-return]
    try:
        return jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)  # type: ignore[no-any-return]
    except ValueError:
        return None


class _Shape:
    """Where a message's JSON has objects within."""

    def __init__(self, message: Descriptor, shapes: dict[str, _Shape]) -> None:
        self._message = message
        self._shapes = shapes
        self._extendable: Final = message.is_extendable

    @cached_property
    def _telling(self) -> frozenset[str]:
        """Names without which no object names a field twice: second spellings, and the members of oneofs."""
        fields = self._message.fields
        names = {field.json_name for field in fields if field.json_name != field.name}
        for oneof in self._message.oneofs:
            if len(oneof.fields) > 1:
                names.update(name for field in oneof.fields for name in (field.name, field.json_name))
        return frozenset(names)

    @cached_property
    def _within(self) -> tuple[tuple[str, _Count], ...]:
        counts = ((field.name, _count_of_field(field, self._shapes)) for field in self._message.fields)
        return tuple((name, count) for name, count in counts if count is not None)

    def count(self, value: Any) -> int:
        """A `_Count`. What no such message can be is left to the codec, which refuses it."""
        if value.__class__ is not dict:
            return 0
        if not self._telling.isdisjoint(value) or (self._extendable and any(name[:1] == "[" for name in value)):
            return _DOUBTFUL
        count = len(value)
        for name, count_within in self._within:
            each = value.get(name)
            if each is not None:
                count += count_within(each)
        return count


def _count_of_field(field: FieldDescriptor, shapes: dict[str, _Shape]) -> _Count | None:
    """None where a value of the field has no objects."""
    message = field.message_type
    if message is None:
        return None
    if message.GetOptions().map_entry:
        value = _count_of_field(message.fields_by_name["value"], shapes)
        return _count_names if value is None else partial(_count_map, value)
    count = _count_of_message(message, shapes)
    return partial(_count_items, count) if field.is_repeated and count is not None else count


def _count_of_message(message: Descriptor, shapes: dict[str, _Shape]) -> _Count | None:
    name = message.full_name
    if name in SCALAR_MESSAGES:
        return None
    if name == ANY:  # what it holds is known by its @type alone
        return lambda _: _DOUBTFUL
    if name in FREE_JSON:
        return _count_free
    shape = shapes.get(name)
    if shape is None:
        shape = shapes[name] = _Shape(message, shapes)
    return shape.count


def _count_map(count: _Count, value: Any) -> int:
    return len(value) + sum(map(count, value.values())) if value.__class__ is dict else 0


def _count_items(count: _Count, value: Any) -> int:
    return sum(map(count, value)) if value.__class__ is list else 0


def _count_names(value: Any) -> int:
    return len(value) if value.__class__ is dict else 0


def _nothing(_: object) -> int:
    return 0


def _count_free(value: Any) -> int:
    """Of any JSON. A number that fits no double is not plainly right: of typed fields the codec watches over that."""
    kind = value.__class__  # isinstance costs half as much again
    if kind is dict:
        count, values = len(value), value.values()
    elif kind is list:
        count, values = 0, value
    else:
        return _DOUBTFUL if kind is float and value - value != 0 else 0
    for each in values:
        kind = each.__class__
        if kind is dict or kind is list or kind is float:
            count += _count_free(each)  # no deeper than jiter reads: 200 levels
    return count
