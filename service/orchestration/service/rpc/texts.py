"""Text that no request may hold: NUL, which not every database takes, and no name or value of the API needs."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from orchestration.service.errors import Violation

_TEXT = "holds a NUL character (U+0000); leave it out"


def nul_violations(message: Message) -> list[Violation]:
    """A violation for every string within a message, key or value, that holds a NUL."""
    return [Violation(path, _TEXT) for path in _paths(message, "")]


def _paths(value: Any, path: str) -> Iterator[str]:
    """Paths of the strings with a NUL. Messages nest no deeper than protobuf's parser allows (100)."""
    several: Any = value
    match value:
        case str():
            if "\0" in value:
                yield path
        case Struct():
            yield from _paths(value.fields, path)
        case ListValue():
            yield from _paths(value.values, path)
        case Message():
            named = not isinstance(value, Value)  # callers know a value by the name of its field
            for field, inner in value.ListFields():
                yield from _paths(inner, f"{path}.{field.name}".lstrip(".") if named else path)
        case MutableMapping():
            for key, inner in several.items():
                here = f"{path}[{key!r}]"
                if isinstance(key, str) and "\0" in key:
                    yield here
                yield from _paths(inner, here)
        case MutableSequence():
            for position, inner in enumerate(several):
                yield from _paths(inner, f"{path}[{position}]")
        case _:
            pass  # a number, an enum or bytes
