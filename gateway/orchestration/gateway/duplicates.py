"""Fields that a JSON text names twice, and members of a oneof that it sets together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.diagnosis import entry, join
from orchestration.gateway.errors import Violation
from orchestration.gateway.schema import ANY, find_field, find_type, has_own_json, is_map


class Pairs(list[tuple[str, Any]]):
    """A JSON object with all its keys, also those that occur twice."""


def find_duplicates(message: Descriptor | None, value: Any, path: str) -> list[Violation]:
    """Fields and keys that occur twice, in either spelling. Without a message, keys alone are compared."""
    if isinstance(value, Pairs):
        return _in_object(_real_type(message, value), value, path)
    if _is_array(value):
        return [each for index, item in enumerate(value) for each in find_duplicates(message, item, f"{path}[{index}]")]
    return []


def _real_type(message: Descriptor | None, pairs: Pairs) -> Descriptor | None:
    """The message that an object stands for: that of its @type where it is an Any, and none where it is free JSON."""
    if message is None or (has_own_json(message) and message.full_name != ANY):
        return None
    if message.full_name != ANY:
        return message
    type_url = next((value for key, value in pairs if key == "@type"), None)
    if not isinstance(type_url, str):
        return None
    found = find_type(message, type_url)
    if found is None:
        return None
    # One with a JSON form of its own stands in "value".
    return None if has_own_json(found) else found


def _is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _in_object(message: Descriptor | None, pairs: Pairs, path: str) -> list[Violation]:
    found: list[Violation] = []
    seen: dict[str, str] = {}
    for key, value in pairs:
        field = None if message is None else find_field(message, key)
        name = key if field is None else field.name
        at = join(path, key)
        if name in seen:
            other = "" if seen[name] == key else f" (also spelt {seen[name]})"
            found.append(Violation(at, f"is given twice{other}"))
        seen[name] = key
        found.extend(find_in_field(field, value, at))
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


def find_in_field(field: FieldDescriptor | None, value: Any, path: str) -> list[Violation]:
    """The same in the value of a field, which may be a map or a list; without a field, keys alone are compared."""
    if field is None or field.message_type is None:
        return find_duplicates(None, value, path)
    if not is_map(field) or not isinstance(value, Pairs):
        return find_duplicates(field.message_type, value, path)
    element = field.message_type.fields_by_name["value"]
    found = find_duplicates(None, Pairs((key, None) for key, _ in value), path)
    for key, each in value:
        found.extend(find_in_field(element, each, entry(path, key)))
    return found
