"""The rules that hold for all messages and that `buf lint` does not know."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

from tests.support.protos import bindings, enums, fields, messages, methods

WIDE = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}
# A heartbeat is made safe to repeat by its incarnation and sequence.
WITHOUT_REQUEST_ID = {"Heartbeat", "StreamHeartbeats"}


def _mutates(method: MethodDescriptor) -> bool:
    return any(binding.verb != "GET" for binding in bindings(method))


@pytest.mark.parametrize("method", [method for method in methods() if _mutates(method)], ids=lambda method: method.name)
def test_every_mutation_takes_a_request_id(method: MethodDescriptor) -> None:
    if method.name in WITHOUT_REQUEST_ID:
        assert {"incarnation", "sequence"} <= set(method.input_type.fields_by_name)
    else:
        assert method.input_type.fields_by_name["request_id"].type == FieldDescriptor.TYPE_STRING


def test_no_field_is_a_64_bit_integer() -> None:
    """ProtoJSON prints one as a string."""
    assert [field.full_name for field in fields() if field.type in WIDE] == []


@pytest.mark.parametrize("enum", enums(), ids=lambda enum: enum.full_name)
def test_enum_values_print_bare(enum: EnumDescriptor) -> None:
    """Only the zero value carries the enum's name; the others read in JSON as they are said."""
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
    zero, *others = enum.values
    assert (zero.number, zero.name) == (0, f"{prefix}_UNSPECIFIED")
    assert [value.name for value in others if value.name.startswith(f"{prefix}_")] == []


def test_enums_are_nested() -> None:
    """Beside a message, their bare values would clash with one another."""
    assert [enum.full_name for enum in enums() if enum.containing_type is None] == []


def _lists() -> list[MethodDescriptor]:
    return [method for method in methods() if method.name.startswith("List") and method.name != "ListProviders"]


@pytest.mark.parametrize("method", _lists(), ids=lambda method: method.name)
def test_lists_are_paged_alike(method: MethodDescriptor) -> None:
    assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name)
    assert {"next_page_token", "total_size"} <= set(method.output_type.fields_by_name)


@pytest.mark.parametrize(
    "message", [message for message in messages() if "etag" in message.fields_by_name], ids=lambda found: found.name
)
def test_etags_are_strings(message: Descriptor) -> None:
    assert message.fields_by_name["etag"].type == FieldDescriptor.TYPE_STRING
