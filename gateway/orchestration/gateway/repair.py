"""What the JSON runtime cannot do with google.protobuf.Any and FieldMask, done around it."""

from __future__ import annotations

import re
import secrets
import typing
from typing import Final

from protobuf import DescFieldValueList, DescFieldValueMap, DescFieldValueMessage, DescMessage, Message, Registry
from protobuf.wkt import BytesValue

from orchestration.gateway.values import JsonValue

_ANY: Final = "google.protobuf.Any"
_FIELD_MASK: Final = "google.protobuf.FieldMask"
_DEPTH: Final = 99
"""Most levels of messages that the runtime prints, those within an Any counted."""
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")


def holds_any(message: DescMessage) -> bool:
    """Whether a message can hold a google.protobuf.Any at any depth."""
    seen: set[str] = set()
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if current.type_name == _ANY:
            return True
        if current.type_name not in seen:
            seen.add(current.type_name)
            waiting.extend(inner for field in current.fields if (inner := _message_of(field.value)) is not None)
    return False


def _message_of(value: object) -> DescMessage | None:
    match value:
        case DescFieldValueMessage():
            return value.message
        case DescFieldValueList():
            return value.element if isinstance(value.element, DescMessage) else None
        case DescFieldValueMap():
            return value.value if isinstance(value.value, DescMessage) else None
        case _:
            return None


def restore_type_urls(message: typing.Any, value: JsonValue, registry: Registry, depth: int = 0) -> None:
    """Give each Any the type URL that its JSON has: the runtime keeps the name alone, after its usual host.

    Raises:
        ValueError: For a type URL without a slash, which is none, and for one Any within the other so deep that the
            runtime takes it and cannot print it.
    """
    if not isinstance(value, dict):
        return
    if depth > _DEPTH:
        raise ValueError(f"is nested more than {_DEPTH} levels deep")
    if message.desc().type_name == _ANY:
        _restore_any(message, value, registry, depth + 1)
        return
    for field in message:
        there = value.get(field.name, value.get(field.json_name))
        held = message[field]
        if isinstance(held, Message):
            restore_type_urls(held, there, registry, depth + 1)
        elif _is_list(held) and isinstance(there, list):
            # Of the messages none is left out, but names of enums are, where unknown ones are passed over.
            messages = _messages(held)
            for inner, text in zip(messages, there, strict=True) if messages else ():
                restore_type_urls(inner, text, registry, depth + 1)
        elif _is_map(held) and isinstance(there, dict):
            for key, each in held.items():
                if isinstance(each, Message):
                    restore_type_urls(each, there.get(_key_text(key)), registry, depth + 1)


def _key_text(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _restore_any(message: typing.Any, value: dict[str, JsonValue], registry: Registry, depth: int) -> None:
    type_url = value.get("@type")
    if not isinstance(type_url, str):
        return
    if "/" not in type_url:
        raise ValueError(f"{type_url!r} is no type URL")
    name = type_url.rpartition("/")[2]
    known = registry.message(name)
    if known is not None:
        inner = known.type.from_binary(message.value)
        restore_type_urls(inner, value.get("value") if name == _ANY else value, registry, depth)
        message.value = inner.to_binary()
    message.type_url = type_url


def replace_unprintable(message: Message, registry: Registry) -> dict[str, str]:
    """Put stand-ins for what the runtime refuses to print, and give the text that each stands for.

    An Any of an unknown type becomes one of a BytesValue, its type URL a stand-in; a FieldMask with paths such as
    ``a.*`` one with a single path, the stand-in.
    """
    stand_ins: dict[str, str] = {}
    _replace(message, registry, stand_ins)
    return stand_ins


def _replace(message: Message, registry: Registry, stand_ins: dict[str, str]) -> None:
    name = message.desc().type_name
    if name == _ANY:
        _replace_any(message, registry, stand_ins)
    elif name == _FIELD_MASK:
        _replace_mask(message, stand_ins)
    else:
        for field in message:
            for each in _messages(message[field]):
                _replace(each, registry, stand_ins)


def _messages(value: typing.Any) -> list[Message]:
    """The messages that a field holds, whichever way."""
    if isinstance(value, Message):
        return [value]
    if _is_map(value):
        value = list(value.values())
    return [each for each in value if isinstance(each, Message)] if _is_list(value) else []


def _is_map(value: typing.Any) -> typing.TypeGuard[dict[object, object]]:
    return isinstance(value, dict)


def _is_list(value: typing.Any) -> typing.TypeGuard[list[object]]:
    return isinstance(value, list)


def _replace_any(message: typing.Any, registry: Registry, stand_ins: dict[str, str]) -> None:
    known = registry.message(message.type_url.rpartition("/")[2])
    if known is not None:
        try:
            inner = known.type.from_binary(message.value)
        except (ValueError, EOFError):
            known = None
        else:
            _replace(inner, registry, stand_ins)
            message.value = inner.to_binary()
    if known is None:
        stand_in = f"{secrets.token_hex(16)}/google.protobuf.BytesValue"
        stand_ins[stand_in] = message.type_url
        message.type_url, message.value = stand_in, BytesValue(value=message.value).to_binary()


def _replace_mask(message: typing.Any, stand_ins: dict[str, str]) -> None:
    paths: list[str] = list(message.paths)
    if any(re.search(r"[A-Z]|_(?![a-z])", path) for path in paths):
        return  # its JSON form would mean another path
    stand_in = secrets.token_hex(16).translate(_LETTERS)
    stand_ins[stand_in] = ",".join(re.sub("_([a-z])", lambda found: found.group(1).upper(), path) for path in paths)
    message.paths = [stand_in]
