"""Texts of a URL as JSON values of the fields that they are for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from orchestration.gateway.schema import SCALAR_MESSAGES, describe_type

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
Converter = Callable[[str], JsonValue]
"""Raises ValueError, saying what would be right."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_FLOAT_LIMIT: Final = 3.4028235677973366e38
"""What rounds to more than the largest 32-bit float: its maximum and half a unit in the last place."""

_INTEGER_RANGES: Final[dict[int, tuple[int, int]]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def url_converter(field: FieldDescriptor) -> Converter | None:
    """What reads one value of the field from a URL; None when its type cannot stand there."""
    if field.message_type is None:
        return _scalar_converter(field)
    name = field.message_type.full_name
    if name not in SCALAR_MESSAGES:
        return None
    if name == "google.protobuf.FieldMask":
        return _read_mask
    inner = field.message_type.fields_by_name.get("value")
    return str if inner is None else _scalar_converter(inner)


def _scalar_converter(field: FieldDescriptor) -> Converter:
    if field.enum_type is not None:
        return _enum_converter(field)
    if field.cpp_type in _INTEGER_RANGES:
        return _integer_converter(field)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _read_bool
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return _float_converter(field)
    return _read_bytes if field.type == FieldDescriptor.TYPE_BYTES else str


def _integer_converter(field: FieldDescriptor) -> Converter:
    lowest, highest = _INTEGER_RANGES[field.cpp_type]
    expected = describe_type(field)

    def read(text: str) -> JsonValue:
        if _INTEGER.fullmatch(text) is None or not lowest <= int(text) <= highest:
            raise ValueError(expected)
        return int(text)

    return read


def _float_converter(field: FieldDescriptor) -> Converter:
    limit = _FLOAT_LIMIT if field.type == FieldDescriptor.TYPE_FLOAT else float("inf")
    expected = describe_type(field) + (" that fits 32 bits" if field.type == FieldDescriptor.TYPE_FLOAT else "")
    largest = 3.4028234663852886e38

    def read(text: str) -> JsonValue:
        if text in ("NaN", "Infinity", "-Infinity"):
            return text
        if _NUMBER.fullmatch(text) is None or abs(number := float(text)) >= limit:
            raise ValueError(expected)
        return number if limit == float("inf") else max(-largest, min(largest, number))

    return read


def _enum_converter(field: FieldDescriptor) -> Converter:
    enum = field.enum_type
    assert enum is not None
    names = {value.name for value in enum.values}
    numbers = {str(value.number): value.name for value in enum.values}
    numbers.update((str(value.number), value.name) for value in reversed(enum.values))
    expected = describe_type(field)

    def read(text: str) -> JsonValue:
        if text in names:
            return text
        if text in numbers:
            return numbers[text]
        raise ValueError(expected)

    return read


def _read_bool(text: str) -> JsonValue:
    if text == "true":
        return True
    if text == "false":
        return False
    raise ValueError("true or false")


def _read_bytes(text: str) -> JsonValue:
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise ValueError("base64, standard or URL-safe") from None
    return base64.b64encode(data).decode()


def _read_mask(text: str) -> JsonValue:
    """Both spellings: the JSON form is lowerCamelCase, a path as the proto has it is turned into that."""
    return re.sub(r"_([a-z0-9])", lambda found: found.group(1).upper(), text)
