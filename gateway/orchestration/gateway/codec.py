"""JSON and wire bytes of messages known by descriptors alone. The one module that knows the JSON runtime."""

from __future__ import annotations

import json
import secrets
import typing
from typing import Final

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2
from protobuf import DescField, DescFieldValueMessage, Message, Registry, message_from_json_value
from protobuf.wkt import Any, BytesValue
from protobuf.wkt import FileDescriptorSet as RuntimeDescriptorSet

from orchestration.gateway.schema import collect_files, in_dependency_order
from orchestration.gateway.values import JsonValue

_ALWAYS: Final = collect_files([any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR])


class CodecError(ValueError):
    """A JSON value does not fit its message, or bytes are no message."""


class Codec:
    """Makes the codecs of single messages."""

    def __init__(self, descriptor_set: FileDescriptorSet, *, ignore_unknown: bool = False) -> None:
        files = {file.name: file for file in (*_ALWAYS.file, *descriptor_set.file)}
        ordered = FileDescriptorSet(file=in_dependency_order(list(files.values())))
        self._registry = RuntimeDescriptorSet.from_binary(ordered.SerializeToString()).to_registry()
        self._ignore_unknown = ignore_unknown

    def message(self, full_name: str) -> MessageCodec:
        """The codec of a message. Raises `CodecError` for a name that is not in the descriptor set."""
        found = self._registry.message(full_name)
        if found is None:
            raise CodecError(f"no message {full_name}")
        return MessageCodec(found.type, self._registry, ignore_unknown=self._ignore_unknown)

    def any_to_value(self, type_url: str, value: bytes) -> JsonValue:
        """The JSON form of a google.protobuf.Any; of an unknown type, its bytes in base64."""
        message = Any(type_url=type_url, value=value)
        return json.loads(_to_json(message, self._registry))  # type: ignore[no-any-return]


class MessageCodec:
    """JSON to wire bytes and back, for one message type."""

    __slots__ = ("_ignore_unknown", "_registry", "_type")

    def __init__(self, message_type: type[Message], registry: Registry, *, ignore_unknown: bool) -> None:
        self._type = message_type
        self._registry = registry
        self._ignore_unknown = ignore_unknown

    def encode(self, value: JsonValue) -> bytes:
        """Wire bytes of a ProtoJSON value. Raises `CodecError`."""
        try:
            return message_from_json_value(
                self._type, value, ignore_unknown_fields=self._ignore_unknown, registry=self._registry
            ).to_binary()
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise CodecError(str(error)) from error

    def decode(self, wire: bytes) -> str:
        """ProtoJSON of wire bytes: proto names, fields without presence always there. Raises `CodecError`."""
        try:
            message = self._type.from_binary(wire)
        except (ValueError, EOFError) as error:
            raise CodecError(str(error)) from error
        return self._print(message)

    def _print(self, message: Message) -> str:
        try:
            return _to_json(message, self._registry)
        except ValueError as error:  # such as a FieldMask whose paths have no JSON form
            raise CodecError(str(error)) from error

    def decode_field(self, wire: bytes, name: str) -> str:
        """ProtoJSON of one top-level field. Where it is not set: ``[]``, ``{}`` or the default of its type."""
        message = self._type.from_binary(wire)
        if name not in (value := self._to_value(message)):
            value = {name: self._unset(name)}
        return json.dumps(value[name], ensure_ascii=False, separators=(",", ":"))

    def field_bytes(self, wire: bytes, name: str) -> bytes:
        """Wire bytes of one top-level message field, empty where it is not set."""
        message = self._type.from_binary(wire)
        field = _field(message, name)
        return message[field].to_binary() if field in message else b""

    def _to_value(self, message: Message) -> dict[str, JsonValue]:
        value: dict[str, JsonValue] = json.loads(self._print(message))
        return value

    def _unset(self, name: str) -> JsonValue:
        """What stands for a field with presence that has no value."""
        field = _field(self._type(), name)
        if not isinstance(field.value, DescFieldValueMessage):
            self_type = self._type()
            self_type[field] = self_type[field]
            return self._to_value(self_type)[name]
        return None if field.value.message.type_name.startswith("google.protobuf.") else {}


def _field(message: Message, name: str) -> DescField:
    return next(field for field in message.desc().fields if field.name == name)


def _to_json(message: Message, registry: Registry) -> str:
    try:
        return message.to_json(registry=registry, always_emit_implicit=True, use_proto_field_name=True)
    except ValueError:
        # An Any of an unknown type. Its bytes go out as a BytesValue whose type URL is then put right in the text.
        stand_ins: dict[str, str] = {}
        _replace_unknown(message, registry, stand_ins)
        text = message.to_json(registry=registry, always_emit_implicit=True, use_proto_field_name=True)
    for stand_in, type_url in stand_ins.items():
        text = text.replace(stand_in, json.dumps(type_url, ensure_ascii=False)[1:-1])
    return text


def _replace_unknown(message: Message, registry: Registry, stand_ins: dict[str, str]) -> None:
    """Replace each Any that the registry cannot read, those within known ones included."""
    if message.desc().type_name == "google.protobuf.Any":
        _replace_any(message, registry, stand_ins)
        return
    for field in message:
        for each in _messages(message[field]):
            _replace_unknown(each, registry, stand_ins)


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
            _replace_unknown(inner, registry, stand_ins)
            message.value = inner.to_binary()
    if known is None:
        stand_in = f"{secrets.token_hex(16)}/google.protobuf.BytesValue"
        stand_ins[stand_in] = message.type_url
        message.type_url, message.value = stand_in, BytesValue(value=message.value).to_binary()
