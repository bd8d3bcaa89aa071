"""Requests: from path, query and body to the wire bytes of one message."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.codec import Codec, CodecError
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.diagnosis import find_violations
from orchestration.gateway.errors import RequestError, RuleError, Violation, invalid
from orchestration.gateway.fieldpath import FieldPath, OneofChoice, merge, put
from orchestration.gateway.jsontext import JsonReader
from orchestration.gateway.pathvars import PathVariable, compile_variables
from orchestration.gateway.query import QueryBinder
from orchestration.gateway.schema import HTTP_BODY, HttpRule, find_field
from orchestration.gateway.strictness import Strictness
from orchestration.gateway.template import Template
from orchestration.gateway.values import LAX_BOOLS, PATH_BOOLS, JsonValue
from orchestration.gateway.wire import bytes_tag, write_varint

Fixed = Sequence[tuple[FieldPath, JsonValue]]
"""Fields that the path gives, and their values."""


class MessageEncoder:
    """JSON values to wire bytes of one message, with an answer of 400 for what does not fit."""

    def __init__(self, message: Descriptor, codec: Codec) -> None:
        self._message = message
        self._codec = codec
        self._encode: Final[Callable[[JsonValue], bytes]] = codec.message(message.full_name).encode

    # Made for the first value: an API may have thousands of methods, of which few are ever called.

    @cached_property
    def _strictness(self) -> Strictness:
        return Strictness(self._message)

    @cached_property
    def _is_strict(self) -> bool:
        return self._strictness.needed

    def encode(self, value: JsonValue) -> bytes:
        """Wire bytes. Raises `RequestError` with the JSON path of all that is wrong."""
        if self._is_strict:
            violations = self._strictness.settle(value)
            if violations:
                raise invalid("INVALID_FIELD", violations)
        try:
            return self._encode(value)
        except CodecError as error:
            return self._encode_again(value, error)

    def _encode_again(self, value: JsonValue, error: CodecError) -> bytes:
        """What the runtime refuses: for the form of its numbers alone, or rightly so."""
        try:
            if self._strictness.ease(value):
                return self._encode(value)
        except (CodecError, RecursionError):
            pass
        raise invalid("INVALID_FIELD", find_violations(self._message, value, self._fits, str(error))) from error

    def same(self, field: FieldPath, one: JsonValue, other: JsonValue) -> bool:
        """Whether two JSON values mean the same at a field."""
        values: tuple[dict[str, JsonValue], dict[str, JsonValue]] = ({}, {})
        put(values[0], field.names, one)
        put(values[1], field.names, other)
        return self.encode(values[0]) == self.encode(values[1])

    def _fits(self, message: Descriptor, value: JsonValue) -> bool:
        try:
            self._codec.message(message.full_name).encode(value)
        except CodecError:
            return False
        return True


class RequestBinder:
    """Binds the requests of one http rule. Raises `RuleError` for a rule that does not fit its message."""

    def __init__(
        self, message: Descriptor, rule: HttpRule, template: Template, codec: Codec, config: GatewayConfig
    ) -> None:
        self._message = message
        self._encoder = MessageEncoder(message, codec)
        bools = LAX_BOOLS if config.lax_bools else PATH_BOOLS
        self._variables: tuple[PathVariable, ...] = compile_variables(template, message, bools)
        self._body = rule.body
        self._body_field = None if rule.body in ("", "*") else _body_field(message, rule.body)
        path_fields = [variable.field for variable in self._variables]
        body = rule.body if self._body_field is None else self._body_field.name
        if any(field.names == (body,) for field in path_fields):
            raise RuleError(f"{rule.body} is bound to the body and to the path")
        self._meets_body = any(field.names[0] == body for field in path_fields)
        """Whether the path names the very resource that is the body, as in ``patch: "/v1/{book.name=books/*}"``."""
        taken = [choice for field in path_fields for choice in field.oneofs]
        _check_choices([*taken, *(() if self._body_field is None else _choices(self._body_field))])
        self._query = QueryBinder(message, path_fields, body, config)
        body_type = message if self._body_field is None else self._body_field.message_type
        self._reader = JsonReader(body_type, self._body_field)
        self._frames = self._reader if self._body_field is None else JsonReader(message)
        self.takes_body: Final = bool(rule.body)
        """Whether requests may have a body."""
        self.takes_raw_body: Final = self.takes_body and body_type is not None and body_type.full_name == HTTP_BODY
        """Whether the body is a google.api.HttpBody: any bytes of any type."""

    def bind(self, raw: Sequence[str], segments: Sequence[str], query: str, body: bytes, content_type: str) -> bytes:
        """The request message.

        Args:
            raw: The path's segments as sent, without the verb.
            segments: The same percent-decoded.
            query: As sent.
            body: Empty for none.
            content_type: Of the body; only HttpBody keeps it.

        Raises:
            RequestError: With the path of each field that is wrong.
        """
        if not query and self._plain is not None:
            return self._bind_plain(self._plain, raw, segments)
        if self._body == "*":
            value = self._read_whole(body, content_type)
            if query:
                self._query.bind(query, {})
            if self._variables:
                value = self._with_fixed(value, self._read_path(raw, segments))
            return self._encoder.encode(value)
        bound: dict[str, JsonValue] = {}
        choices: tuple[OneofChoice, ...] = ()
        if self._body_field is not None and body:
            bound[self._body_field.name] = self._read_field(body, content_type)
            choices = _choices(self._body_field)
        if self._meets_body:
            self._with_fixed(bound, self._read_path(raw, segments))
        else:
            for variable in self._variables:
                put(bound, variable.field.names, variable.read(raw, segments))
        if query or choices:
            self._query.bind(query, bound, choices)
        return self._encoder.encode(bound)

    @cached_property
    def _plain(self) -> tuple[tuple[bytes, PathVariable], ...] | None:
        """Tag and variable of each field, where a request is nothing but strings of the path, as most reads are."""
        if self._body or not all(_is_plain(variable.field) for variable in self._variables):
            return None
        return tuple((bytes_tag(variable.field.field.number), variable) for variable in self._variables)

    @staticmethod
    def _bind_plain(
        plain: tuple[tuple[bytes, PathVariable], ...], raw: Sequence[str], segments: Sequence[str]
    ) -> bytes:
        parts: list[bytes] = []
        for tag, variable in plain:
            text = str(variable.read(raw, segments)).encode()
            parts += (tag, write_varint(len(text)), text)
        return b"".join(parts)

    def bind_first(self, raw: Sequence[str], segments: Sequence[str], query: str) -> Callable[[bytes], bytes]:
        """What turns the first message of a client's stream into wire bytes: it gets the path and the query too.

        Raises:
            RequestError: For a bad path or query; the function raises it for a bad message.
        """
        fixed = self._read_path(raw, segments)
        given: dict[str, JsonValue] = {}
        if query:
            self._query.bind(query, given)

        def read(frame: bytes) -> bytes:
            value = self._frames.read(frame)
            for name, each in given.items():
                if isinstance(value, dict):
                    self._check_unset(value, name)
                    value[name] = each
            return self._encoder.encode(self._with_fixed(value, fixed))

        return read

    def bind_next(self, frame: bytes) -> bytes:
        """A later message of a client's stream. Raises `RequestError`."""
        return self._encoder.encode(self._frames.read(frame))

    def _check_unset(self, value: dict[str, JsonValue], name: str) -> None:
        """Raises `RequestError` where a message has what the query gives, or what excludes it."""
        field = self._message.fields_by_name[name]
        if field.name in value or field.json_name in value:
            raise invalid("INVALID_FIELD", [Violation(name, "is in the query and in the message")])
        for oneof, member in _choices(field):
            other = _rival(self._message, value, oneof, member)
            if other is not None:
                text = f"excludes {member}, which the query gives (oneof {oneof[-1]})"
                raise invalid("INVALID_FIELD", [Violation(other, text)])

    def _read_path(self, raw: Sequence[str], segments: Sequence[str]) -> Fixed:
        return [(variable.field, variable.read(raw, segments)) for variable in self._variables]

    def _read_whole(self, body: bytes, content_type: str) -> JsonValue:
        if self.takes_raw_body:
            return _raw(body, content_type)
        return self._reader.read(body) if body else {}

    def _read_field(self, body: bytes, content_type: str) -> JsonValue:
        return _raw(body, content_type) if self.takes_raw_body else self._reader.read(body)

    def _with_fixed(self, value: JsonValue, fixed: Fixed) -> JsonValue:
        """The caller's message with the fields of the path. A field may be in both if it is the same in both."""
        for field, leaf in fixed:
            there = merge(self._message, value, field, leaf)
            if there is not None and not self._encoder.same(field, there, leaf):
                raise _differs(field, there, leaf)
            for oneof, member in field.oneofs:
                other = _rival(self._message, value, oneof, member)
                if other is not None:
                    text = f"excludes {member}, which the path gives (oneof {oneof[-1]})"
                    raise invalid("INVALID_FIELD", [Violation(".".join((*oneof[:-1], other)), text)])
        return value


def _is_plain(path: FieldPath) -> bool:
    return len(path.names) == 1 and path.field.type == FieldDescriptor.TYPE_STRING


def _body_field(message: Descriptor, name: str) -> FieldDescriptor:
    field = find_field(message, name)
    if field is None:
        hint = "; a body is a field of the request itself" if "." in name else ""
        raise RuleError(f"body {name!r}: {message.full_name} has no such field{hint}")
    return field


def _choices(field: FieldDescriptor) -> tuple[OneofChoice, ...]:
    oneof = field.containing_oneof
    return () if oneof is None or len(oneof.fields) == 1 else (((oneof.name,), field.name),)


def _check_choices(choices: Sequence[OneofChoice]) -> None:
    """Raises `RuleError` for a rule that would always set two members of a oneof."""
    taken: dict[tuple[str, ...], str] = {}
    for oneof, member in choices:
        other = taken.setdefault(oneof, member)
        if other != member:
            raise RuleError(f"{other} and {member} exclude each other (oneof {oneof[-1]})")


def _rival(message: Descriptor, value: JsonValue, oneof: tuple[str, ...], member: str) -> str | None:
    """Another member of the oneof that a caller's object sets, as it is spelt there."""
    for name in oneof[:-1]:
        if not isinstance(value, dict):
            return None
        field = message.fields_by_name[name]
        value = value.get(field.name, value.get(field.json_name))
        assert field.message_type is not None
        message = field.message_type
    if not isinstance(value, dict):
        return None
    others = (field for field in message.oneofs_by_name[oneof[-1]].fields if field.name != member)
    names = (name for field in others for name in (field.name, field.json_name))
    return next((name for name in names if value.get(name) is not None), None)


def _raw(body: bytes, content_type: str) -> JsonValue:
    return {"content_type": content_type, "data": base64.b64encode(body).decode()}


def _differs(field: FieldPath, there: JsonValue, leaf: JsonValue) -> RequestError:
    text = f"is {leaf!r} in the path and {there!r} in the body"
    return invalid("INVALID_FIELD", [Violation(".".join(field.names), text)])
