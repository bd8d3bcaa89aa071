"""Text that no request may hold: NUL, which not every database takes, and no name or value of the API needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from orchestration.service.errors import Violation

_TEXT = "holds a NUL character (U+0000); leave it out"
_Look = Callable[[Any], bool]
"""Whether a field's value holds a NUL."""


def nul_violations(message: Message) -> list[Violation]:
    """A violation for every string within a message, key or value, that holds a NUL."""
    if not holds_nul(message):
        return []
    return [Violation(path, _TEXT) for path in _paths(message, "")]


def holds_nul(message: Message) -> bool:
    descriptor: Any = message.DESCRIPTOR
    plan = _plans.get(descriptor)
    if plan is None:
        plan = _plans[descriptor] = _make_plan(descriptor)
    strings, nested = plan
    for name in strings:
        if "\0" in getattr(message, name):
            return True
    return any(look(message) for look in nested)


_plans: dict[Descriptor, tuple[tuple[str, ...], tuple[_Look, ...]]] = {}
"""By type of message: its single strings, and looks at all else that may hold one. Types are few, and live for ever."""


def _make_plan(descriptor: Descriptor) -> tuple[tuple[str, ...], tuple[_Look, ...]]:
    strings = [field.name for field in descriptor.fields if field.type == field.TYPE_STRING and not field.is_repeated]
    nested = (_look(field) for field in descriptor.fields if field.name not in strings)
    return tuple(strings), tuple(look for look in nested if look is not None)


def _look(field: FieldDescriptor) -> _Look | None:
    """The look at a field that is no single string; None where it cannot hold one."""
    name, message = field.name, field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = message.fields_by_name["key"], message.fields_by_name["value"]
        return _look_at_map(name, key, value)
    if message is not None:
        if field.is_repeated:
            return lambda parent: any(map(holds_nul, getattr(parent, name)))
        return lambda parent: parent.HasField(name) and holds_nul(getattr(parent, name))
    if field.type == field.TYPE_STRING:
        return lambda parent: any("\0" in text for text in getattr(parent, name))
    return None


def _look_at_map(name: str, key: FieldDescriptor, value: FieldDescriptor) -> _Look | None:
    texts = key.type == key.TYPE_STRING
    if value.message_type is not None:
        return lambda parent: any(
            (texts and "\0" in each) or holds_nul(inner) for each, inner in getattr(parent, name).items()
        )
    if value.type == value.TYPE_STRING:
        return lambda parent: any(
            (texts and "\0" in each) or "\0" in inner for each, inner in getattr(parent, name).items()
        )
    return (lambda parent: any("\0" in each for each in getattr(parent, name))) if texts else None


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
