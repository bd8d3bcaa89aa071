"""Single string fields at the top of a message: read from its JSON, read and set in its wire bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.values import JsonValue

ReadString = Callable[[bytes], str]

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5


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
    value = b""
    for number, content in _length_delimited(wire):
        if number == numbers[0]:
            # A message that is there twice is merged, a string that is there twice is the last one.
            value = value + content if len(numbers) > 1 else content
    return get_string(value, numbers[1:]) if len(numbers) > 1 else value.decode()


def with_string(wire: bytes, numbers: Sequence[int], value: str) -> bytes:
    """The message with the string set at a path of field numbers: what comes last counts, and messages are merged."""
    content = value.encode()
    for number in reversed(numbers):
        content = _varint(number << 3 | _BYTES) + _varint(len(content)) + content
    return wire + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _length_delimited(wire: bytes) -> list[tuple[int, bytes]]:
    """Number and content of each field that has a length; the bytes were made by this gateway, so they are sound."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(wire):
        key, at = _read_varint(wire, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _read_varint(wire, at)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        else:
            size, at = _read_varint(wire, at)
            found.append((key >> 3, wire[at : at + size]))
            at += size
    return found


def _read_varint(wire: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = wire[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
