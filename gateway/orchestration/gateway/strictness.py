"""Where the JSON runtime differs from ProtoJSON: put right, or refused, for those messages alone that it concerns.

- It takes a FieldMask whose JSON form does not lead back to the same paths, and then cannot print it. It knows no path
  as the proto spells it, which clients write all the same: such paths are turned into their JSON form.
- It takes a map with numbers for keys that names one key in two spellings, such as 1 and 01, and keeps the last.
- It refuses an enum's number with an exponent or an empty fraction, such as 1.0, though it takes them for integers.
- It refuses the largest float as most languages print it, 3.4028235e38, which is a little more than it is.
- It prints floats of 32 bits with the digits of a double.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.diagnosis import entry, join, shown
from orchestration.gateway.errors import Violation
from orchestration.gateway.schema import is_map, reachable
from orchestration.gateway.values import FLOAT_LIMIT, LARGEST_FLOAT, JsonValue, read_mask

_FIELD_MASK: Final = "google.protobuf.FieldMask"
_FLOAT_VALUE: Final = "google.protobuf.FloatValue"
_LARGEST_ENUM: Final = 2**31
"""More is out of the range of any enum's number."""

Found = tuple[dict[str, JsonValue], str, FieldDescriptor, str]
"""The object that holds a field, its key there, the field, and its JSON path."""


class FieldFinder:
    """Finds the fields of some kind in the JSON of a message, at any depth, and looks nowhere else."""

    def __init__(self, message: Descriptor, wanted: Callable[[FieldDescriptor], bool]) -> None:
        messages = reachable(message)
        leading = {each.full_name for each in messages if any(map(wanted, each.fields))}
        grown = True
        while grown:
            more = {each.full_name for each in messages if any(_type(field) in leading for field in each.fields)}
            grown = not more <= leading
            leading |= more
        self._plans: Final = {
            each.full_name: {
                name: (field, wanted(field), _type(field) if _type(field) in leading else "")
                for field in each.fields
                if wanted(field) or _type(field) in leading
                for name in (field.name, field.json_name)
            }
            for each in messages
            if each.full_name in leading
        }
        self._message: Final = message.full_name

    def __bool__(self) -> bool:
        """Whether there is anything to find."""
        return bool(self._plans)

    def find(self, value: JsonValue) -> Iterator[Found]:
        """The fields that are set, whatever they are set to."""
        yield from self._in_message(self._message, value, "")

    def _in_message(self, message: str, value: JsonValue, path: str) -> Iterator[Found]:
        plan = self._plans.get(message)
        if plan is None or not isinstance(value, dict):
            return
        for key in [key for key in value if key in plan]:
            field, wanted, below = plan[key]
            at = join(path, key)
            if wanted:
                yield value, key, field, at
            if below:
                yield from self._below(field, below, value[key], at)

    def _below(self, field: FieldDescriptor, message: str, value: JsonValue, path: str) -> Iterator[Found]:
        if is_map(field):
            if isinstance(value, dict):
                for key, each in value.items():
                    yield from self._in_message(message, each, entry(path, key))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                yield from self._in_message(message, each, f"{path}[{index}]")
        else:
            yield from self._in_message(message, value, path)


def _type(field: FieldDescriptor) -> str:
    """The message that the values of a field are; of a map, that of its values."""
    if field.message_type is None:
        return ""
    if is_map(field):
        inner = field.message_type.fields_by_name["value"].message_type
        return "" if inner is None else inner.full_name
    return field.message_type.full_name


class Strictness:
    """The checks that one message needs."""

    def __init__(self, message: Descriptor) -> None:
        self._suspects = FieldFinder(message, lambda field: _type(field) == _FIELD_MASK or _has_numbers_for_keys(field))
        self._message = message
        self.needed: Final = bool(self._suspects)
        """Whether `settle` can find anything at all."""

    @cached_property
    def _floats(self) -> FieldFinder:
        return FieldFinder(self._message, holds_floats)

    @cached_property
    def _enums(self) -> FieldFinder:
        return FieldFinder(self._message, _holds_enums)

    def settle(self, value: JsonValue) -> list[Violation]:
        """Put right what the runtime knows in one spelling alone, and give what it takes and must not."""
        return [
            each for holder, key, field, path in self._suspects.find(value) for each in _look(field, holder, key, path)
        ]

    def ease(self, value: JsonValue) -> bool:
        """Spell numbers that the runtime refuses for their form alone as it takes them. Gives whether there was any."""
        rounded = _change_each(self._floats, value, _rounded)
        return _change_each(self._enums, value, _whole) or rounded


def shorten_floats(floats: FieldFinder, value: JsonValue) -> None:
    """Print floats with as few digits as tell them apart from others of 32 bits."""
    _change_each(floats, value, _shortened)


def _change_each(fields: FieldFinder, value: JsonValue, change: Callable[[JsonValue], JsonValue]) -> bool:
    """Change all values of the fields found. Gives whether any became another object."""
    changed = False
    for holder, key, _, _ in fields.find(value):
        for place, at in _places(holder, key):
            there = place[at]
            place[at] = change(there)
            changed = changed or place[at] is not there
    return changed


def _places(holder: dict[str, JsonValue], key: str) -> list[tuple[Any, str | int]]:
    """Where the single values of a field are."""
    there = holder[key]
    if isinstance(there, list):
        return [(there, index) for index in range(len(there))]
    return [(there, name) for name in there] if isinstance(there, dict) else [(holder, key)]


def _shortened(value: JsonValue) -> JsonValue:
    """The largest float keeps its digits: json_format for Python refuses what is more than it, as its short form is."""
    if not isinstance(value, float):
        return value
    exact = struct.pack("<f", value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= LARGEST_FLOAT and struct.pack("<f", short) == exact:
            return short
    return value


def _has_numbers_for_keys(field: FieldDescriptor) -> bool:
    if not is_map(field):
        return False
    assert field.message_type is not None
    return field.message_type.fields_by_name["key"].type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL)


def holds_floats(field: FieldDescriptor) -> bool:
    """Whether the values of a field are floats of 32 bits."""
    if is_map(field):
        assert field.message_type is not None
        field = field.message_type.fields_by_name["value"]
    return field.type == FieldDescriptor.TYPE_FLOAT or _type(field) == _FLOAT_VALUE


def _holds_enums(field: FieldDescriptor) -> bool:
    if is_map(field):
        assert field.message_type is not None
        field = field.message_type.fields_by_name["value"]
    return field.enum_type is not None


def _whole(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and abs(value) <= _LARGEST_ENUM and value.is_integer():
        return int(value)
    return value


def _rounded(value: JsonValue) -> JsonValue:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return value
    if LARGEST_FLOAT < abs(number) < FLOAT_LIMIT:
        return LARGEST_FLOAT if number > 0 else -LARGEST_FLOAT
    return value


def _look(field: FieldDescriptor, holder: dict[str, JsonValue], key: str, path: str) -> Iterator[Violation]:
    value = holder[key]
    if isinstance(value, dict) and _has_numbers_for_keys(field):
        yield from _keys(value, path)
    if _type(field) == _FIELD_MASK:
        for place, at in _places(holder, key):
            where = path if place is holder else f"{path}[{at}]" if isinstance(at, int) else entry(path, at)
            yield from _mask(place, at, where)


def _mask(holder: Any, key: str | int, path: str) -> Iterator[Violation]:
    """Give the mask there its JSON form. What is no text is left to the codec."""
    text = holder[key]
    if isinstance(text, str):
        try:
            holder[key] = read_mask(text)
        except ValueError as error:
            yield Violation(path, f"expected {error}, got {shown(text)}")


def _keys(value: dict[str, JsonValue], path: str) -> Iterator[Violation]:
    seen: dict[float, str] = {}
    for key in value:
        try:
            number: float = int(key) if key.lstrip("-").isdecimal() else float(key)
        except ValueError:
            continue  # the codec refuses it
        other = seen.setdefault(number, key)
        if other != key:
            yield Violation(entry(path, key), f"is the same key as {shown(other)}")
