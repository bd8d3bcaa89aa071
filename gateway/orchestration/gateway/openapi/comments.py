"""Comments of the protos, from descriptors that kept their source info."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

_INTERNAL: Final = re.compile(r"\(--.*?--\)", re.DOTALL)
"""What AIP-192 keeps from the documentation."""
_FOR_TOOLS: Final = re.compile(r"^(buf:|@exclude|protolint:|clang-format|TODO\b)")


def read_comments(descriptor_sets: Iterable[FileDescriptorSet]) -> dict[str, str]:
    """Comments by the full names of what they describe. Enum values stand below their enum's name."""
    found: dict[str, str] = {}
    for descriptor_set in descriptor_sets:
        for file in descriptor_set.file:
            if file.HasField("source_code_info"):
                names = dict(_paths(file))
                for location in file.source_code_info.location:
                    name = names.get(tuple(location.path))
                    text = _clean(location.leading_comments or location.trailing_comments)
                    if name is not None and text:
                        found[name] = text
    return found


def _clean(comment: str) -> str:
    lines = _INTERNAL.sub("", comment).splitlines()
    # One space after the slashes is no part of the text; more of them may be Markdown.
    kept = [line[1:] if line.startswith(" ") else line for line in lines if not _FOR_TOOLS.match(line.strip())]
    return "\n".join(line.rstrip() for line in kept).strip()


def _paths(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    prefix = f"{file.package}." if file.package else ""
    for index, message in enumerate(file.message_type):
        yield from _message(message, (_number(file, "message_type"), index), prefix + message.name)
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, (_number(file, "enum_type"), index), prefix + enum.name)
    for index, service in enumerate(file.service):
        path = (_number(file, "service"), index)
        yield path, prefix + service.name
        for place, method in enumerate(service.method):
            yield (*path, _number(service, "method"), place), f"{prefix}{service.name}.{method.name}"


def _message(message: Any, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, _number(message, "field"), index), f"{name}.{field.name}"
    for index, oneof in enumerate(message.oneof_decl):
        yield (*path, _number(message, "oneof_decl"), index), f"{name}.{oneof.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, (*path, _number(message, "nested_type"), index), f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*path, _number(message, "enum_type"), index), f"{name}.{enum.name}")


def _enum(enum: Any, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, _number(enum, "value"), index), f"{name}.{value.name}"


def _number(message: Any, field: str) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return number
