"""JSON Schema of single values: scalars, enums and the well-known types."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.numbers import range_pattern
from orchestration.gateway.openapi.rules import limits

_F = FieldDescriptor


class Place(Enum):
    """Where a value stands: ProtoJSON takes more than it gives, and a URL is text."""

    BODY = "body"
    URL = "url"
    ANSWER = "answer"


INTEGERS: Final[dict[int, tuple[str, int, int]]] = {
    _F.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
    _F.CPPTYPE_UINT64: ("uint64", 0, 2**64 - 1),
}
_FLOAT_MAX: Final = 3.4028234663852886e38
_SPECIAL: Final = ("NaN", "Infinity", "-Infinity")
_BASE64: Final = "^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$"
_DURATION: Final = r"^-?[0-9]{1,12}(?:\.[0-9]{1,9})?s$"
_MASK_NAME: Final = r"[a-z][a-z0-9]*(?:[A-Z][A-Za-z0-9]*|(?:_[a-z][a-z0-9]*){1,15})?"
"""In lowerCamelCase, as it is in answers, or in snake_case, which requests may have.

There is one way to match a name: with two, each name of a list would double what is tried, and a browser's page hang.
Repetitions have bounds, far above what masks hold, since pages make examples of patterns, as long as those let them.
"""
_MASK_PATH: Final = rf"{_MASK_NAME}(?:\.{_MASK_NAME}){{0,7}}"

_FIXED: Final[dict[str, JsonObject]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": _DURATION},
    "google.protobuf.FieldMask": {"type": "string", "pattern": f"^(?:{_MASK_PATH}(?:,{_MASK_PATH}){{0,63}})?$"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Value": {},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
    "google.protobuf.Any": {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string", "description": "URL whose last part names the message's type."}},
        "additionalProperties": True,
    },
}
_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)


def json_components(pattern: str) -> dict[str, JsonObject]:
    """JSON of any form whose strings, keys included, all match a pattern."""
    ref = "#/components/schemas/"
    scalars: JsonObject = {"type": ["null", "boolean", "number"]}
    text: JsonObject = {"type": "string", "pattern": pattern}
    parts = [scalars, text, {"$ref": ref + "JsonArray"}, {"$ref": ref + "JsonObject"}]
    value = {"$ref": ref + "JsonValue"}
    return {
        "JsonValue": {"anyOf": parts},
        "JsonArray": {"type": "array", "items": value},
        "JsonObject": {"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": value},
    }


def is_well_known(field: FieldDescriptor) -> bool:
    """Whether a message field has a JSON form of its own."""
    name = field.message_type.full_name if field.message_type is not None else ""
    return name in _FIXED or name in _WRAPPERS


def message_schema(message: Descriptor, place: Place) -> JsonObject | None:
    """A well-known type by itself; None for other messages."""
    if message.full_name in _WRAPPERS:
        return value_schema(message.fields_by_name["value"], place)
    return dict(_FIXED[message.full_name]) if message.full_name in _FIXED else None


def value_schema(field: FieldDescriptor, place: Place, rules: Any = None) -> JsonObject:
    """One value of a field that is no message of its own kind. Rules hold for requests alone.

    Args:
        field: Of any cardinality: of a repeated field this is an element.
        place: Where the value stands.
        rules: The buf.validate.FieldRules of this value, or None.
    """
    kind = None if rules is None or place is Place.ANSWER else rules.WhichOneof("type")
    typed = None if kind is None else getattr(rules, kind)
    if field.message_type is not None:
        return _well_known(field.message_type, place, rules)
    if field.enum_type is not None:
        return enum_schema(field.enum_type, place, typed)
    found: JsonObject = {} if kind is None or typed is None else limits(kind, typed)
    if field.cpp_type in INTEGERS:
        return _integer(field, place, found)
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return _float(field, place, found, typed)
    if field.type == _F.TYPE_BOOL:
        const = {"const": typed.const} if typed is not None and typed.HasField("const") else {}
        return {"type": "boolean", **const}
    if field.type == _F.TYPE_BYTES:
        pattern = {} if place is Place.ANSWER else {"pattern": _BASE64}
        return {"type": "string", "contentEncoding": "base64", **pattern, **found}
    return {"type": "string", **found}


def _well_known(message: Descriptor, place: Place, rules: Any) -> JsonObject:
    if message.full_name in _WRAPPERS:
        return value_schema(message.fields_by_name["value"], place, rules)
    kind = None if rules is None or place is Place.ANSWER else rules.WhichOneof("type")
    return {**_FIXED[message.full_name], **(limits(kind, getattr(rules, kind)) if kind is not None else {})}


def enum_schema(enum: EnumDescriptor, place: Place, rules: Any = None, *, echoed: bool = False) -> JsonObject:
    """Names; in requests numbers, too, in bodies also those that no name has, unless a rule forbids them.

    Args:
        enum: The enum.
        place: Where the value stands.
        rules: The buf.validate.EnumRules, or None.
        echoed: Whether requests can bring numbers without a name, which answers then may hold.
    """
    allowed = [value for value in enum.values if rules is None or _allows(rules, value.number)]
    names = [value.name for value in allowed]
    if enum.full_name == "google.protobuf.NullValue":
        return {"type": "null"}
    if place is Place.ANSWER:
        named: JsonObject = {"type": "string", "enum": names}
        return {"anyOf": [named, {"type": "integer", "format": "int32"}]} if echoed else named
    closed = enum.is_closed or place is Place.URL or (rules is not None and bool(rules.ListFields()))
    numbers: JsonObject = {"type": "integer", "format": "int32"}
    if closed:
        numbers["enum"] = list(dict.fromkeys(value.number for value in allowed))
    else:
        numbers |= {"minimum": -(2**31), "maximum": 2**31 - 1}
    return {"anyOf": [{"type": "string", "enum": names}, numbers]}


def _allows(rules: Any, number: int) -> bool:
    listed = getattr(rules, "in")
    if (listed and number not in listed) or number in rules.not_in:
        return False
    return not rules.HasField("const") or number == rules.const


def _integer(field: FieldDescriptor, place: Place, found: JsonObject) -> JsonObject:
    name, lowest, highest = INTEGERS[field.cpp_type]
    wide = name in ("int64", "uint64")
    text = {"pattern": "^" + ("-?" if lowest < 0 else "") + "(?:0|[1-9][0-9]{0,19})$"}
    if place is Place.ANSWER:
        return {"type": "string", "format": name, **text} if wide else {"type": "integer", "format": name}
    bounds: JsonObject = {} if "exclusiveMinimum" in found or "anyOf" in found else {"minimum": lowest}
    bounds |= {} if "exclusiveMaximum" in found or "anyOf" in found else {"maximum": highest}
    number: JsonObject = {"type": "integer", "format": name, **bounds, **found}
    if not wide or place is Place.URL:
        return number
    if "anyOf" not in found:
        low = max(number.get("minimum", lowest), number.get("exclusiveMinimum", lowest - 1) + 1)
        high = min(number.get("maximum", highest), number.get("exclusiveMaximum", highest + 1) - 1)
        if (low, high) != (lowest, highest) and low <= high:
            text = {"pattern": f"^{range_pattern(low, high)}$"}
    texts: JsonObject = {"const": str(found["const"])} if "const" in found else {}
    texts |= {"enum": [str(each) for each in found["enum"]]} if "enum" in found else {}
    return {"anyOf": [{"type": "string", **text, **texts}, number]}


def _float(field: FieldDescriptor, place: Place, found: JsonObject, rules: Any) -> JsonObject:
    single = field.type == _F.TYPE_FLOAT
    number: JsonObject = {"type": "number", "format": "float" if single else "double"}
    if single and place is not Place.ANSWER:
        number |= {"minimum": -_FLOAT_MAX, "maximum": _FLOAT_MAX}
    number |= found
    return number if rules is not None and rules.ListFields() else {"anyOf": [number, {"enum": list(_SPECIAL)}]}
