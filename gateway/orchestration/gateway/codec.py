"""JSON and wire bytes of messages known by descriptors alone. It and `repair` are what knows the JSON runtime."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Final

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2
from protobuf import DescField, DescFieldValueMessage, Message, Registry, message_from_json_value
from protobuf.wkt import Any
from protobuf.wkt import FileDescriptorSet as RuntimeDescriptorSet

from orchestration.gateway.listing import ListShape
from orchestration.gateway.repair import holds_any, replace_unprintable, restore_type_urls
from orchestration.gateway.schema import collect_files, in_dependency_order
from orchestration.gateway.textcache import TextCache
from orchestration.gateway.values import JsonValue

_ALWAYS: Final = collect_files([any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR])


class CodecError(ValueError):
    """A JSON value does not fit its message, bytes are no message, or a message has no JSON form."""


class Codec:
    """Makes the codecs of single messages."""

    def __init__(self, descriptor_set: FileDescriptorSet, *, ignore_unknown: bool = False) -> None:
        files = {file.name: file for file in (*_ALWAYS.file, *descriptor_set.file)}
        ordered = FileDescriptorSet(file=in_dependency_order(list(files.values())))
        self._registry = _registry(ordered.SerializeToString(deterministic=True))
        self._ignore_unknown = ignore_unknown
        self._texts = TextCache()
        self._codecs: dict[str, MessageCodec] = {}

    def message(self, full_name: str) -> MessageCodec:
        """The codec of a message. Raises `CodecError` for a name that is not in the descriptor set."""
        codec = self._codecs.get(full_name)
        if codec is None:
            found = self._registry.message(full_name)
            if found is None:
                raise CodecError(f"no message {full_name}")
            codec = MessageCodec(
                found.type,
                self._registry,
                self._texts,
                len(self._codecs),
                ignore_unknown=self._ignore_unknown,
                restores=holds_any(found),
            )
            self._codecs[full_name] = codec
        return codec

    def any_to_value(self, type_url: str, value: bytes) -> JsonValue:
        """The JSON form of a google.protobuf.Any; of an unknown type, or without a JSON form, its bytes in base64."""
        message = Any(type_url=type_url, value=value)
        try:
            return json.loads(_to_json(message, self._registry))  # type: ignore[no-any-return]
        except CodecError:
            return {"@type": type_url, "value": base64.b64encode(value).decode()}


@lru_cache(maxsize=16)
def _registry(descriptor_set: bytes) -> Registry:
    """The types of a descriptor set. Kept, as the runtime never lets go of a type that it has made a class for."""
    return RuntimeDescriptorSet.from_binary(descriptor_set).to_registry()


class MessageCodec:
    """JSON to wire bytes and back, for one message type."""

    __slots__ = ("_ignore_unknown", "_kind", "_registry", "_restores", "_texts", "_type")

    def __init__(
        self,
        message_type: type[Message],
        registry: Registry,
        texts: TextCache,
        kind: int,
        *,
        ignore_unknown: bool,
        restores: bool,
    ) -> None:
        self._type = message_type
        self._registry = registry
        self._texts = texts
        self._kind = kind
        self._ignore_unknown = ignore_unknown
        self._restores = restores

    def encode(self, value: JsonValue) -> bytes:
        """Wire bytes of a ProtoJSON value. Raises `CodecError`."""
        try:
            message = message_from_json_value(
                self._type, value, ignore_unknown_fields=self._ignore_unknown, registry=self._registry
            )
            if self._restores:
                restore_type_urls(message, value, self._registry)
            return message.to_binary()
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise CodecError(str(error)) from error

    def decode(self, wire: bytes) -> str:
        """ProtoJSON of wire bytes: proto names, fields without presence always there. Raises `CodecError`."""
        return _to_json(self._read(wire), self._registry)

    def decode_again(self, wire: bytes) -> bytes:
        """The same as UTF-8, for messages that are likely to come again: their text is kept. Raises `CodecError`."""
        return self._texts.get(self._kind, wire, self._print)

    def decode_list(self, wire: bytes, shape: ListShape, element: MessageCodec) -> bytes:
        """The same for a list, whose elements are likely to come again. Raises `CodecError`."""
        try:
            elements, beside = shape.split(wire)
        except (ValueError, IndexError):  # a group that is not known, unless it is no message at all
            return self.decode_again(wire)
        texts = self._texts
        kind, make = element._kind, element._print
        try:
            return shape.join(self.decode_again(beside), [texts.get(kind, each, make) for each in elements])
        except ValueError as error:
            raise CodecError(str(error)) from error

    def _print(self, wire: bytes) -> bytes:
        return self.decode(wire).encode()

    def decode_numeric(self, wire: bytes) -> str:
        """The same with enums as their numbers."""
        return _to_json(self._read(wire), self._registry, enums_as_numbers=True)

    def decode_field(self, wire: bytes, name: str, *, enums_as_numbers: bool = False) -> str:
        """ProtoJSON of one top-level field. Where it is not set: ``[]``, ``{}`` or the default of its type."""
        message = self._read(wire)
        value: dict[str, JsonValue] = json.loads(_to_json(message, self._registry, enums_as_numbers=enums_as_numbers))
        if name not in value:
            value = {name: self._unset(name)}
        return json.dumps(value[name], ensure_ascii=False, separators=(",", ":"))

    def field_bytes(self, wire: bytes, name: str) -> bytes:
        """Wire bytes of one top-level message field, empty where it is not set."""
        message = self._read(wire)
        field = _field(message, name)
        return message[field].to_binary() if field in message else b""

    def _read(self, wire: bytes) -> Message:
        try:
            return self._type.from_binary(wire)
        except (ValueError, EOFError, RecursionError) as error:
            raise CodecError(str(error)) from error

    def _to_value(self, message: Message) -> dict[str, JsonValue]:
        value: dict[str, JsonValue] = json.loads(_to_json(message, self._registry))
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


def _to_json(message: Message, registry: Registry, *, enums_as_numbers: bool = False) -> str:
    try:
        return _print(message, registry, enums_as_numbers=enums_as_numbers)
    except (ValueError, RecursionError):
        pass
    try:
        stand_ins = replace_unprintable(message, registry)
        text = _print(message, registry, enums_as_numbers=enums_as_numbers)
    except (ValueError, RecursionError) as error:  # a time out of range, say, has no JSON form
        raise CodecError(str(error)) from error
    for stand_in, said in stand_ins.items():
        text = text.replace(stand_in, json.dumps(said, ensure_ascii=False)[1:-1])
    return text


def _print(message: Message, registry: Registry, *, enums_as_numbers: bool) -> str:
    return message.to_json(
        registry=registry,
        always_emit_implicit=True,
        use_proto_field_name=True,
        print_enums_as_ints=enums_as_numbers,
    )
