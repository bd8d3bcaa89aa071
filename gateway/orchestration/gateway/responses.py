"""Answers of RPCs: from wire bytes to what HTTP carries."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

import grpc
from google.api import httpbody_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.codec import Codec, CodecError, MessageCodec
from orchestration.gateway.errors import RuleError, UpstreamError
from orchestration.gateway.listing import ListShape, list_shape
from orchestration.gateway.negotiation import JSON
from orchestration.gateway.schema import HTTP_BODY
from orchestration.gateway.selection import select
from orchestration.gateway.strictness import FieldFinder, holds_floats, shorten_floats
from orchestration.gateway.systemparams import PLAIN, Style
from orchestration.gateway.textcache import LastText
from orchestration.gateway.values import JsonValue

log = logging.getLogger(__name__)

CURSORS: Final = ("cursor", "resume_token")
"""Names of string fields that name a place in a stream."""
_CURSOR_DEPTH: Final = 3


class ResponseEncoder:
    """Turns the answers of one http rule into their bodies. Raises `RuleError` for an unknown `response_body`."""

    def __init__(self, message: Descriptor, response_body: str, codec: Codec) -> None:
        self._codec = codec.message(message.full_name)
        self._field = response_body
        self._codecs = codec
        self._message = message
        sent: Descriptor | None = message
        if response_body:
            field = message.fields_by_name.get(response_body)
            if field is None:
                raise RuleError(f"response_body {response_body!r}: {message.full_name} has no such field")
            sent = None if field.is_repeated else field.message_type
        self._last = LastText()
        self.style = PLAIN
        """How answers are printed."""
        self.is_raw: Final = sent is not None and sent.full_name == HTTP_BODY
        """Whether the answer is a google.api.HttpBody: any bytes of any type."""
        self.sent: Final = None if self.is_raw else sent
        """The message whose JSON is the answer; None for a raw answer, a list, a map or a scalar."""

    # What follows is made for the first answer: an API may have thousands of methods, of which few are ever called.

    @cached_property
    def as_is(self) -> bool:
        """Whether the codec's text is what goes out."""
        return not self._floats

    @cached_property
    def cursor(self) -> tuple[str, ...] | None:
        """Names that lead to the string in an answer that names its place in a stream."""
        return None if self.sent is None else next(_cursors(self.sent), None)

    @cached_property
    def _floats(self) -> FieldFinder:
        # Of 32 bits: printed with as many digits as a double, 0.1 would be 0.10000000149011612.
        return FieldFinder(self._message, holds_floats)

    @cached_property
    def _listing(self) -> tuple[ListShape, MessageCodec] | None:
        shape = None if self._field else list_shape(self._message)
        return None if shape is None else (shape, self._codecs.message(shape.element))

    def encode(self, wire: bytes) -> str:
        """The answer as JSON. Raises `UpstreamError` (INTERNAL) for bytes that are no such message."""
        try:
            if self.as_is:
                return self._codec.decode_field(wire, self._field) if self._field else self._codec.decode(wire)
            return dump_styled(self._value(wire), self.style)
        except CodecError as error:
            raise self._malformed(error) from error

    def styled(self, style: Style) -> ResponseEncoder:
        """The same encoder with another style."""
        if style is PLAIN or style == PLAIN:
            return self
        other = copy.copy(self)
        other.style, other.as_is = style, False
        return other

    def encode_event(self, wire: bytes) -> tuple[str, str]:
        """The same, and the string that names its place in a stream; empty where it has none."""
        if self.style.selection is None:
            text = self.encode(wire)
            return text, "" if self.cursor is None else _string_at(json.loads(text), self.cursor)
        try:
            value = self._value(wire)
        except CodecError as error:
            raise self._malformed(error) from error
        return dump_styled(value, self.style), "" if self.cursor is None else _string_at(value, self.cursor)

    def _value(self, wire: bytes) -> JsonValue:
        """The whole answer."""
        numbers = self.style.enums_as_numbers
        if self._field:
            holder: dict[str, JsonValue] = {
                self._field: json.loads(self._codec.decode_field(wire, self._field, enums_as_numbers=numbers))
            }
            shorten_floats(self._floats, holder)
            return holder[self._field]
        value: JsonValue = json.loads(self._codec.decode_numeric(wire) if numbers else self._codec.decode(wire))
        shorten_floats(self._floats, value)
        return value

    def encode_raw(self, wire: bytes) -> tuple[bytes, str]:
        """The bytes of an HttpBody, and their media type."""
        try:
            body = httpbody_pb2.HttpBody.FromString(self._codec.field_bytes(wire, self._field) if self._field else wire)
        except ValueError as error:
            raise self._malformed(error) from error
        return body.data, body.content_type or "application/octet-stream"

    def encode_body(self, wire: bytes) -> tuple[bytes, str]:
        """The answer's body, and its media type."""
        return self.encode_raw(wire) if self.is_raw else (self._encode_json(wire), JSON)

    def _encode_json(self, wire: bytes) -> bytes:
        if self._field or not self.as_is:
            return self.encode(wire).encode()
        try:
            if self._listing is not None:
                return self._last.get(wire, self._encode_list)
            return self._codec.decode_again(wire)
        except CodecError as error:
            raise self._malformed(error) from error

    def _encode_list(self, wire: bytes) -> bytes:
        assert self._listing is not None
        return self._codec.decode_list(wire, *self._listing)

    def _malformed(self, error: ValueError) -> UpstreamError:
        log.error("the upstream's answer is no %s: %s", self._message.full_name, error)
        return UpstreamError(grpc.StatusCode.INTERNAL.value[0], "The service's answer could not be read.")


def dump_styled(value: JsonValue, style: Style) -> str:
    """A whole answer as JSON, in that style."""
    value = select(value, style.selection)
    if style.indented:
        return json.dumps(value, ensure_ascii=False, indent=2)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _string_at(value: JsonValue, names: Sequence[str]) -> str:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _cursors(message: Descriptor, depth: int = 1) -> Iterator[tuple[str, ...]]:
    """Paths to strings named as cursors are, the shallow ones first."""
    for name in CURSORS:
        field = message.fields_by_name.get(name)
        if field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            yield (name,)
    if depth < _CURSOR_DEPTH:
        for field in message.fields:
            if field.message_type is not None and not field.is_repeated:
                yield from ((field.name, *rest) for rest in _cursors(field.message_type, depth + 1))
