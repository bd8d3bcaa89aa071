"""What exactly is wrong with a JSON value that does not fit its message: slow, and only for answers of 400."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.errors import Violation
from orchestration.gateway.schema import describe_type, find_field, is_map
from orchestration.gateway.values import JsonValue, url_converter

Fits = Callable[[Descriptor, JsonValue], bool]
"""Whether a JSON value is taken for a message."""

_MOST = 20
_SHOWN = 60


class Pairs(list[tuple[str, Any]]):
    """A JSON object with all its keys, also those that occur twice."""


def find_violations(message: Descriptor, value: JsonValue, fits: Fits) -> list[Violation]:
    """What does not fit, each with its JSON path; at least one."""
    found: list[Violation] = []
    for violation in _in_message(message, value, "", fits):
        found.append(violation)
        if len(found) == _MOST:
            break
    return found or [Violation("", f"is no valid {message.full_name}")]


def _in_message(message: Descriptor, value: JsonValue, path: str, fits: Fits) -> Iterator[Violation]:
    if message.full_name.startswith("google.protobuf.") or not isinstance(value, dict):
        yield Violation(path, f"expected a JSON object ({message.name}), got {_shown(value)}")
        return
    for key, each in value.items():
        at = f"{path}.{key}" if path else key
        field = find_field(message, key)
        if field is None or not (field.name == key or field.json_name == key):
            yield Violation(at, f"{message.name} has no such field")
        elif not fits(message, {key: each}):
            yield from _in_field(field, key, each, at, fits)


def _in_field(field: FieldDescriptor, key: str, value: JsonValue, path: str, fits: Fits) -> Iterator[Violation]:
    owner = field.containing_type
    assert owner is not None
    if is_map(field):
        if not isinstance(value, dict):
            yield Violation(path, f"expected a JSON object, got {_shown(value)}")
            return
        for name, each in value.items():
            if not fits(owner, {key: {name: each}}):
                assert field.message_type is not None
                element = field.message_type.fields_by_name["value"]
                yield from _in_entry(field, element, name, each, f"{path}[{json.dumps(name)}]", fits)
    elif field.is_repeated:
        if not isinstance(value, list):
            yield Violation(path, f"expected a JSON array, got {_shown(value)}")
            return
        for index, each in enumerate(value):
            if not fits(owner, {key: [each]}):
                yield from _in_value(field, each, f"{path}[{index}]", fits)
    else:
        yield from _in_value(field, value, path, fits)


def _in_entry(
    field: FieldDescriptor, element: FieldDescriptor, name: str, value: JsonValue, path: str, fits: Fits
) -> Iterator[Violation]:
    """One entry of a map that does not fit: by its key, or else by its value."""
    assert field.message_type is not None
    key = field.message_type.fields_by_name["key"]
    converter = url_converter(key)
    assert converter is not None
    try:
        converter(name)
    except ValueError as error:
        yield Violation(path, f"the key must be {error}, not {_shown(name)}")
    else:
        yield from _in_value(element, value, path, fits)


def _in_value(field: FieldDescriptor, value: JsonValue, path: str, fits: Fits) -> Iterator[Violation]:
    message = field.message_type
    if message is not None and not message.full_name.startswith("google.protobuf.") and isinstance(value, dict):
        inner = list(_in_message(message, value, path, fits))
        yield from inner or [Violation(path, "is nested too deeply")]
    else:
        yield Violation(path, f"expected {describe_type(field)}, got {_shown(value)}")


def _shown(value: JsonValue) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def find_duplicates(message: Descriptor | None, value: Any, path: str) -> list[Violation]:
    """Fields and keys that occur twice, in either spelling. Without a message, keys alone are compared."""
    if isinstance(value, Pairs):
        return _duplicates_in_object(message, value, path)
    if _is_array(value):
        return [each for index, item in enumerate(value) for each in find_duplicates(message, item, f"{path}[{index}]")]
    return []


def _is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _duplicates_in_object(message: Descriptor | None, pairs: Pairs, path: str) -> list[Violation]:
    found: list[Violation] = []
    seen: dict[str, str] = {}
    for key, value in pairs:
        field = None if message is None else find_field(message, key)
        name = key if field is None else field.name
        at = f"{path}.{key}" if path else key
        if name in seen:
            other = "" if seen[name] == key else f" (also spelt {seen[name]})"
            found.append(Violation(at, f"is given twice{other}"))
        seen[name] = key
        found.extend(_duplicates_in_field(field, value, at))
    if message is not None:
        found.extend(_rivals(message, pairs, path))
    return found


def _rivals(message: Descriptor, pairs: Pairs, path: str) -> Iterator[Violation]:
    """Members of one oneof that are set together."""
    members: dict[str, list[str]] = {}
    for key, value in pairs:
        field = find_field(message, key)
        if field is not None and value is not None and field.containing_oneof is not None:
            members.setdefault(field.containing_oneof.name, []).append(key)
    for oneof, keys in members.items():
        if len(keys) > 1:
            yield Violation(path or oneof, f"only one of {', '.join(keys)} may be set (oneof {oneof})")


def _duplicates_in_field(field: FieldDescriptor | None, value: Any, path: str) -> list[Violation]:
    if field is None or field.message_type is None or field.message_type.full_name.startswith("google.protobuf."):
        return find_duplicates(None, value, path)
    if not is_map(field) or not isinstance(value, Pairs):
        return find_duplicates(field.message_type, value, path)
    element = field.message_type.fields_by_name["value"]
    found = find_duplicates(None, Pairs((key, None) for key, _ in value), path)
    for key, each in value:
        found.extend(_duplicates_in_field(element, each, f"{path}[{json.dumps(key)}]"))
    return found
