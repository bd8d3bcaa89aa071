"""Single string fields at the top of a message: read from its JSON, read and set in its wire bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.values import JsonValue
from orchestration.gateway.wire import BYTES, bytes_tag, read_field, write_varint

ReadString = Callable[[bytes], str]


def string_field(message: Descriptor | None, name: str) -> FieldDescriptor | None:
    """The field of that name, where it is a single string."""
    field = None if message is None else message.fields_by_name.get(name)
    if field is None or field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
        return None
    return field


def string_reader(field: FieldDescriptor) -> ReadString:
    """Makes a function that gives a field's value from its message's JSON; empty where it is not set."""
    return _last_key(field.name) if _comes_last(field) else _top_key(field.name)


def _top_key(name: str) -> ReadString:
    def read(body: bytes) -> str:
        message: JsonValue = json.loads(body)
        value = message.get(name) if isinstance(message, dict) else None
        return value if isinstance(value, str) else ""

    return read


def _last_key(name: str) -> ReadString:
    # Within a JSON string every quote is escaped, so that the mark cannot be part of a value.
    mark = f'"{name}":"'.encode()
    read_slowly = _top_key(name)

    def read(body: bytes) -> str:
        at = body.rfind(mark)
        if at < 0:  # the JSON is indented
            return read_slowly(body)
        start = at + len(mark)
        value = body[start : body.find(b'"', start)]
        # An escaped quote ends the value too early: it is then read as JSON is.
        return read_slowly(body) if b"\\" in value else value.decode()

    return read


def _comes_last(field: FieldDescriptor) -> bool:
    """Whether the field is always printed, and no key of its name can be printed after it."""
    if field.has_presence:
        return False
    message = field.containing_type
    assert message is not None
    others = [other for other in message.fields if other is not field]
    return not any(
        (other.number > field.number or other.index > field.index) and _may_hold(other, field.name, set())
        for other in others
    )


def _may_hold(field: FieldDescriptor, name: str, seen: set[str]) -> bool:
    """Whether the JSON of a field can have a key of that name within it."""
    message = field.message_type
    if message is None or message.full_name in seen:
        return False
    if message.full_name.startswith("google.protobuf."):
        return message.name in ("Struct", "Value", "ListValue", "Any")
    seen.add(message.full_name)
    if message.GetOptions().map_entry:
        return message.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING or _may_hold(
            message.fields_by_name["value"], name, seen
        )
    return any(name in (each.name, each.json_name) or _may_hold(each, name, seen) for each in message.fields)


def get_string(wire: bytes, numbers: Sequence[int]) -> str:
    """The string at a path of field numbers in a message's wire bytes; empty where it is not set."""
    value, at, wanted = b"", 0, numbers[0] << 3 | BYTES
    while at < len(wire):
        key, start, at = read_field(wire, at)
        if key == wanted:
            # A message that is there twice is merged, a string that is there twice is the last one.
            value = value + wire[start:at] if len(numbers) > 1 else wire[start:at]
    return get_string(value, numbers[1:]) if len(numbers) > 1 else value.decode()


def with_string(wire: bytes, numbers: Sequence[int], value: str) -> bytes:
    """The message with the string set at a path of field numbers: what comes last counts, and messages are merged."""
    content = value.encode()
    for number in reversed(numbers):
        content = bytes_tag(number) + write_varint(len(content)) + content
    return wire + content
