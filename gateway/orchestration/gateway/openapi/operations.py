"""Operations: one http rule each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from orchestration.gateway.fieldpath import FieldPath, resolve
from orchestration.gateway.negotiation import EVENT_STREAM, JSON, NDJSON
from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.errors import REQUEST_ID_HEADER, errors_of
from orchestration.gateway.openapi.examples import NOTHING, example_of
from orchestration.gateway.openapi.messages import Schemas
from orchestration.gateway.openapi.parameters import header_parameters, path_parameters, query_parameters
from orchestration.gateway.openapi.paths import ExpandedPath
from orchestration.gateway.openapi.values import Place, is_well_known
from orchestration.gateway.routes import Route
from orchestration.gateway.schema import HTTP_BODY, find_field

_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_SOCKET_TEXT: Final = (
    'Over a WebSocket{sends} every answer is a text frame with one JSON object: `{{"result": ...}}`, or a last '
    '`{{"error": ...}}`. Browsers send their token as the subprotocols `bearer, TOKEN`.'
)
_CLOSE_CODES: Final = {
    "1000": "The stream has ended.",
    "1001": "The gateway is shutting down.",
    "1011": "The stream has failed; the last frame holds the error.",
}


class Operations:
    """Describes routes.

    Args:
        schemas: Where their messages become components.
        comments: By full names.
        idempotency_field: Name of the field that the header ``Idempotency-Key`` fills.
        authenticated: Whether callers may be refused for who they are.
        etags: Whether answers carry the etag of what they hold.
    """

    def __init__(
        self,
        schemas: Schemas,
        comments: Mapping[str, str],
        *,
        idempotency_field: str,
        authenticated: bool,
        etags: bool,
    ) -> None:
        self._idempotency_field = idempotency_field
        self._schemas = schemas
        self._comments = comments
        self._authenticated = authenticated
        self._etags = etags

    def describe(self, route: Route, path: ExpandedPath, operation_id: str, tag: str) -> JsonObject:
        """The operation of a route that plain HTTP can call."""
        method, rule = route.method, route.rule
        changes = rule.http_method not in _SAFE_METHODS
        parameters = path_parameters(path.parameters, method.input_type, self._schemas)
        parameters += query_parameters(method.input_type, _path_fields(route, path), rule.body, self._schemas)
        found: JsonObject = {"tags": [tag], "operationId": operation_id, **self._text(route)}
        if method.GetOptions().deprecated:
            found["deprecated"] = True
        found["parameters"] = [
            *parameters,
            *header_parameters(idempotent=changes and not self._idempotency_field),
        ]
        if rule.body:
            found["requestBody"] = self._body(route, path)
        errors = errors_of(
            takes_path=bool(path.parameters),
            takes_body=bool(rule.body),
            changes=changes,
            authenticated=self._authenticated,
        )
        found["responses"] = {"200": self._success(route), **errors}
        found["x-grpc-method"] = method.full_name
        if route.streaming:
            found["x-websocket"] = self.socket(route)
        return found

    def socket(self, route: Route) -> JsonObject:
        """What a streaming route is over a WebSocket."""
        method = route.method
        found: JsonObject = {
            "grpcMethod": method.full_name,
            "subprotocols": ["bearer"],
            "receive": self._line(method),
            "closeCodes": _CLOSE_CODES,
        }
        if method.client_streaming:
            found["send"] = self._schemas.message(method.input_type, Place.BODY)
            found["end"] = "An empty frame ends the messages of the client; the answers go on."
        return found

    def summary(self, method: MethodDescriptor) -> str:
        """The first sentence of a method's comment."""
        text = " ".join(self._comments.get(method.full_name, "").split("\n\n")[0].split())
        return (text.partition(". ")[0]).rstrip(".;")

    def socket_text(self, method: MethodDescriptor) -> str:
        """How a stream is used over a WebSocket, for people."""
        sends = " every message is a text frame with one JSON object, and" if method.client_streaming else ""
        return _SOCKET_TEXT.format(sends=sends)

    def _text(self, route: Route) -> JsonObject:
        method = route.method
        summary = self.summary(method) or method.name
        parts = [self._comments.get(method.full_name, ""), self.socket_text(method) if route.streaming else ""]
        text = "\n\n".join(part for part in parts if part)
        return {"summary": summary, **({"description": text} if text else {})}

    def _body(self, route: Route, path: ExpandedPath) -> JsonObject:
        message, name = route.method.input_type, route.rule.body
        if name != "*":
            field = find_field(message, name)
            assert field is not None
            if _is_raw(field.message_type) and not field.is_repeated:
                return {"content": {"*/*": {}}}
            schema = self._schemas.field(field, Place.BODY)
            required = self._schemas.is_required(field, Place.BODY)
        elif _is_raw(message):
            return {"content": {"*/*": {}}}
        else:
            schema, required = self._whole(route.method, path)
        found = example_of(schema, self._schemas.components)
        content: JsonObject = {"schema": schema, **({} if found is NOTHING else {"example": found})}
        return {"required": required, "content": {JSON: content}}

    def _whole(self, method: MethodDescriptor, path: ExpandedPath) -> tuple[JsonObject, bool]:
        """The message without what the path gives."""
        message = method.input_type
        given = {each.variable.path[0] for each in path.parameters if each.variable and len(each.variable.path) == 1}
        if not given:
            schema = self._schemas.message(message, Place.BODY)
            return schema, self._needs_something(message, given)
        inline = self._schemas.inline(message, Place.BODY, given)
        return self._schemas.add(f"{method.name}Body", inline), self._needs_something(message, given)

    def _needs_something(self, message: Descriptor, given: set[str]) -> bool:
        return any(self._schemas.is_required(field, Place.BODY) for field in message.fields if field.name not in given)

    def _success(self, route: Route) -> JsonObject:
        method, name = route.method, route.rule.response_body
        headers: JsonObject = {"X-Request-Id": REQUEST_ID_HEADER}
        if route.encoder.is_raw:
            return {"description": "Any bytes, of the type that they have.", "headers": headers, "content": {"*/*": {}}}
        if method.server_streaming:
            return {
                "description": "The stream, for as long as it goes.",
                "headers": headers,
                "content": self._stream(method),
            }
        if self._etags and not name and _has_etag(method.output_type):
            headers["ETag"] = {"$ref": "#/components/headers/ETag"}
        field = method.output_type.fields_by_name[name] if name else None
        described = method.output_type if field is None else field.message_type
        text = "" if described is None else self._comments.get(described.full_name, "")
        schema = self._answer(method.output_type, field)
        return {"description": text or "Success.", "headers": headers, "content": {JSON: {"schema": schema}}}

    def _answer(self, message: Descriptor, field: FieldDescriptor | None) -> JsonObject:
        if field is None:
            return self._schemas.message(message, Place.ANSWER)
        schema = self._schemas.field(field, Place.ANSWER)
        if field.message_type is None or field.is_repeated:
            return schema
        # What is not set is null where the type has a JSON form of its own, else an empty object.
        unset: JsonObject = {"type": "null"} if is_well_known(field) else {"type": "object", "maxProperties": 0}
        return {"anyOf": [schema, unset]} if schema else schema

    def _stream(self, method: MethodDescriptor) -> JsonObject:
        message = {"contentMediaType": JSON, "contentSchema": self._line(method)}
        lines = {"type": "string", "description": "One JSON object a line; blank lines are signs of life.", **message}
        events = {
            "type": "string",
            "description": "Server-sent events: `data` is a message, `id` its cursor where it has one; the event "
            "`error` is the last. With `Last-Event-ID` the stream goes on after that event.",
            "contentMediaType": JSON,
            "contentSchema": self._schemas.message(method.output_type, Place.ANSWER),
        }
        return {NDJSON: {"schema": lines}, EVENT_STREAM: {"schema": events}}

    def _line(self, method: MethodDescriptor) -> JsonObject:
        result = self._schemas.message(method.output_type, Place.ANSWER)
        error = {"$ref": "#/components/schemas/Error"}
        return {
            "oneOf": [
                {"type": "object", "required": ["result"], "properties": {"result": result}},
                {"type": "object", "required": ["error"], "properties": {"error": error}},
            ]
        }


def _path_fields(route: Route, path: ExpandedPath) -> list[FieldPath]:
    variables = {each.variable.path for each in path.parameters if each.variable is not None}
    return [resolve(route.method.input_type, names) for names in sorted(variables)]


def _is_raw(message: Descriptor | None) -> bool:
    return message is not None and message.full_name == HTTP_BODY


def _has_etag(message: Descriptor) -> bool:
    field = message.fields_by_name.get("etag")
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
