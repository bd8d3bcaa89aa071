"""Parameters of operations: of the path, of the query, and headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestration.gateway.fieldpath import FieldPath, resolve
from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.examples import NOTHING, example_of
from orchestration.gateway.openapi.messages import Schemas
from orchestration.gateway.openapi.paths import PathParameter
from orchestration.gateway.openapi.values import Place
from orchestration.gateway.schema import SCALAR_MESSAGES, is_map
from orchestration.gateway.values import url_converter

_SEGMENT: Final = "^[^/]+$"
_DEEPEST: Final = 5
"""Most names in a query parameter that is told of."""

HEADER_PARAMETERS: Final[JsonObject] = {
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "An id for this request, which logs and the answer hold; without it a new one is made.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "RequestTimeout": {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "How long the request may take, in seconds, such as 1.5. Half a second at least, to be of use.",
        "schema": {"type": "string", "pattern": r"^(?:0\.[5-9][0-9]{0,8}|[1-9][0-9]{0,8}(?:\.[0-9]{1,9})?)$"},
        "example": "30",
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes it safe to send the same request again, where the service supports it.",
        "schema": {"type": "string", "pattern": "^[!-~](?:[ -~]*[!-~])?$"},
    },
}


def header_parameters(*, idempotent: bool) -> list[JsonObject]:
    """References to those that an operation takes."""
    names = ["RequestId", "RequestTimeout", *(["IdempotencyKey"] if idempotent else [])]
    return [{"$ref": "#/components/parameters/" + name} for name in names]


def path_parameters(parameters: tuple[PathParameter, ...], message: Descriptor, schemas: Schemas) -> list[JsonObject]:
    """One for each wildcard."""
    return [_path_parameter(each, message, schemas) for each in parameters]


def _path_parameter(parameter: PathParameter, message: Descriptor, schemas: Schemas) -> JsonObject:
    found: JsonObject = {"name": parameter.name, "in": "path", "required": True}
    if parameter.variable is None:
        return {**found, "description": "Any segment.", "schema": schemas.segment(_SEGMENT), "example": "any"}
    field = resolve(message, parameter.variable.path)
    if parameter.many:
        text = (
            f"Any number of segments, none included, with slashes between them: the end of {parameter.variable.name}."
        )
        schema = schemas.segment("")
        return {**found, "description": text, "schema": schema, "example": "a/b", "x-multiple-segments": True}
    if not parameter.whole:
        text = f"A segment of {parameter.variable.name}."
        schema = schemas.segment(_SEGMENT)
        return {
            **found,
            "description": text,
            "schema": schema,
            "example": "example",
            "x-google-name": parameter.variable.name,
        }
    schema = schemas.field(field.field, Place.URL)
    if schema.get("type") == "string" and "enum" in schema:
        schema["enum"] = [each for each in schema["enum"] if each]
    elif schema.get("type") == "string":
        schema["minLength"] = max(1, schema.get("minLength", 1))
    own = {} if parameter.name == parameter.variable.name else {"x-google-name": parameter.variable.name}
    return _described({**found, **own}, schema, schemas)


def query_parameters(
    message: Descriptor, path_fields: list[FieldPath], body: str, schemas: Schemas
) -> list[JsonObject]:
    """One for each leaf of the request that neither the path nor the body fills."""
    if body == "*":
        return []
    taken = {field.names for field in path_fields}
    choices = {choice for field in path_fields for choice in field.oneofs}
    found: list[JsonObject] = []
    for names, field, oneofs in _leaves(message, (), (), set()):
        rival = any(oneof == other and member != chosen for oneof, member in oneofs for other, chosen in choices)
        if names in taken or names[0] == body or rival or _chosen_by_body(message, body, oneofs):
            continue
        required = {"required": True} if len(names) == 1 and schemas.is_required(field, Place.URL) else {}
        parameter: JsonObject = {"name": ".".join(names), "in": "query", **required}
        if field.is_repeated:
            parameter |= {"style": "form", "explode": True}
        found.append(_described(parameter, schemas.field(field, Place.URL), schemas))
    return found


def _chosen_by_body(message: Descriptor, body: str, oneofs: tuple[tuple[tuple[str, ...], str], ...]) -> bool:
    field = message.fields_by_name.get(body)
    oneof = None if field is None else field.containing_oneof
    return oneof is not None and len(oneof.fields) > 1 and any(path == (oneof.name,) for path, _ in oneofs)


def _leaves(
    message: Descriptor, names: tuple[str, ...], oneofs: tuple[Any, ...], above: set[str]
) -> Iterator[tuple[tuple[str, ...], FieldDescriptor, tuple[Any, ...]]]:
    """Fields that can stand in a URL, with the choices that they make. Messages within themselves are left out."""
    if len(names) >= _DEEPEST or message.full_name in above:
        return
    for field in message.fields:
        path = (*names, field.name)
        oneof = field.containing_oneof
        chosen = oneofs if oneof is None or len(oneof.fields) < 2 else (*oneofs, ((*names, oneof.name), field.name))
        if is_map(field):
            continue
        if url_converter(field) is not None:
            yield path, field, chosen
        elif field.message_type is not None and not field.is_repeated and _is_walked(field.message_type):
            yield from _leaves(field.message_type, path, chosen, above | {message.full_name})


def _is_walked(message: Descriptor) -> bool:
    return message.full_name not in SCALAR_MESSAGES and not message.full_name.startswith("google.protobuf.")


def _described(parameter: JsonObject, schema: JsonObject, schemas: Schemas) -> JsonObject:
    """A parameter with what is said of its schema moved to where readers look for it."""
    for name in ("description", "deprecated"):
        if name in schema:
            parameter[name] = schema.pop(name)
    found = schema.pop("example", NOTHING)
    if found is NOTHING and parameter.get("required"):
        found = example_of(schema, schemas.components)
    return {**parameter, "schema": schema, **({} if found is NOTHING else {"example": found})}
