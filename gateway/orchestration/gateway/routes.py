"""The routes of a gateway, compiled from the descriptors and rules of its upstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
from orchestration.gateway.template import Template, TemplateError, parse_template
from orchestration.gateway.topfields import string_field
from orchestration.gateway.upstream import Rpc, Upstream, method_path

_NO_BODY = ("GET", "DELETE", "HEAD", "OPTIONS")


@dataclass(kw_only=True, eq=False)
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
    resumes_at: tuple[str, ...]
    """Spellings of the request's field that takes the cursor to go on from; empty where a query cannot give it."""
    template: Template
    config: GatewayConfig

    @cached_property
    def path(self) -> str:
        """``/package.Service/Method``, as gRPC names the RPC."""
        return method_path(self.method)

    @cached_property
    def request_tag(self) -> RequestTag | None:
        """Where If-Match goes."""
        return None if self.streaming else request_tag(self.method.input_type, self.rule.body, self.config.etags)

    @cached_property
    def answer_tag(self) -> AnswerTag | None:
        """Where ETag comes from."""
        return None if self.streaming else answer_tag(self.encoder.sent, self.config.etags)

    @cached_property
    def next_page(self) -> NextPage | None:
        """How the next page is linked."""
        if self.streaming or not self.config.page_links:
            return None
        return next_page(self.method.input_type, self.encoder.sent, self.rule, self.template)


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
        resumes_at = _cursor_spellings(method, rule, template) if method.server_streaming else ()
        route = Route(
            method=method,
            rule=rule,
            binder=binder,
            system=SystemParameters(
                method.input_type, encoder.sent, self._config, events=method.server_streaming and not encoder.is_raw
            ),
            encoder=encoder,
            rpc=rpc,
            streaming=streaming,
            client_streaming=method.client_streaming,
            resumes_at=resumes_at,
            template=template,
            config=self._config,
        )
        other = self.requests.add(rule.http_method, template, route)
        if other is not None:
            raise RuleError(f"{rule.http_method} has the same shape as {other.rule.path!r} of {other.method.full_name}")
        if streaming:
            # A WebSocket begins with GET whatever the rule says. Where several rules meet, the first one serves it.
            self.sockets.add("GET", template, route)
        self.routes.append(route)


def _cursor_spellings(method: MethodDescriptor, rule: HttpRule, template: Template) -> tuple[str, ...]:
    fields = (string_field(method.input_type, name) for name in CURSORS)
    field = next((field for field in fields if field is not None), None)
    if field is None or rule.body == "*":
        return ()
    spellings = (field.name, field.json_name, field.camelcase_name)
    in_path = any(variable.path == (name,) for variable in template.variables for name in spellings)
    return () if in_path or rule.body in spellings else spellings


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
