"""One request on its route: bound, called, answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from orchestration.gateway.body import arrived, read_body, refuse_body
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.cors import Cors
from orchestration.gateway.entitytags import every, refuse_preconditions
from orchestration.gateway.errorbody import ErrorWriter, dump
from orchestration.gateway.errors import RequestError, UpstreamError
from orchestration.gateway.finishing import Finisher
from orchestration.gateway.headers import REQUEST_ID, Head, HeaderReader
from orchestration.gateway.lines import LineReader
from orchestration.gateway.negotiation import JSON, check_accepted
from orchestration.gateway.replies import ReplyHeaders
from orchestration.gateway.routes import Route
from orchestration.gateway.streaming import StreamServer, Tools
from orchestration.gateway.streaming import Target as StreamTarget
from orchestration.gateway.upstream import Call, Reply
from orchestration.gateway.values import JsonValue

Admit = Callable[[str, Call], object]
"""Lets the caller of an RPC in, or raises `UpstreamError`. What it gives goes to the RPC as `Call.admitted`."""
_THREAD_BYTES: Final = 256 * 1024
"""Longer bodies are bound in a thread, so that others do not wait for them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A route, and the path that led to it."""

    route: Route
    raw: Sequence[str]
    """Segments as sent, without the verb."""
    segments: Sequence[str]
    """The same percent-decoded."""


class Server:
    """Serves requests whose route is known. All that it raises is `RequestError` or `UpstreamError`."""

    def __init__(self, config: GatewayConfig, errors: ErrorWriter, cors: Cors, admit: Admit | None = None) -> None:
        self._config = config
        self._admit = admit
        self._errors = errors
        self._cors = cors
        self.headers: Final = HeaderReader(config)
        """Reads the headers of requests."""
        self._reply_headers = ReplyHeaders(config)
        self.gets_packed = False
        """Whether compressed bodies come as they were sent."""
        self.finisher: Final = Finisher(config, self.headers, self._reply_headers)
        """Makes the answers of calls that went well."""
        tools = Tools(self.headers, self._reply_headers, self.finisher, cors)
        self.streams: Final = StreamServer(config, self, tools)
        """Serves the methods that stream."""

    async def unary(
        self,
        request: web.Request,
        target: Target,
        request_id: str,
        head: Head | None,
        body: bytes | None = None,
    ) -> web.StreamResponse:
        """Answer a call without streams.

        Args:
            request: The request.
            target: Its route.
            request_id: Its id.
            head: What its headers said, where that is known already.
            body: The JSON that came with it, where that is not the request's own.
        """
        route = target.route
        reply = Reply() if self._reply_headers.wanted else None
        if head is None:
            call = self.call(request, route, request_id, streaming=False, reply=reply)
            if not route.encoder.is_raw:
                check_accepted(request.headers)
        else:
            call = self._admitted(route, self.headers.call(head, request_id, reply))
        query, style = route.system.take(request.rel_url.raw_query_string)
        message = await self.bind(request, target, query, head, body)
        if head is None and request.method != "GET":
            message = _conditional(request, route, message)
        try:
            wire = await route.rpc.unary(message, call)
        except UpstreamError as error:
            if reply is not None:
                error.headers = self._reply_headers.headers(reply)
            raise
        text, content_type = route.encoder.styled(style.whole).encode_body(wire)
        headers = self.answer_headers(request, request_id, content_type)
        return await self.finisher.finish(request, route, text, headers, reply, style, usual=head is not None)

    def call(
        self,
        request: web.Request,
        route: Route,
        request_id: str,
        *,
        streaming: bool,
        token: str | None = None,
        reply: Reply | None = None,
    ) -> Call:
        """What goes with the RPC, once its caller is let in: comes before all else that a request asks for."""
        return self._admitted(
            route, self.headers.read(request, request_id, streaming=streaming, token=token, reply=reply)
        )

    def _admitted(self, route: Route, call: Call) -> Call:
        if self._admit is None:
            return call
        return Call(call.metadata, call.timeout, call.peer, call.reply, self._admit(route.path, call))

    def failure(self, request: web.BaseRequest, error: RequestError | UpstreamError, request_id: str) -> web.Response:
        """Answer with an error."""
        status, body, headers = self._errors.write(error)
        answer = {**self.answer_headers(request, request_id, JSON), **headers}
        response = web.Response(status=status, body=dump(body), headers=answer)
        if isinstance(error, UpstreamError):
            for name, value in error.headers:
                response.headers.add(name, value)
        if headers.get("Connection") == "close":
            response.force_close()
        return response

    async def bind(
        self,
        request: web.Request,
        target: StreamTarget,
        query: str,
        head: Head | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The message of a request."""
        binder = target.route.binder
        if not binder.takes_body:
            if body is None and request.body_exists:
                await refuse_body(request, self._config.body_timeout_s)
            return binder.bind(target.raw, target.segments, query, b"", "")
        if body is None and head is not None and head.has_json:
            body = arrived(request, self._config.max_body_bytes)
        if body is None:
            body = await self.read_body(request, any_type=binder.takes_raw_body)
        content_type = request.headers.get("Content-Type", "")
        if len(body) > _THREAD_BYTES:
            return await asyncio.to_thread(binder.bind, target.raw, target.segments, query, body, content_type)
        return binder.bind(target.raw, target.segments, query, body, content_type)

    async def read_body(self, request: web.Request, *, any_type: bool) -> bytes:
        """The whole body, decompressed, within the configured limits.

        Args:
            request: The request.
            any_type: Whether the body need not be JSON.
        """
        limit, timeout_s = self._config.max_body_bytes, self._config.body_timeout_s
        return await read_body(request, limit, any_type=any_type, timeout_s=timeout_s, packed=self.gets_packed)

    def read_lines(self, request: web.Request) -> AsyncIterator[bytes]:
        """The lines of a body as they arrive, decompressed, within the configured limits."""
        limit, timeout_s = self._config.max_body_bytes, self._config.body_timeout_s
        return aiter(LineReader(request, limit, timeout_s, packed=self.gets_packed))

    def answer_headers(self, request: web.BaseRequest, request_id: str, content_type: str = "") -> dict[str, str]:
        """Headers that any answer has."""
        headers = {REQUEST_ID: request_id}
        if content_type:
            headers["Content-Type"] = content_type
        return {**headers, **self._cors.headers(request)} if self._cors.enabled else headers

    def tell(self, error: RequestError | UpstreamError) -> dict[str, JsonValue]:
        """An error's JSON."""
        return self._errors.write(error)[1]


def _conditional(request: web.Request, route: Route, message: bytes) -> bytes:
    """The message of a request that may change something, with the etag that must still hold."""
    matches = "If-Match" in request.headers
    if not matches and "If-None-Match" not in request.headers:
        return message
    if request.method == "HEAD":
        return message
    refuse_preconditions(request.headers, bound=route.request_tag is not None)
    if route.request_tag is None or not matches:
        return message
    return route.request_tag.bind(message, every(request.headers, "If-Match"))
