"""What the protos say, read from the descriptors of the generated code."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

from orchestration.v1 import common_pb2, compute_pools_pb2, model_deployments_pb2, model_registry_pb2

FILES: tuple[FileDescriptor, ...] = (
    common_pb2.DESCRIPTOR,
    compute_pools_pb2.DESCRIPTOR,
    model_registry_pb2.DESCRIPTOR,
    model_deployments_pb2.DESCRIPTOR,
)


@dataclass(frozen=True)
class Binding:
    """One HTTP binding of an RPC."""

    verb: str
    path: str
    rpc: str
    body: str = ""


def methods() -> list[MethodDescriptor]:
    """Every RPC, in the order of the protos."""
    return [method for file in FILES for service in file.services_by_name.values() for method in service.methods]


def option(method: MethodDescriptor, name: str) -> Any:
    """The option of that full name, or None. Extensions are met in ListFields under their own types."""
    return next((value for field, value in method.GetOptions().ListFields() if field.full_name == name), None)


def bindings(method: MethodDescriptor) -> Iterator[Binding]:
    """The method's HTTP bindings, the published one first."""
    rule = option(method, "google.api.http")
    if rule is None:
        return
    for each in (rule, *rule.additional_bindings):
        verb = each.WhichOneof("pattern")
        yield Binding(verb.upper(), getattr(each, verb), method.name, each.body)


@functools.cache
def messages() -> list[Descriptor]:
    """Every message, those nested in others and map entries included."""

    def walk(message: Descriptor) -> Iterator[Descriptor]:
        yield message
        for nested in message.nested_types:
            yield from walk(nested)

    return [found for file in FILES for top in file.message_types_by_name.values() for found in walk(top)]


def fields() -> list[FieldDescriptor]:
    """Every field of every message."""
    return [field for message in messages() for field in message.fields]


def enums() -> list[EnumDescriptor]:
    """Every enum, nested ones included."""
    top = [enum for file in FILES for enum in file.enum_types_by_name.values()]
    return top + [enum for message in messages() for enum in message.enum_types]
