"""The OpenAPI 3.1 document of a gateway's routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.openapi.comments import read_comments
from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.errors import HEADERS, error_responses
from orchestration.gateway.openapi.messages import Schemas
from orchestration.gateway.openapi.names import ComponentNames, identifier
from orchestration.gateway.openapi.operations import Operations
from orchestration.gateway.openapi.options import Options
from orchestration.gateway.openapi.parameters import HEADER_PARAMETERS
from orchestration.gateway.openapi.paths import ExpandedPath, expand
from orchestration.gateway.routes import Route
from orchestration.gateway.routing import ANY_METHOD
from orchestration.gateway.template import parse_template

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
"""Those that OpenAPI 3.1 has a place for."""
_ANY_STANDS_FOR: Final = ("get", "put", "post", "delete", "patch")
_BEARER: Final = "bearer"


def build_document(routes: Sequence[Route], descriptors: FileDescriptorSet, config: GatewayConfig) -> JsonObject:
    """The document. The same routes and descriptors give the same, member by member.

    Args:
        routes: In the protos' order.
        descriptors: Of the upstream; their comments are used where they kept them.
        config: What the gateway and its document are set to.
    """
    return _Document(routes, descriptors, config).build()


class _Document:
    def __init__(self, routes: Sequence[Route], descriptors: FileDescriptorSet, config: GatewayConfig) -> None:
        self._routes = routes
        self._config = config
        self._openapi = config.openapi
        self._comments = read_comments([descriptors, *self._openapi.comments])
        requested = _reached([route.method.input_type for route in routes])
        answered = _reached([route.method.output_type for route in routes])
        everything = {**requested, **answered}
        names = ComponentNames((name, each.file.package) for name, each in everything.items())
        etags = config.etags != "off"
        self._schemas = Schemas(
            names,
            Options(routes[0].method.containing_service.file.pool if routes else DescriptorPool()),
            self._comments,
            self._openapi,
            answered,
            open_objects=config.unknown_json == "ignore",
            etags=etags,
        )
        self._schemas.echo(
            field for each in requested.values() if isinstance(each, Descriptor) for field in each.fields
        )
        self._authenticated = self._openapi.authentication != "none"
        self._operations = Operations(
            self._schemas,
            self._comments,
            idempotency_field=self._openapi.idempotency_field,
            authenticated=self._authenticated,
            etags=etags,
        )
        self._paths: dict[str, JsonObject] = {}
        self._shapes: dict[str, ExpandedPath] = {}
        self._counts: dict[str, int] = {}
        self._services = {
            route.method.containing_service.full_name: route.method.containing_service for route in routes
        }
        short = [service.name for service in self._services.values()]
        self._short = len(set(short)) == len(short)

    def build(self) -> JsonObject:
        responses = error_responses(self._schemas, self._config)
        for route in self._routes:
            self._add(route)
        for item in self._paths.values():
            _fill_any(item)
        schemas = self._schemas.components
        components: JsonObject = {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "responses": responses,
            "parameters": HEADER_PARAMETERS,
            "headers": HEADERS,
        }
        document: JsonObject = {
            "openapi": "3.1.0",
            "info": self._info(),
            "servers": [{"url": "/"}],
            "tags": [self._tag(name) for name in self._services],
            "paths": self._paths,
            "components": components,
        }
        if self._authenticated:
            components["securitySchemes"] = {_BEARER: {"type": "http", "scheme": "bearer"}}
            optional: list[JsonObject] = [{}] if self._openapi.authentication == "optional" else []
            document["security"] = [*optional, {_BEARER: []}]
        return document

    def _info(self) -> JsonObject:
        title = self._openapi.title or ", ".join(service.name for service in self._services.values()) or "No services"
        description = {"description": self._openapi.description} if self._openapi.description else {}
        return {"title": title, "version": self._openapi.version, **description}

    def _tag_name(self, service: Any) -> str:
        return str(service.name if self._short else service.full_name)

    def _tag(self, name: str) -> JsonObject:
        service = self._services[name]
        parts = [self._comments.get(name, "")]
        for route in self._routes:
            if route.client_streaming and route.method.containing_service.full_name == name:
                text = self._comments.get(route.method.full_name, "")
                path = expand(parse_template(route.rule.path)).text
                parts.append(f"**WebSocket `{path}`** ({route.method.name}): {text}".rstrip(": "))
                parts.append(self._operations.socket_text(route.method))
        text = "\n\n".join(part for part in parts if part)
        return {"name": self._tag_name(service), **({"description": text} if text else {})}

    def _add(self, route: Route) -> None:
        path = self._path(route)
        item = self._paths.setdefault(path.text, {})
        if route.client_streaming:
            # Plain HTTP cannot call it, so that it is no operation.
            item["summary"] = self._operations.summary(route.method) or route.method.name
            item["description"] = self._operations.socket_text(route.method)
            item["x-websocket"] = self._operations.socket(route)
            return
        service = route.method.containing_service
        found = self._operations.describe(route, path, self._operation_id(route), self._tag_name(service))
        kind = route.rule.http_method
        if kind.lower() in _METHODS:
            item[kind.lower()] = found
        else:
            item.setdefault("x-additionalOperations", {})[kind] = found

    def _path(self, route: Route) -> ExpandedPath:
        """The route's path, its parameters named as in the first path of the same shape."""
        path = expand(parse_template(route.rule.path))
        first = self._shapes.setdefault(path.shape, path)
        return path if first is path else path.renamed(tuple(each.name for each in first.parameters))

    def _operation_id(self, route: Route) -> str:
        """Service_Method, with a number for each further binding."""
        name = identifier(f"{self._tag_name(route.method.containing_service)}_{route.method.name}")
        number = self._counts[name] = self._counts.get(name, 0) + 1
        return name if number == 1 else f"{name}_{number}"


def _fill_any(item: JsonObject) -> None:
    """Put the operation of a rule for any method where the methods have none of their own."""
    more: dict[str, JsonObject] = item.get("x-additionalOperations", {})
    found = more.pop(ANY_METHOD, None)
    if found is not None:
        for method in _ANY_STANDS_FOR:
            item.setdefault(method, {**found, "operationId": f"{found['operationId']}_{method}"})
        if not more:
            del item["x-additionalOperations"]


def _reached(messages: Sequence[Descriptor]) -> dict[str, Descriptor | EnumDescriptor]:
    """All messages and enums that these hold, themselves included, by their full names."""
    found: dict[str, Descriptor | EnumDescriptor] = {}
    waiting = list(messages)
    while waiting:
        message = waiting.pop()
        if message.full_name in found:
            continue
        found[message.full_name] = message
        waiting.extend(field.message_type for field in message.fields if field.message_type is not None)
        found.update(_enums(message))
    return found


def _enums(message: Descriptor) -> Iterator[tuple[str, EnumDescriptor]]:
    for field in message.fields:
        if field.enum_type is not None:
            yield field.enum_type.full_name, field.enum_type
