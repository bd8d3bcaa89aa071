"""One request on its route: bound, called, answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import grpc
from aiohttp import web

from orchestration.gateway.body import read_body, refuse_body
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.cors import Cors
from orchestration.gateway.entitytags import refuse_preconditions
from orchestration.gateway.errorbody import ErrorWriter, dump
from orchestration.gateway.errors import RequestError, UpstreamError
from orchestration.gateway.finishing import Finisher
from orchestration.gateway.headers import REQUEST_ID, HeaderReader
from orchestration.gateway.negotiation import EVENT_STREAM, JSON, check_accepts_json, choose_stream_type
from orchestration.gateway.replies import ReplyHeaders
from orchestration.gateway.responses import ResponseEncoder
from orchestration.gateway.routes import Route
from orchestration.gateway.sockets import BEARER, ClientFrames, bearer_token, serve_socket, single
from orchestration.gateway.streams import (
    LAST_EVENT_ID,
    EventStream,
    JsonLines,
    RawChunks,
    StreamFormat,
    resume_query,
    serve_stream,
)
from orchestration.gateway.upstream import Reply
from orchestration.gateway.values import JsonValue


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

    def __init__(self, config: GatewayConfig, errors: ErrorWriter, cors: Cors) -> None:
        self._config = config
        self._errors = errors
        self._cors = cors
        self._headers = HeaderReader(config)
        self._reply_headers = ReplyHeaders(config)
        self.gets_packed = False
        """Whether compressed bodies come as they were sent."""
        self._finisher = Finisher(config, self._headers, self._reply_headers)

    async def unary(self, request: web.Request, target: Target, request_id: str) -> web.StreamResponse:
        """Answer a call without streams."""
        route = target.route
        if not route.encoder.is_raw:
            _check_accept(request)
        query, style = route.system.take(request.rel_url.raw_query_string)
        message = await self._bind(request, target, query)
        if request.method != "GET":
            message = _conditional(request, route, message)
        reply = Reply() if self._reply_headers.wanted else None
        call = self._headers.read(request, request_id, streaming=False, reply=reply)
        try:
            wire = await route.rpc.unary(message, call)
        except UpstreamError as error:
            if reply is not None:
                error.headers = self._reply_headers.headers(reply)
            raise
        body, content_type = route.encoder.styled(style).encode_body(wire)
        headers = self._answer(request, request_id, content_type)
        return await self._finisher.finish(request, route, body, headers, reply)

    async def stream(self, request: web.Request, target: Target, request_id: str) -> web.StreamResponse:
        """Answer a server's stream over plain HTTP."""
        route = target.route
        if route.client_streaming:
            _upgrade_required(route)
        query, style = route.system.take(request.rel_url.raw_query_string)
        form = _form(request, route.encoder.styled(replace(style, indented=False)))
        resumed = request.headers.get(LAST_EVENT_ID)
        if resumed and route.resumes_at is not None:
            query = resume_query(query, route.resumes_at, resumed)
        message = await self._bind(request, target, query)
        call = self._headers.read(request, request_id, streaming=True)
        headers = self._answer(request, request_id, form.content_type(None))
        if request.method == "HEAD":
            return web.Response(headers=headers)
        return await serve_stream(
            request,
            route.rpc.stream(single(message), call),
            form,
            headers,
            self._tell,
            start_s=self._config.stream_start_s,
            keepalive_s=self._config.keepalive_s,
        )

    async def socket(self, request: web.Request, target: Target, request_id: str) -> web.StreamResponse:
        """Answer a stream over a WebSocket."""
        if not self._cors.lets_socket(request):
            _origin_refused(request)
        route = target.route
        query, style = route.system.take(request.rel_url.raw_query_string)
        call = self._headers.read(request, request_id, streaming=True, token=bearer_token(request))
        if route.client_streaming or route.binder.takes_body:
            first = route.binder.bind_first(target.raw, target.segments, query)
            frames = ClientFrames([first, route.binder.bind_next], only=None if route.client_streaming else 1)
            requests = aiter(frames)
        else:
            frames = ClientFrames([route.binder.bind_next], only=0)
            requests = single(route.binder.bind(target.raw, target.segments, query, b"", ""))
        socket = web.WebSocketResponse(
            heartbeat=self._config.keepalive_s, max_msg_size=self._config.max_body_bytes, protocols=(BEARER,)
        )
        socket.headers.update(self._answer(request, request_id))
        messages = route.rpc.stream(requests, call)
        return await serve_socket(request, socket, messages, frames, route.encoder.styled(style).encode, self._tell)

    def failure(self, request: web.BaseRequest, error: RequestError | UpstreamError, request_id: str) -> web.Response:
        """Answer with an error."""
        status, body, headers = self._errors.write(error)
        answer = {**self._answer(request, request_id, JSON), **headers}
        response = web.Response(status=status, body=dump(body), headers=answer)
        if isinstance(error, UpstreamError):
            for name, value in error.headers:
                response.headers.add(name, value)
        if headers.get("Connection") == "close":
            response.force_close()
        return response

    async def _bind(self, request: web.Request, target: Target, query: str) -> bytes:
        binder = target.route.binder
        if not binder.takes_body:
            await refuse_body(request, self._config.body_timeout_s)
            return binder.bind(target.raw, target.segments, query, b"", "")
        limit, timeout_s = self._config.max_body_bytes, self._config.body_timeout_s
        body = await read_body(
            request, limit, any_type=binder.takes_raw_body, timeout_s=timeout_s, packed=self.gets_packed
        )
        return binder.bind(target.raw, target.segments, query, body, request.headers.get("Content-Type", ""))

    def _answer(self, request: web.BaseRequest, request_id: str, content_type: str = "") -> dict[str, str]:
        headers = {REQUEST_ID: request_id}
        if content_type:
            headers["Content-Type"] = content_type
        return {**headers, **self._cors.headers(request)} if self._cors.enabled else headers

    def _tell(self, error: RequestError | UpstreamError) -> dict[str, JsonValue]:
        return self._errors.write(error)[1]


def _check_accept(request: web.Request) -> None:
    accept = request.headers.get("Accept")
    if accept is not None and accept not in ("*/*", JSON):
        check_accepts_json(accept)


def _conditional(request: web.Request, route: Route, message: bytes) -> bytes:
    """The message of a request that may change something, with the etag that must still hold."""
    if_match = request.headers.get("If-Match")
    if if_match is None and "If-None-Match" not in request.headers:
        return message
    if request.method == "HEAD":
        return message
    refuse_preconditions(request.headers, bound=route.request_tag is not None)
    return message if route.request_tag is None or if_match is None else route.request_tag.bind(message, if_match)


def _form(request: web.Request, encoder: ResponseEncoder) -> StreamFormat:
    if encoder.is_raw:
        return RawChunks(encoder)
    accept = ",".join(request.headers.getall("Accept", ())) or "*/*"
    return EventStream(encoder) if choose_stream_type(accept) == EVENT_STREAM else JsonLines(encoder)


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
