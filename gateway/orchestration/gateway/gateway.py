"""The gateway: annotated RPCs of an upstream, served as REST by aiohttp."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from orchestration.gateway.answers import WholeAnswer, as_sent
from orchestration.gateway.body import too_large
from orchestration.gateway.codec import Codec
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.cors import Cors
from orchestration.gateway.errorbody import ErrorWriter
from orchestration.gateway.errors import RequestError, UpstreamError
from orchestration.gateway.handshake import is_upgrade
from orchestration.gateway.headers import REQUEST_ID, HeaderReader, new_request_id, request_id_of
from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.document import build_document
from orchestration.gateway.openapi.serving import DocumentServer
from orchestration.gateway.openapi.serving import Handler as PlainHandler
from orchestration.gateway.pathvars import split_path
from orchestration.gateway.refusals import no_route, no_tunnel, wrong_method
from orchestration.gateway.repeats import Repeated, Repeats
from orchestration.gateway.routes import Route, RouteTable, compile_routes
from orchestration.gateway.routing import ANY_METHOD, RouteTree
from orchestration.gateway.serving import Admit, Server, Target
from orchestration.gateway.upstream import Upstream

log = logging.getLogger(__name__)

_STREAM_GRACE_S = 1.0
"""How long streams may take to end by themselves when the application shuts down, and again when they are cancelled."""
_COMMON_METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
_MOST_KEPT: Final = 1024
_LONGEST_KEPT: Final = 256
SERVER_ITSELF: Final = "*"
"""The target of requests about the server as a whole."""


class _Everything(web.PlainResource):
    """Every path, and ``*`` too, as they were sent; those of routes that were added before it aside."""

    def __init__(self, handle: Handler, expect: Callable[[web.Request], Awaitable[web.Response | None]]) -> None:
        super().__init__("/")
        self._all: Final = self.add_route("*", handle, expect_handler=expect)

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo, set[str]]:
        return web.UrlMappingMatchInfo({}, self._all), set()


class Gateway:
    """Transcodes REST to the RPCs of an upstream.

    Args:
        upstream: Where the RPCs are.
        services: Full names of the services to serve; None: all of the upstream. Methods without an http rule are
            left out.
        config: Limits and choices.
        admit: Asked with the name of the RPC and what the caller sent with it, before the request's body is looked at;
            raises `UpstreamError` for a caller that is not let in. What it gives is ``admitted`` in the context of
            a handler in this process.
    """

    def __init__(
        self,
        upstream: Upstream,
        services: Sequence[str] | None = None,
        config: GatewayConfig | None = None,
        admit: Admit | None = None,
    ) -> None:
        self._upstream = upstream
        self._admit = admit
        self._services = services
        self._config = config or GatewayConfig()
        self._cors = Cors(self._config)
        self._table: RouteTable | None = None
        self._server: Server | None = None
        self._streams: dict[asyncio.Future[None], asyncio.Task[Any]] = {}
        """By its end, the task of each stream under way; it may be one that serves others of the connection later."""
        self._everything: _Everything | None = None
        self._targets: dict[tuple[str, str], Target] = {}
        """By method and path as sent, where requests that came lately have led."""

    async def start(self) -> None:
        """Connect, and compile the routes.

        Raises:
            RuleError: For an http rule that cannot be served, naming its method.
            UpstreamError: When the upstream's descriptors cannot be had.
        """
        await self._upstream.start()
        codec = Codec(self._upstream.descriptors(), ignore_unknown=self._config.unknown_json == "ignore")
        self._table = await compile_routes(self._upstream, self._services, codec, self._config)
        self._server = Server(self._config, ErrorWriter(codec, self._config), self._cors, self._admit)

    async def close(self) -> None:
        """Let go of the upstream."""
        await self._upstream.close()

    @property
    def config(self) -> GatewayConfig:
        """Its limits and choices."""
        return self._config

    @property
    def routes(self) -> list[tuple[str, str, str, str, str]]:
        """HTTP method, template, full name of the RPC, body and response_body of each route, in the protos' order."""
        return [
            (route.rule.http_method, route.rule.path, route.method.full_name, route.rule.body, route.rule.response_body)
            for route in self._started().routes
        ]

    def document(self) -> JsonObject:
        """The OpenAPI 3.1 document of the routes."""
        return build_document(self._started().routes, self._upstream.descriptors(), self._config)

    def serves(self, method: str, path: str) -> bool:
        """Whether a route answers this."""
        _, segments, verb = split_target(path)
        return self._started().requests.find(method, segments, verb) is not None

    def install(self, app: web.Application) -> None:
        """Serve every path of an application that it has no route of its own for.

        Call it after `start`, and after the application's own routes were added. `GatewayRunner` is made to run it;
        another runner must have ``handler_cancellation=True``: otherwise an RPC goes on when its client has gone.
        Streams are ended when the application shuts down, and the upstream is closed when it is cleaned up.
        """
        table = self._started()
        if self._config.openapi.enabled:
            server = DocumentServer(self.document, self._config, HeaderReader(self._config).prefix_of)
            for path, handler in server.routes().items():
                if not table.requests.has_exact(path):
                    app.router.add_route("*", path, self._plain(handler))
                else:
                    log.warning("%s is a path of the service: the API's own document is not served there", path)
        self._everything = _Everything(self.handle, self._expect)
        app.router.register_resource(self._everything)
        app.on_shutdown.append(self.end_streams)
        app.on_cleanup.append(self._clean_up)

    def own_paths(self, app: web.Application) -> frozenset[str] | None:
        """The paths of an application that are not the gateway's: requests for any other can be given to `handle`.

        None where aiohttp must route every request: the application has more than plain paths, or something of its
        own to do around handlers.
        """
        if app.middlewares or app.on_response_prepare:
            return None
        others = [resource for resource in app.router.resources() if resource is not self._everything]
        if not all(type(resource) is web.PlainResource for resource in others):
            return None
        return frozenset(resource.canonical for resource in others)

    def _started(self) -> RouteTable:
        if self._table is None:
            raise RuntimeError("the gateway was not started: await start() first")
        return self._table

    async def end_streams(self, _: web.Application | None = None) -> None:
        """Cut off the streams under way, WebSockets with the code 1001, so that a shutdown need not wait for them."""
        # An upstream in this process ends its streams itself when it stops: let their last line out first.
        left = set(self._streams)
        if left:
            left = (await asyncio.wait(left, timeout=_STREAM_GRACE_S))[1]
        for ended in left:
            self._streams[ended].cancel()
        if left:
            await asyncio.wait(left, timeout=_STREAM_GRACE_S)

    async def _clean_up(self, _: web.Application) -> None:
        await self.close()

    async def handle(self, request: web.Request, repeats: Repeats | None = None) -> web.StreamResponse:
        """Answer a request, whatever its path; it need not have been routed by aiohttp.

        Args:
            request: The request.
            repeats: Told how requests with the same head can be answered; by whoever does nothing else with requests.
        """
        server, table = self._server, self._table
        assert server is not None
        assert table is not None
        request_id = ""
        try:
            head = server.headers.recall(request)
            request_id = request_id_of(request) if head is None else head.request_id or new_request_id()
            upgrade = head is None and is_upgrade(request)
            target = _find(table.sockets, request, upgrade=True) if upgrade else self._target(table, request)
            if target is None and upgrade:  # an upgrade is a wish, which a method without streams need not heed
                upgrade, target = False, self._target(table, request)
            if target is None or (self._cors.enabled and self._cors.is_preflight(request)):
                return self._unmatched(table, request, request_id)
            if not target.route.streaming:
                answer = await server.unary(request, target, request_id, head)
                if repeats is not None and repeats.learns and isinstance(answer, WholeAnswer):
                    self._offer(repeats, request, target)
                return answer
            return await self._stream(server, request, target, request_id, upgrade=upgrade)
        except (RequestError, UpstreamError) as error:
            return server.failure(request, error, request_id or new_request_id())
        except web.HTTPException:
            raise
        except Exception as error:
            if isinstance(error, ConnectionError) and _has_gone(request):
                raise
            return self._unexpected(request, error, request_id)

    def _offer(self, repeats: Repeats, request: web.Request, target: Target) -> None:
        """Offer a request that had an answer of the usual kind."""
        assert self._server is not None
        head = self._server.headers.recall(request)
        if head is not None and head.has_json and request.keep_alive:
            repeats.offer(Repeated(request, target, head))

    async def repeat(self, repeated: Repeated, body: bytes) -> tuple[bytes, bool]:
        """The answer, as it is sent, to one that came with the head of a request that was answered before.

        And whether the connection ends with it. Raises ValueError for an answer that cannot be sent.
        """
        request, target, head = repeated
        server = self._server
        assert server is not None
        request_id = head.request_id or new_request_id()
        answer: web.StreamResponse
        try:
            answer = await server.unary(request, target, request_id, head, body)
        except (RequestError, UpstreamError) as error:
            answer = server.failure(request, error, request_id)
        except Exception as error:
            answer = self._broken(request, error, request_id)
        return as_sent(answer), answer.keep_alive is False

    def _target(self, table: RouteTable, request: web.Request) -> Target | None:
        """Where a request leads that asks for no upgrade."""
        asked = request.method, request.rel_url.raw_path
        target = self._targets.get(asked)
        if target is None:
            target = _find(table.requests, request, upgrade=False)
            if target is not None and len(asked[1]) <= _LONGEST_KEPT:  # callers choose the paths
                if len(self._targets) >= _MOST_KEPT:
                    self._targets.clear()
                self._targets[asked] = target
        return target

    def expect_packed_bodies(self) -> None:
        """Compressed bodies will come as they were sent, rather than undone by aiohttp. Call it after `start`."""
        assert self._server is not None
        self._server.gets_packed = True

    def answer_directly(self) -> None:
        """Nothing but the gateway will have to do with its answers. Call it after `start`."""
        assert self._server is not None
        self._server.finisher.direct = True

    def failure(self, request: web.BaseRequest, error: RequestError | UpstreamError) -> web.Response:
        """The answer to a request that ends with an error before it has come to a route."""
        assert self._server is not None
        return self._server.failure(request, error, new_request_id())

    def _unexpected(self, request: web.Request, error: Exception, request_id: str) -> web.Response:
        """The answer when the gateway itself fails: it tells nothing but where to look."""
        if request.writer.output_size > 0:
            log.error("request %s failed unexpectedly", request_id, exc_info=error)
            raise ConnectionResetError("the answer was cut off: its handler failed in the middle of it") from error
        return self._broken(request, error, request_id or new_request_id())

    def _broken(self, request: web.Request, error: Exception, request_id: str) -> web.Response:
        log.error("request %s failed unexpectedly", request_id, exc_info=error)
        assert self._server is not None
        text = "The gateway failed unexpectedly."
        return self._server.failure(request, UpstreamError(grpc.StatusCode.INTERNAL.value[0], text), request_id)

    async def _expect(self, request: web.Request) -> web.Response | None:
        """Tell a client that waits for it to send its body, or why it need not."""
        assert self._server is not None
        expected = request.headers["Expect"]
        limit = self._config.max_body_bytes
        if expected.lower() != "100-continue":
            text = f"Expect: {expected} cannot be met: there is only 100-continue"
            error = RequestError(417, grpc.StatusCode.INVALID_ARGUMENT, "EXPECTATION_FAILED", text)
        elif (request.content_length or 0) > limit and "Content-Encoding" not in request.headers:
            error = too_large(limit)
        else:
            if request.version >= HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # the answer proper has not begun
            return None
        response = self._server.failure(request, error, new_request_id())
        response.force_close()  # a body may follow all the same
        return response

    async def _stream(
        self, server: Server, request: web.Request, target: Target, request_id: str, *, upgrade: bool
    ) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams[ended] = task
        try:
            if upgrade:
                return await server.streams.socket(request, target, request_id)
            return await server.streams.http(request, target, request_id)
        finally:
            del self._streams[ended]
            ended.set_result(None)

    def _plain(self, handler: PlainHandler) -> PlainHandler:
        """What answers at a path that is no RPC: GET and HEAD by the handler, the other methods as everywhere."""

        async def handle(request: web.Request) -> web.Response:
            if request.method in ("GET", "HEAD"):
                return self._cors.add_to(request, await handler(request))
            assert self._server is not None
            request_id = new_request_id()
            allowed = {"GET", "HEAD", "OPTIONS"}
            if request.method == "OPTIONS":
                return web.Response(
                    status=204, headers={REQUEST_ID: request_id, **self._cors.preflight(request, allowed)}
                )
            return self._server.failure(request, wrong_method(request, allowed), request_id)

        return handle

    def _unmatched(self, table: RouteTable, request: web.Request, request_id: str) -> web.Response:
        """Answer OPTIONS; raise for a path or a method that has no route."""
        if request.rel_url.raw_path == SERVER_ITSELF:
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={REQUEST_ID: request_id})
            raise no_tunnel(request)
        _, segments, verb = split_target(request.rel_url.raw_path)
        methods = table.requests.methods(segments, verb)
        if not methods:
            raise no_route(request)
        if ANY_METHOD in methods:
            methods = {*methods, *_COMMON_METHODS} - {ANY_METHOD}
        allowed = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set[str]())
        if request.method != "OPTIONS":
            raise wrong_method(request, allowed)
        headers = {REQUEST_ID: request_id, **self._cors.preflight(request, allowed)}
        return web.Response(status=204, headers=headers)


def _has_gone(request: web.Request) -> bool:
    """Whether nobody is left to take an answer."""
    transport = request.transport
    return transport is None or transport.is_closing()


def _find(tree: RouteTree[Route], request: web.Request, *, upgrade: bool) -> Target | None:
    path = request.rel_url.raw_path
    method = request.method
    if not upgrade:
        exact = tree.find_exact(method, path)
        if exact is not None:
            return Target(exact, (), ())
    raw, segments, verb = split_target(path)
    found = tree.find(method, segments, verb)
    if found is None:
        return None
    route, took_verb = found
    if took_verb:
        assert verb is not None
        without = raw[-1][: -len(verb) - 1]
        raw = [*raw[:-1], without]
        segments = raw if "%" not in path else split_path("/" + "/".join(raw))[1]
    return Target(route, raw, segments)


def split_target(path: str) -> tuple[list[str], list[str], str | None]:
    """Segments as sent and as decoded, and the verb that the last one may end with."""
    raw, segments = split_path(path)
    if not raw or ":" not in raw[-1]:
        return raw, segments, None
    return raw, segments, raw[-1].rpartition(":")[2]
