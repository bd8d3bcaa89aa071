"""Texts of a URL as JSON values of the fields that they are for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from orchestration.gateway.schema import SCALAR_MESSAGES, describe_range, describe_type, integer_range

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
Converter = Callable[[str], JsonValue]
"""Raises ValueError, saying what would be right."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_MASK: Final = re.compile(r"{0}(\.({0}|`[^`,_]+`))*(,{0}(\.({0}|`[^`,_]+`))*)*".format(r"[^\s,_.`]+"))
"""Paths without an underscore: those that have none when turned into snake_case, and back, are the same again."""
LARGEST_FLOAT: Final = 3.4028234663852886e38
"""Of 32 bits. Printed with as few digits as tell it apart, it is 3.4028235e38, which is a little more."""
FLOAT_LIMIT: Final = 3.4028235677973366e38
"""What rounds to more than the largest 32-bit float: its maximum and half a unit in the last place."""
STRICT_BOOLS: Final[Mapping[str, bool]] = {"true": True, "false": False}
PATH_BOOLS: Final[Mapping[str, bool]] = {**STRICT_BOOLS, "True": True, "False": False}
"""Google's clients for Python spell a bool in a path as Python does."""
LAX_BOOLS: Final[Mapping[str, bool]] = {
    spelling: value
    for value, words in ((True, ("true", "t", "yes", "y", "on", "1")), (False, ("false", "f", "no", "n", "off", "0")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}


def url_converter(field: FieldDescriptor, bools: Mapping[str, bool] | None = None) -> Converter | None:
    """What reads one value of the field from a URL; None when its type cannot stand there.

    Args:
        field: The field.
        bools: What is taken for a bool; None: ``true`` and ``false``.
    """
    if field.message_type is None:
        return _scalar_converter(field, bools or STRICT_BOOLS)
    name = field.message_type.full_name
    if name not in SCALAR_MESSAGES:
        return None
    if name == "google.protobuf.FieldMask":
        return read_mask
    inner = field.message_type.fields_by_name.get("value")
    return str if inner is None else _scalar_converter(inner, bools or STRICT_BOOLS)


def _scalar_converter(field: FieldDescriptor, bools: Mapping[str, bool]) -> Converter:
    if field.enum_type is not None:
        return _enum_converter(field)
    bounds = integer_range(field)
    if bounds is not None:
        return _integer_converter(field, *bounds)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _bool_converter(field, bools)
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return _float_converter(field)
    return _read_bytes if field.type == FieldDescriptor.TYPE_BYTES else str


def _integer_converter(field: FieldDescriptor, lowest: int, highest: int) -> Converter:
    expected, range_expected = describe_type(field), describe_range(field)

    def read(text: str) -> JsonValue:
        if _INTEGER.fullmatch(text) is None:
            raise ValueError(expected)
        if not lowest <= (number := int(text)) <= highest:
            raise ValueError(range_expected)
        return number

    return read


def _float_converter(field: FieldDescriptor) -> Converter:
    limit = FLOAT_LIMIT if field.type == FieldDescriptor.TYPE_FLOAT else float("inf")
    expected = describe_type(field) + (" that fits 32 bits" if field.type == FieldDescriptor.TYPE_FLOAT else "")

    def read(text: str) -> JsonValue:
        if text in ("NaN", "Infinity", "-Infinity"):
            return text
        if _NUMBER.fullmatch(text) is None or abs(number := float(text)) >= limit:
            raise ValueError(expected)
        return number if limit == float("inf") else max(-LARGEST_FLOAT, min(LARGEST_FLOAT, number))

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


def _bool_converter(field: FieldDescriptor, bools: Mapping[str, bool]) -> Converter:
    expected = describe_type(field)

    def read(text: str) -> JsonValue:
        try:
            return bools[text]
        except KeyError:
            raise ValueError(expected) from None

    return read


def _read_bytes(text: str) -> JsonValue:
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise ValueError("bytes (base64, standard or URL-safe)") from None
    return base64.b64encode(data).decode()


def read_mask(text: str) -> str:
    """The JSON form of a FieldMask, which is lowerCamelCase; paths as the proto spells them are turned into that.

    Raises ValueError, saying what would be right, for paths that no JSON form leads back to.
    """
    paths = text.split(",") if text else []
    mask = ",".join(_camel_case(path) for path in paths)
    if not all(_snake_case(_camel_case(path)) == path for path in paths if "_" in path) or not _is_reversible(mask):
        raise ValueError(MASK_WORDS)
    return mask


MASK_WORDS: Final = (
    "FieldMask (paths separated by commas, in lowerCamelCase or snake_case, that can be turned into the other and back)"
)


def _is_reversible(mask: str) -> bool:
    """Whether a FieldMask's JSON form means one list of paths, and that list this form.

    A capital beyond ASCII, which no field's name has, becomes a small letter in the path, and none again in its JSON.
    """
    if not mask.isascii() and any(letter.isupper() and not letter.isascii() for letter in mask):
        return False
    return not mask or _MASK.fullmatch(mask) is not None


def _camel_case(path: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), path)


def _snake_case(path: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found.group().lower(), path)
