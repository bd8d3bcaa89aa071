"""What exactly is wrong with a JSON value that does not fit its message: slow, and only for answers of 400."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.errors import Violation
from orchestration.gateway.schema import (
    ANY,
    FREE_JSON,
    SCALAR_MESSAGES,
    describe_message,
    describe_range,
    describe_type,
    find_field,
    find_type,
    has_own_json,
    integer_range,
    is_map,
    is_text,
)
from orchestration.gateway.values import JsonValue, url_converter

Fits = Callable[[Descriptor, JsonValue], bool]
"""Whether a JSON value is taken for a message."""

_MOST = 20
_SHOWN = 60
_NAME = 200
_DEPTH = 100
"""Most levels of messages, as protobuf's own limit of nesting is."""
_BUDGET = 50_000
"""Most values that are looked at: a caller must not buy seconds of this process with one large bad body."""


class _SpentError(Exception):
    """The budget is used up."""


def find_violations(message: Descriptor, value: JsonValue, fits: Fits, said: str) -> list[Violation]:
    """What does not fit, each with its JSON path; at least one: failing all else, what the codec said."""
    found: list[Violation] = []
    try:
        for violation in _Walk(fits).message(message, value, "", 0):
            found.append(violation)
            if len(found) == _MOST:
                break
    except (_SpentError, RecursionError):
        pass
    return found or [Violation("", f"is no valid {message.full_name}: {_cut(said)}")]


def join(path: str, name: str) -> str:
    """The JSON path of a member."""
    name = _cut(name)
    return f"{path}.{name}" if path else name


def entry(path: str, key: str) -> str:
    """The JSON path of an entry of a map."""
    return f"{path}[{json.dumps(_cut(key))}]"


def _cut(name: str) -> str:
    """Callers choose names, and these come back in answers and logs."""
    name = name if len(name) <= _NAME else name[:_NAME] + "..."
    return name.encode(errors="backslashreplace").decode()


def shown(value: JsonValue) -> str:
    """A value as JSON, cut where it is long."""
    if isinstance(value, str):
        value = value[: _SHOWN + 1]
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "[..." if isinstance(value, list) else "{..."
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class _Walk:
    """Goes through a value by its schema. Each leaf that is not plainly right is tried alone."""

    def __init__(self, fits: Fits) -> None:
        self._fits = fits
        self._left = _BUDGET

    def message(self, message: Descriptor, value: JsonValue, path: str, depth: int) -> Iterator[Violation]:
        if has_own_json(message):
            yield from self._special(message, value, path)
            return
        if not isinstance(value, dict):
            yield Violation(path, f"expected {describe_message(message)}, got {shown(value)}")
            return
        if depth >= _DEPTH:
            yield Violation(path, f"is nested more than {_DEPTH} levels deep")
            return
        for key, each in value.items():
            field = find_field(message, key)
            if field is None or key not in (field.name, field.json_name):
                yield Violation(join(path, key), f"{message.name} has no such field")
            elif each is not None:
                yield from self._field(field, each, join(path, key), depth)

    def _field(self, field: FieldDescriptor, value: JsonValue, path: str, depth: int) -> Iterator[Violation]:
        if is_map(field):
            if not isinstance(value, dict):
                yield Violation(path, f"expected JSON object, got {shown(value)}")
                return
            for key, each in value.items():
                yield from self._entry(field, key, each, entry(path, key), depth)
        elif field.is_repeated:
            if not isinstance(value, list):
                yield Violation(path, f"expected JSON array of {describe_type(field)}, got {shown(value)}")
                return
            for index, each in enumerate(value):
                yield from self._value(field, [each], each, f"{path}[{index}]", depth, field)
        else:
            yield from self._value(field, value, value, path, depth, field)

    def _entry(self, field: FieldDescriptor, key: str, value: JsonValue, path: str, depth: int) -> Iterator[Violation]:
        """One entry of a map: wrong by its key, or else by its value."""
        assert field.message_type is not None
        converter = url_converter(field.message_type.fields_by_name["key"])
        assert converter is not None
        try:
            converter(key)
            key.encode()
        except ValueError as error:
            # Whole numbers may be spelt in more ways than a URL takes.
            if not self._alone(field, {key: _some_value(field)}):
                reason = "string" if isinstance(error, UnicodeEncodeError) else str(error)
                yield Violation(path, f"the key must be {reason}, not {shown(key)}")
                return
        yield from self._value(field.message_type.fields_by_name["value"], {key: value}, value, path, depth, field)

    def _value(
        self, field: FieldDescriptor, alone: JsonValue, value: JsonValue, path: str, depth: int, owner: FieldDescriptor
    ) -> Iterator[Violation]:
        """One value of a field, of a list or of a map; `alone` is what `owner` holds when it holds this value only."""
        self._spend()
        message = field.message_type
        if message is not None and isinstance(value, dict) and message.full_name not in SCALAR_MESSAGES:
            yield from self.message(message, value, path, depth + 1)
        elif not _plainly_right(field, value) and not self._alone(owner, alone):
            if message is not None and message.full_name in FREE_JSON:
                yield from self._special(message, value, path)
            else:
                yield Violation(path, f"expected {_expected(field, value)}, got {shown(value)}")

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _SpentError

    def _alone(self, field: FieldDescriptor, value: JsonValue) -> bool:
        owner = field.containing_type
        assert owner is not None
        return self._fits(owner, {field.name: value})

    def _special(self, message: Descriptor, value: JsonValue, path: str) -> Iterator[Violation]:
        """A message with a JSON form of its own."""
        if self._fits(message, value):
            return
        if message.full_name == ANY and isinstance(value, dict):
            yield from self._any(message, value, path)
        elif message.full_name in FREE_JSON:
            yield from _in_free_json(message, value, path, self._spend)
        else:
            yield Violation(path, f"expected {describe_message(message)}, got {shown(value)}")

    def _any(self, message: Descriptor, value: dict[str, JsonValue], path: str) -> Iterator[Violation]:
        type_url = value.get("@type")
        inner = None if not isinstance(type_url, str) else find_type(message, type_url)
        if inner is None:
            yield Violation(path, f"expected JSON object with a known @type, got {shown(type_url)}")
            return
        rest = {key: each for key, each in value.items() if key != "@type"}
        if has_own_json(inner):
            yield from self.message(inner, rest.get("value"), join(path, "value"), 0)
        else:
            yield from self.message(inner, rest, path, 1)


def _some_value(field: FieldDescriptor) -> JsonValue:
    """A value that a map's field takes."""
    assert field.message_type is not None
    value = field.message_type.fields_by_name["value"]
    if value.message_type is not None:
        return _SOME_MESSAGES.get(value.message_type.full_name, {})
    return _SOME_SCALARS.get(value.type, 0)


_SOME_SCALARS: Final[dict[int, JsonValue]] = {
    FieldDescriptor.TYPE_STRING: "",
    FieldDescriptor.TYPE_BYTES: "",
    FieldDescriptor.TYPE_BOOL: False,
}
_SOME_MESSAGES: Final[dict[str, JsonValue]] = {
    "google.protobuf.Timestamp": "1970-01-01T00:00:00Z",
    "google.protobuf.Duration": "0s",
    "google.protobuf.FieldMask": "",
    "google.protobuf.ListValue": [],
    "google.protobuf.StringValue": "",
    "google.protobuf.BytesValue": "",
    "google.protobuf.BoolValue": False,
    **{f"google.protobuf.{name}Value": 0 for name in ("Int32", "Int64", "UInt32", "UInt64", "Float", "Double")},
}


def _plainly_right(field: FieldDescriptor, value: JsonValue) -> bool:
    """Whether a scalar is of its type without any conversion."""
    if type(value) is int:
        bounds = integer_range(field)
        return bounds is not None and bounds[0] <= value <= bounds[1]
    if type(value) is str:
        return field.type == FieldDescriptor.TYPE_STRING and value.isascii()
    return type(value) is bool and field.type == FieldDescriptor.TYPE_BOOL


def _expected(field: FieldDescriptor, value: JsonValue) -> str:
    """The type; with its range for a whole number that is out of it."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool) and _is_whole(value):
        return describe_range(field) or describe_type(field)
    return describe_type(field)


def _is_whole(value: float | str) -> bool:
    try:
        return math.isfinite(number := float(value)) and number.is_integer()
    except (ValueError, OverflowError):
        return isinstance(value, int)


def _in_free_json(message: Descriptor, value: JsonValue, path: str, spend: Callable[[], None]) -> Iterator[Violation]:
    """What no Struct, Value or ListValue can hold."""
    wanted = {"google.protobuf.Struct": dict, "google.protobuf.ListValue": list}.get(message.full_name)
    if wanted is not None and not isinstance(value, wanted):
        yield Violation(path, f"expected {'JSON object' if wanted is dict else 'JSON array'}, got {shown(value)}")
        return
    for keys, each in _all_within(value):
        spend()
        said = _unfit_for_free_json(each)
        if said:
            for key in keys:  # only here: with long keys above many values, paths are far larger than the body
                path = join(path, key) if isinstance(key, str) else f"{path}[{key}]"
            yield Violation(path, said)
            return
    yield Violation(path, "is nested too deeply")


def _all_within(value: JsonValue) -> Iterator[tuple[Sequence[str | int], JsonValue]]:
    """A value and all that is in it, each with the keys that lead there: always the same list, true until the next."""
    keys: list[str | int] = []
    yield keys, value
    levels = [_items(value)]
    while levels:
        item = next(levels[-1], None)
        if item is not None:
            key, each = item
            keys.append(key)
            yield keys, each
            levels.append(_items(each))
        else:
            levels.pop()
            if keys:
                keys.pop()


def _items(value: JsonValue) -> Iterator[tuple[str | int, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _unfit_for_free_json(value: JsonValue) -> str:
    """Why a value cannot stand in a Struct, whatever is in it; empty where it can."""
    if isinstance(value, dict):
        bad = next((key for key in value if not is_text(key)), None)
        return "" if bad is None else f"expected string as a key, got {shown(bad)}"
    if isinstance(value, str) and not is_text(value):
        return f"expected string, got {shown(value)}"
    if isinstance(value, (int, float)) and not _is_double(value):
        return f"expected double, got {shown(value)}"
    return ""


def _is_double(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
