"""Calls with a stream on either side: over plain HTTP, or over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol

import grpc
from aiohttp import web
from multidict import CIMultiDict

from orchestration.gateway.clientmessages import ClientMessages, single, unread
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.cors import Cors
from orchestration.gateway.entitytags import refuse_preconditions
from orchestration.gateway.errors import RequestError, UpstreamError, Violation, invalid
from orchestration.gateway.finishing import Finisher
from orchestration.gateway.handshake import accepted, bearer_token, check_handshake
from orchestration.gateway.headers import HeaderReader
from orchestration.gateway.negotiation import EVENT_STREAM, JSON, NDJSON, choose_stream_type
from orchestration.gateway.replies import ReplyHeaders
from orchestration.gateway.responses import ResponseEncoder
from orchestration.gateway.routes import Route
from orchestration.gateway.sockets import SocketStream
from orchestration.gateway.streamforms import FORMS, EventStream, RawChunks, StreamForm
from orchestration.gateway.streams import LAST_EVENT_ID, Pace, StreamAnswer, resume_query
from orchestration.gateway.uploads import answer_of, feed, is_lines, read_array
from orchestration.gateway.upstream import Call, Reply
from orchestration.gateway.values import JsonValue


class Target(Protocol):
    """A route, and the path that led to it."""

    @property
    def route(self) -> Route:
        """What serves the path."""
        ...

    @property
    def raw(self) -> Sequence[str]:
        """Segments as sent, without the verb."""
        ...

    @property
    def segments(self) -> Sequence[str]:
        """The same percent-decoded."""
        ...


class Surroundings(Protocol):
    """What streams need of the server that they belong to."""

    async def bind(self, request: web.Request, target: Target, query: str) -> bytes:
        """The one message of a request."""
        ...

    async def read_body(self, request: web.Request, *, any_type: bool) -> bytes:
        """The whole body, decompressed."""
        ...

    def read_lines(self, request: web.Request) -> AsyncIterator[bytes]:
        """The lines of a body as they arrive, decompressed."""
        ...

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
        """What goes with the RPC, once its caller is let in."""
        ...

    def answer_headers(self, request: web.BaseRequest, request_id: str, content_type: str = "") -> dict[str, str]:
        """Headers that any answer has."""
        ...

    def tell(self, error: RequestError | UpstreamError) -> dict[str, JsonValue]:
        """An error's JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts of the server that streams share with unary calls."""

    headers: HeaderReader
    replies: ReplyHeaders
    finisher: Finisher
    cors: Cors


class StreamServer:
    """Serves the methods that stream. All that it raises is `RequestError` or `UpstreamError`."""

    def __init__(self, config: GatewayConfig, server: Surroundings, tools: Tools) -> None:
        self._config = config
        self._server = server
        self._tools = tools
        self._pace = Pace(config.stream_start_s, config.keepalive_s)
        self._default = JSON if config.stream_format == "array" else NDJSON

    async def http(self, request: web.Request, target: Target, request_id: str) -> web.StreamResponse:
        """Answer over plain HTTP."""
        route = target.route
        if route.client_streaming:
            if route.method.server_streaming or not route.binder.takes_body:
                _upgrade_required(route)
            refuse_preconditions(request.headers, bound=False)
            return await self._collect(request, target, request_id)
        reply = Reply() if self._tools.replies.wanted else None
        call = self._server.call(request, route, request_id, streaming=True, reply=reply)
        if request.method not in ("GET", "HEAD"):
            refuse_preconditions(request.headers, bound=False)
        query, style = route.system.take(request.rel_url.raw_query_string)
        encoder = route.encoder.styled(replace(style, indented=False, events=False))
        form = self._form(request, encoder, events=style.events)
        resumed = ""
        if route.resumes_at and form.content_type(None) == EVENT_STREAM:
            resumed = request.headers.get(LAST_EVENT_ID, "")
        if resumed:
            query = resume_query(query, route.resumes_at, resumed)
        message = await self._server.bind(request, target, query)
        answer = self._server.answer_headers(request, request_id)
        if request.method == "HEAD":
            return web.Response(headers={**answer, "Content-Type": form.content_type(None)})

        def headers() -> CIMultiDict[str]:
            return CIMultiDict([*answer.items(), *([] if reply is None else self._tools.replies.headers(reply))])

        stream = StreamAnswer(route.rpc.stream(single(message), call), form, self._server.tell, self._pace)
        try:
            return await stream.send(request, headers, resumed=bool(resumed))
        except UpstreamError as error:
            self._add_metadata(error, reply)
            raise

    async def socket(self, request: web.Request, target: Target, request_id: str) -> web.StreamResponse:
        """Answer over a WebSocket."""
        if not self._tools.cors.lets_socket(request, self._tools.headers.hosts(request)):
            _origin_refused(request)
        check_handshake(request)
        call = self._server.call(request, target.route, request_id, streaming=True, token=bearer_token(request))
        query, style = target.route.system.take(request.rel_url.raw_query_string)
        if style.events:
            raise invalid("INVALID_QUERY", [Violation("alt", "expected json: a WebSocket has frames, not events")])
        incoming, requests = self._requests(target, query)
        socket = web.WebSocketResponse(
            autoping=False,
            compress=self._config.compress_sockets,
            max_msg_size=self._config.max_body_bytes,
            protocols=accepted(request),
        )
        socket.headers.update(self._server.answer_headers(request, request_id))
        messages = target.route.rpc.stream(requests, call)
        encode = target.route.encoder.styled(replace(style, indented=False)).encode
        stream = SocketStream(socket, messages, incoming, encode, self._server.tell, self._config.keepalive_s)
        return await stream.serve(request)

    def _requests(self, target: Target, query: str) -> tuple[ClientMessages, AsyncIterator[bytes]]:
        """What takes the client's frames, and what the RPC reads."""
        route = target.route
        if route.client_streaming or route.binder.takes_body:
            first = route.binder.bind_first(target.raw, target.segments, query)
            incoming = ClientMessages(first, route.binder.bind_next, only=None if route.client_streaming else 1)
            return incoming, aiter(incoming)
        message = route.binder.bind(target.raw, target.segments, query, b"", "")
        return ClientMessages(unread, unread, only=0), single(message)

    async def _collect(self, request: web.Request, target: Target, request_id: str) -> web.StreamResponse:
        """Answer a client's stream that is the body of a request."""
        route = target.route
        reply = Reply() if self._tools.replies.wanted else None
        call = self._server.call(request, route, request_id, streaming=True, reply=reply)
        query, style = route.system.take(request.rel_url.raw_query_string)
        first = route.binder.bind_first(target.raw, target.segments, query)
        incoming = ClientMessages(first, route.binder.bind_next)
        feeding = asyncio.create_task(feed(await self._texts(request), incoming))
        try:
            wire = await answer_of(route.rpc.stream(aiter(incoming), call), feeding)
        except UpstreamError as error:
            self._add_metadata(error, reply)
            raise
        body, content_type = route.encoder.styled(style.whole).encode_body(wire)
        headers = self._server.answer_headers(request, request_id, content_type)
        if not request.content.at_eof():
            headers["Connection"] = "close"  # the RPC has heard enough: the rest is not read
        return await self._tools.finisher.finish(request, route, body, headers, reply, style)

    async def _texts(self, request: web.Request) -> AsyncIterator[bytes]:
        if is_lines(request):
            return self._server.read_lines(request)
        return _each(read_array(await self._server.read_body(request, any_type=False)))

    def _add_metadata(self, error: UpstreamError, reply: Reply | None) -> None:
        if reply is not None:
            error.headers = self._tools.replies.headers(reply)

    def _form(self, request: web.Request, encoder: ResponseEncoder, *, events: bool) -> StreamForm:
        if encoder.is_raw:
            return RawChunks(encoder)
        accept = ",".join(request.headers.getall("Accept", ())) or "*/*"
        chosen = EVENT_STREAM if events else choose_stream_type(accept, self._default)
        if chosen == EVENT_STREAM:
            return EventStream(encoder, self._config.event_retry_s)
        return FORMS[chosen](encoder)


async def _each(texts: list[bytes]) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


def _upgrade_required(route: Route) -> NoReturn:
    raise RequestError(
        426,
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPGRADE_REQUIRED",
        f"{route.method.full_name} takes a stream of messages: open a WebSocket, and send each message as a text frame",
        metadata={"method": route.method.full_name},
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )


def _origin_refused(request: web.Request) -> NoReturn:
    origin = request.headers.get("Origin", "")
    raise RequestError(
        403,
        grpc.StatusCode.PERMISSION_DENIED,
        "ORIGIN_NOT_ALLOWED",
        f"pages of {origin} may not open a WebSocket here",
        metadata={"origin": origin},
    )
