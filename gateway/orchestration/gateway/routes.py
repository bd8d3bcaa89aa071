"""The routes of a gateway, compiled from the descriptors and rules of its upstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from orchestration.gateway.binding import RequestBinder
from orchestration.gateway.codec import Codec
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.entitytags import AnswerTag, RequestTag, answer_tag, request_tag
from orchestration.gateway.errors import RuleError
from orchestration.gateway.pages import NextPage, next_page
from orchestration.gateway.responses import CURSORS, ResponseEncoder
from orchestration.gateway.routing import RouteTree
from orchestration.gateway.schema import HttpRule, Schema, rules_of
from orchestration.gateway.systemparams import SystemParameters
from orchestration.gateway.template import TemplateError, parse_template
from orchestration.gateway.upstream import Rpc, Upstream

_NO_BODY = ("GET", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One http rule, ready to serve."""

    method: MethodDescriptor
    rule: HttpRule
    binder: RequestBinder
    system: SystemParameters
    encoder: ResponseEncoder
    rpc: Rpc
    streaming: bool
    """Whether either side streams."""
    client_streaming: bool
    resumes_at: str | None
    """The request's field that takes the cursor to go on from."""
    request_tag: RequestTag | None = None
    """Where If-Match goes."""
    answer_tag: AnswerTag | None = None
    """Where ETag comes from."""
    next_page: NextPage | None = None
    """How the next page is linked."""


class RouteTable:
    """All routes, by method and path."""

    def __init__(self, codec: Codec, config: GatewayConfig) -> None:
        self._codec = codec
        self._config = config
        self.routes: list[Route] = []
        self.requests: RouteTree[Route] = RouteTree()
        self.sockets: RouteTree[Route] = RouteTree()
        """The streaming routes, for WebSockets."""

    async def add(self, method: MethodDescriptor, upstream: Upstream) -> None:
        """Add the routes of a method. Raises `RuleError` naming the method."""
        rules = list(rules_of(method))
        if not rules:
            return
        rpc = await upstream.bind(method)
        for rule in rules:
            try:
                self._add(method, rule, rpc)
            except TemplateError as error:
                raise RuleError(f"{method.full_name}: {rule.path!r}: {error}") from error
            except RuleError as error:
                raise RuleError(f"{method.full_name}: {rule.path!r}: {error}") from error

    def _add(self, method: MethodDescriptor, rule: HttpRule, rpc: Rpc) -> None:
        if rule.body and rule.http_method in _NO_BODY and not self._config.allow_get_body:
            raise RuleError(f"{rule.http_method} must not have a body (allow_get_body accepts it)")
        template = parse_template(rule.path)
        binder = RequestBinder(method.input_type, rule, template, self._codec, self._config)
        encoder = ResponseEncoder(method.output_type, rule.response_body, self._codec)
        streaming = method.client_streaming or method.server_streaming
        resumes_at = _cursor_field(method) if method.server_streaming else None
        route = Route(
            method,
            rule,
            binder,
            SystemParameters(method.input_type, enabled=self._config.system_parameters),
            encoder,
            rpc,
            streaming,
            method.client_streaming,
            resumes_at,
            None if streaming else request_tag(method.input_type, rule.body, self._config.etags),
            None if streaming else answer_tag(encoder.sent, self._config.etags),
            next_page(method.input_type, encoder.sent, rule, template)
            if self._config.page_links and not streaming
            else None,
        )
        other = self.requests.add(rule.http_method, template, route)
        if other is not None:
            raise RuleError(f"{rule.http_method} has the same shape as {other.rule.path!r} of {other.method.full_name}")
        if streaming:
            # A WebSocket begins with GET whatever the rule says. Where several rules meet, the first one serves it.
            self.sockets.add("GET", template, route)
        self.routes.append(route)


def _cursor_field(method: MethodDescriptor) -> str | None:
    fields = (method.input_type.fields_by_name.get(name) for name in CURSORS)
    return next((field.name for field in fields if field is not None and field.type == field.TYPE_STRING), None)


async def compile_routes(
    upstream: Upstream, services: Sequence[str] | None, codec: Codec, config: GatewayConfig
) -> RouteTable:
    """The routes of these services, or of all. Raises `RuleError` for a rule that cannot be served."""
    schema = Schema(upstream.descriptors())
    table = RouteTable(codec, config)
    names = upstream.services() if services is None else services
    for name in names:
        for method in schema.service(name).methods:
            await table.add(method, upstream)
    return table
