"""Paths of fields, such as ``filter.name``, and JSON values at them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.schema import SCALAR_MESSAGES, find_field, is_map
from orchestration.gateway.values import STRICT_BOOLS, Converter, JsonValue, url_converter

MAX_DEPTH = 100
"""Longest path, as protobuf's own limit of nesting is."""

OneofChoice = tuple[tuple[str, ...], str]
"""A oneof (the path of its message and its name) and the member taken."""


class FieldPathError(ValueError):
    """The path leads to no field that can stand in a URL; the text says why."""

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown
        """Whether there is no such field at all."""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A leaf field that a URL can fill."""

    names: tuple[str, ...]
    """Proto names, from the request message down."""
    field: FieldDescriptor
    convert: Converter
    oneofs: tuple[OneofChoice, ...]
    """Choices in oneofs that filling it makes."""


def resolve(
    message: Descriptor, path: Sequence[str], bools: Mapping[str, bool] = STRICT_BOOLS, *, key: str | None = None
) -> FieldPath:
    """The leaf that a path leads to, its names in any spelling. Raises `FieldPathError`.

    Args:
        message: The request.
        path: Names of fields.
        bools: What is taken for a bool.
        key: The leaf is the value at this key of a map; None: the path leads to the leaf itself.
    """
    if len(path) > MAX_DEPTH:
        raise FieldPathError(f"has more than {MAX_DEPTH} levels")
    names: list[str] = []
    oneofs: list[OneofChoice] = []
    field = _field_of(message, path[0])
    _note(field, names, oneofs)
    for name in path[1:]:
        field = _field_of(_message_of(field), name)
        _note(field, names, oneofs)
    if key is not None:
        names.append(_key_of(field, key))
        assert field.message_type is not None
        field = field.message_type.fields_by_name["value"]
    return FieldPath(tuple(names), field, _converter_of(field, bools), tuple(oneofs))


def _field_of(message: Descriptor, name: str) -> FieldDescriptor:
    field = find_field(message, name)
    if field is None:
        raise FieldPathError(f"{message.name} has no field {name!r}", unknown=True)
    return field


def _note(field: FieldDescriptor, names: list[str], oneofs: list[OneofChoice]) -> None:
    """Add a step of the path. A proto3 optional field stands in a oneof of its own, which chooses nothing."""
    oneof = field.containing_oneof
    if oneof is not None and len(oneof.fields) > 1:
        oneofs.append(((*names, oneof.name), field.name))
    names.append(field.name)


def _message_of(field: FieldDescriptor) -> Descriptor:
    """The message that a path goes on in."""
    if is_map(field):
        raise FieldPathError(f"{field.name} is a map, which only a body can hold")
    message = field.message_type
    if message is None:
        raise FieldPathError(f"{field.name} is no message, so that nothing can follow it")
    if field.is_repeated:
        raise FieldPathError(f"{field.name} is a list of messages, which only a body can hold")
    if message.full_name in SCALAR_MESSAGES or message.full_name == "google.protobuf.Any":
        raise FieldPathError(f"{field.name} is a {message.full_name}, whose parts cannot be named")
    return message


def _key_of(field: FieldDescriptor, key: str) -> str:
    """The key as JSON has it."""
    if not is_map(field):
        raise FieldPathError(f"{field.name} is no map, so that it has no keys")
    assert field.message_type is not None
    converter = url_converter(field.message_type.fields_by_name["key"])
    assert converter is not None
    try:
        return str(converter(key)).lower() if key in STRICT_BOOLS else str(converter(key))
    except ValueError as error:
        raise FieldPathError(f"the key must be {error}, not {json.dumps(key)}") from error


def _converter_of(field: FieldDescriptor, bools: Mapping[str, bool]) -> Converter:
    if is_map(field):
        raise FieldPathError(f"{field.name} is a map, which only a body can hold")
    converter = url_converter(field, bools)
    if converter is not None:
        return converter
    assert field.message_type is not None
    if field.is_repeated or field.message_type.full_name.startswith("google.protobuf."):
        raise FieldPathError(f"{field.name} ({field.message_type.full_name}) can only be given in a body")
    raise FieldPathError(f"{field.name} is a message: name one of its fields, as in {field.name}.x")


def put(value: dict[str, JsonValue], names: Sequence[str], leaf: JsonValue) -> None:
    """Set the value at a path, making the objects on the way."""
    for name in names[:-1]:
        below = value.setdefault(name, {})
        assert isinstance(below, dict)
        value = below
    value[names[-1]] = leaf


def merge(message: Descriptor, value: JsonValue, path: FieldPath, leaf: JsonValue) -> JsonValue:
    """Set the value at a path in a caller's object, unless it is there already, in whatever spelling.

    Gives:
        What the caller's object holds there; None where it held nothing, and `leaf` was set.
    """
    for name in path.names[:-1]:
        if not isinstance(value, dict):
            return None
        field = message.fields_by_name[name]
        key = _spelling(value, field)
        if value.get(key) is None:
            value[key] = {}
        value = value[key]
        assert field.message_type is not None
        message = field.message_type
    if not isinstance(value, dict):
        return None
    key = _spelling(value, path.field)
    there = value.get(key)
    if there is None:
        value[key] = leaf
    return there


def _spelling(value: dict[str, JsonValue], field: FieldDescriptor) -> str:
    return field.json_name if field.json_name in value else field.name
