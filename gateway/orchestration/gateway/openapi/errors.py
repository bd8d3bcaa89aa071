"""Errors in the document: their schema, and an answer for each status that is known."""

from __future__ import annotations

from typing import Final

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.errors import CODE_NAMES
from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.messages import Schemas

_TYPE: Final = "type.googleapis.com/google.rpc."
_MEANINGS: Final = {
    "400": ("InvalidRequest", "The request is malformed or breaks a rule, or the state of what it names forbids it."),
    "401": ("Unauthenticated", "The caller is not known."),
    "403": ("PermissionDenied", "The caller may not do this."),
    "404": ("NotFound", "There is nothing of this name."),
    "406": ("NotAcceptable", "The Accept header leaves nothing of what is offered."),
    "409": ("Conflict", "It exists already, or was changed by somebody else meanwhile."),
    "413": ("TooLarge", "The body is too large."),
    "415": ("UnsupportedMediaType", "The body is of a media type, a charset or an encoding that is not taken."),
    "429": ("ResourceExhausted", "Too many requests, or no room; Retry-After says when to try again."),
    "500": ("InternalError", "The service failed."),
    "501": ("Unimplemented", "The service does not serve this method."),
    "503": ("Unavailable", "The service cannot be reached now; the same request may succeed later."),
    "504": ("DeadlineExceeded", "The deadline of the request passed."),
    "default": ("Error", "Any other error."),
}
REQUEST_ID_HEADER: Final[JsonObject] = {"$ref": "#/components/headers/X-Request-Id"}
HEADERS: Final[JsonObject] = {
    "X-Request-Id": {
        "description": "The request's id: the caller's, or a new one.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "description": "Seconds after which the request may be sent again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "ETag": {
        "description": "The etag of what the answer holds, in quotes.",
        "schema": {"type": "string"},
    },
}


def error_responses(schemas: Schemas, config: GatewayConfig) -> JsonObject:
    """The components that `errors_of` refers to."""
    schema = _error_schema(schemas, config)
    found: JsonObject = {}
    for status, (name, text) in _MEANINGS.items():
        headers = {"X-Request-Id": REQUEST_ID_HEADER}
        if status in ("429", "503", "default"):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        found[name] = {"description": text, "headers": headers, "content": {"application/json": {"schema": schema}}}
    return found


def errors_of(*, takes_path: bool, takes_body: bool, changes: bool, authenticated: bool) -> JsonObject:
    """What an operation answers beside success."""
    statuses = ["400", *(["401", "403"] if authenticated else []), *(["404"] if takes_path else []), "406"]
    statuses += [*(["409"] if changes else []), *(["413", "415"] if takes_body else [])]
    statuses += ["429", "500", "501", "503", "504", "default"]
    return {status: {"$ref": "#/components/responses/" + _MEANINGS[status][0]} for status in statuses}


def _error_schema(schemas: Schemas, config: GatewayConfig) -> JsonObject:
    details: JsonObject = {
        "type": "array",
        "description": "Messages of google.rpc that say more; the first is an ErrorInfo.",
        "items": _detail(schemas),
    }
    message = {"type": "string", "description": "For people."}
    if config.error_format == "status":
        code = {"type": "integer", "description": "Number of the gRPC status."}
        return schemas.add("Error", _object({"code": code, "message": message, "details": details}))
    fields: JsonObject = {
        "code": {"type": "integer", "description": "The HTTP status."},
        "status": {"enum": [*CODE_NAMES.values()], "type": "string", "description": "Name of the gRPC status."},
        "message": message,
        "details": details,
    }
    return schemas.add("Error", _object({"error": _object(fields)}))


def _detail(schemas: Schemas) -> JsonObject:
    text: JsonObject = {"type": "string"}
    violation = _object({"field": text, "description": text}, open_=True)
    known: dict[str, JsonObject] = {
        "ErrorInfo": {
            "reason": {**text, "description": "UPPER_SNAKE_CASE, for programs."},
            "domain": {**text, "description": "Whose reason it is."},
            "metadata": {"type": "object", "additionalProperties": text},
        },
        "BadRequest": {"field_violations": {"type": "array", "items": violation}},
        "RetryInfo": {"retry_delay": {**text, "description": "Such as 1.5s."}},
    }
    named = [
        schemas.add(name, _object({"@type": {"const": _TYPE + name}, **fields}, open_=True))
        for name, fields in known.items()
    ]
    kinds = [_TYPE + name for name in known]
    other = _object({"@type": {"type": "string", "not": {"enum": kinds}}}, open_=True)
    return {"anyOf": [*named, other]}


def _object(properties: JsonObject, *, open_: bool = False) -> JsonObject:
    closed = {} if open_ else {"additionalProperties": False}
    return {"type": "object", "required": list(properties), "properties": properties, **closed}
