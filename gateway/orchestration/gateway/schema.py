"""Services, messages and http rules, read from a FileDescriptorSet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from orchestration.gateway.errors import RuleError

_HTTP: Final = annotations_pb2.DESCRIPTOR.extensions_by_name["http"].full_name

HTTP_BODY: Final = "google.api.HttpBody"

SCALAR_MESSAGES: Final = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value"),
        *("BoolValue", "StringValue", "BytesValue", "Timestamp", "Duration", "FieldMask"),
    )
)
"""Messages whose JSON form is a scalar, so that they can stand in a URL."""

FREE_JSON: Final = frozenset(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue"))
"""Messages that hold any JSON."""

ANY: Final = "google.protobuf.Any"


@dataclass(frozen=True, slots=True)
class HttpRule:
    """One binding of a method."""

    http_method: str
    """Upper case, or ``*`` for all methods."""
    path: str
    body: str
    response_body: str


class Schema:
    """The services of a descriptor set. Raises `RuleError` for a set that does not hold together."""

    def __init__(self, descriptor_set: FileDescriptorSet) -> None:
        self._pool = DescriptorPool()
        self._services: list[str] = []
        for file in in_dependency_order(descriptor_set.file):
            try:
                self._pool.Add(file)
            except TypeError as error:
                raise RuleError(f"{file.name}: {error}") from error
            prefix = f"{file.package}." if file.package else ""
            self._services.extend(prefix + service.name for service in file.service)

    def service(self, full_name: str) -> ServiceDescriptor:
        """A service. Raises `RuleError` for an unknown one."""
        try:
            return self._pool.FindServiceByName(full_name)
        except KeyError:
            raise RuleError(f"no service {full_name}; there are: {', '.join(sorted(self._services))}") from None

    def services(self) -> list[ServiceDescriptor]:
        """Every service of the set."""
        return [self.service(name) for name in self._services]


def in_dependency_order(files: Sequence[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """The files, each after those that it imports. Imports that are not among them are left out."""
    by_name = {file.name: file for file in files}
    ordered: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptorProto) -> None:
        if file.name in ordered:
            return
        for name in file.dependency:
            if name in by_name:
                add(by_name[name])
        ordered[file.name] = file

    for file in files:
        add(file)
    return list(ordered.values())


def collect_files(roots: Sequence[FileDescriptor]) -> FileDescriptorSet:
    """These files and all that they import."""
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name in found:
            return
        for each in file.dependencies:
            add(each)
        found[file.name] = file

    for root in roots:
        add(root)
    descriptor_set = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(descriptor_set.file.add())
    return descriptor_set


def rules_of(method: MethodDescriptor) -> Iterator[HttpRule]:
    """The bindings of a method, the main one first. Raises `RuleError` for one that names no path."""
    rule = _http_option(method)
    if rule is None:
        return
    yield _read_rule(method, rule)
    for binding in rule.additional_bindings:
        if binding.additional_bindings:
            raise RuleError(f"{method.full_name}: additional_bindings must not hold additional_bindings")
        yield _read_rule(method, binding)


def _http_option(method: MethodDescriptor) -> Any:
    return next((value for field, value in method.GetOptions().ListFields() if field.full_name == _HTTP), None)


def _read_rule(method: MethodDescriptor, rule: Any) -> HttpRule:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        raise RuleError(f"{method.full_name}: the http rule names no path")
    if kind == "custom":
        if not rule.custom.kind:
            raise RuleError(f"{method.full_name}: the custom http rule names no kind")
        return HttpRule(rule.custom.kind.upper(), rule.custom.path, rule.body, rule.response_body)
    return HttpRule(kind.upper(), getattr(rule, kind), rule.body, rule.response_body)


def find_field(message: Descriptor, name: str) -> FieldDescriptor | None:
    """A field by its proto name, its JSON name or its lowerCamelCase name."""
    if not is_text(name):
        return None
    found = message.fields_by_name.get(name)
    if found is not None:
        return found
    return next((field for field in message.fields if name in (field.json_name, field.camelcase_name)), None)


def reachable(message: Descriptor) -> list[Descriptor]:
    """The message, and all that its fields lead to."""
    found: dict[str, Descriptor] = {}
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if current.full_name not in found:
            found[current.full_name] = current
            waiting.extend(each.message_type for each in current.fields if each.message_type is not None)
    return list(found.values())


def find_type(message: Descriptor, type_url: str) -> Descriptor | None:
    """The message that a type URL names, of those that are known where another one is."""
    if not is_text(type_url):
        return None
    try:
        return message.file.pool.FindMessageTypeByName(type_url.rpartition("/")[2])
    except KeyError:
        return None


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8: JSON can spell half a character, at which descriptors fail."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_own_json(message: Descriptor) -> bool:
    """Whether the JSON of a message is another than an object with its fields."""
    return message.full_name in SCALAR_MESSAGES or message.full_name in FREE_JSON or message.full_name == ANY


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def describe_type(field: FieldDescriptor) -> str:
    """What a single value of the field must be, for messages to people."""
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        return "one of " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return _SCALAR_WORDS[field.type] if field.message_type is None else describe_message(field.message_type)


def describe_message(message: Descriptor) -> str:
    """What the JSON of a message must be, for messages to people."""
    return _MESSAGE_WORDS.get(message.full_name) or f"JSON object ({message.name})"


def describe_range(field: FieldDescriptor) -> str | None:
    """The type and its range, for messages about a whole number that is out of it; None for what is no integer."""
    bounds = integer_range(field)
    return None if bounds is None else f"{describe_type(field)} from {bounds[0]} to {bounds[1]}"


def integer_range(field: FieldDescriptor) -> tuple[int, int] | None:
    """Lowest and highest value of an integer field, or of the wrapper of one; None for any other."""
    if field.message_type is not None and field.message_type.full_name in SCALAR_MESSAGES:
        inner = field.message_type.fields_by_name.get("value")
        return None if inner is None else integer_range(inner)
    return None if field.enum_type is not None else _INTEGER_RANGES.get(field.cpp_type)


_INTEGER_RANGES: Final[dict[int, tuple[int, int]]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}

_FLOAT_WORDS: Final = ' (a number, "NaN", "Infinity" or "-Infinity")'
_BOOL_WORDS: Final = "bool (true or false)"
_BYTES_WORDS: Final = "bytes (base64, standard or URL-safe)"

_SCALAR_WORDS: Final[dict[int, str]] = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: _BYTES_WORDS,
    FieldDescriptor.TYPE_BOOL: _BOOL_WORDS,
    FieldDescriptor.TYPE_DOUBLE: "double" + _FLOAT_WORDS,
    FieldDescriptor.TYPE_FLOAT: "float" + _FLOAT_WORDS,
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_SINT32: "int32",
    FieldDescriptor.TYPE_SFIXED32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "int64",
    FieldDescriptor.TYPE_SFIXED64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_FIXED32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FIXED64: "uint64",
}

_MESSAGE_WORDS: Final[dict[str, str]] = {
    "google.protobuf.Timestamp": "Timestamp (RFC 3339, from year 0001 to 9999, such as 2026-01-02T03:04:05Z)",
    "google.protobuf.Duration": "Duration (seconds, at most 315576000000, with a unit, such as 1.5s)",
    "google.protobuf.FieldMask": "FieldMask (paths in lowerCamelCase, separated by commas)",
    "google.protobuf.StringValue": "string",
    "google.protobuf.BytesValue": _BYTES_WORDS,
    "google.protobuf.BoolValue": _BOOL_WORDS,
    "google.protobuf.DoubleValue": "double" + _FLOAT_WORDS,
    "google.protobuf.FloatValue": "float" + _FLOAT_WORDS,
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.Int64Value": "int64",
    "google.protobuf.UInt32Value": "uint32",
    "google.protobuf.UInt64Value": "uint64",
    "google.protobuf.ListValue": "JSON array",
    "google.protobuf.Any": "JSON object with a known @type",
}
