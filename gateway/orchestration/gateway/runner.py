"""The aiohttp server around a gateway, and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from yarl import URL

from orchestration.gateway.gateway import SERVER_ITSELF, Gateway
from orchestration.gateway.protocol import Protocol

_Handler = Callable[[Any], Awaitable[web.StreamResponse]]

MAX_LINE_BYTES: Final = 64 * 1024
"""Longest request line and header: ids and page tokens in a query outgrow aiohttp's 8,190 bytes."""
_IDLE_S: Final = 75.0


class GatewayRunner(web.AppRunner):
    """Runs an application with a gateway installed.

    Args:
        app: The application.
        gateway: What words the errors, and decompresses bodies. It must have been started.
        max_line_bytes: Longest request line (414) and header (431).
        idle_s: How long a connection may be without a whole request, in seconds, before it is closed.
        shutdown_timeout_s: How long a stop waits for requests under way, in seconds.
    """

    __slots__ = ("_gateway", "_limits")

    def __init__(
        self,
        app: web.Application,
        gateway: Gateway,
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
        idle_s: float = _IDLE_S,
        shutdown_timeout_s: float = 60.0,
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout_s)
        self._gateway = gateway
        self._limits: dict[str, Any] = {
            "max_line_size": max_line_bytes,
            "max_field_size": max_line_bytes,
            "keepalive_timeout": idle_s,
            "access_log": None,
            "auto_decompress": False,
        }
        gateway.expect_packed_bodies()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = _unrouted(self._gateway, self.app, made.request_handler)
        make_request = partial(_make_request, made.request_factory)
        return _Server(self._gateway, handle, make_request, self._limits)


async def serve(gateway: Gateway, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Start a gateway and serve it alone, until cancelled.

    Raises:
        RuleError: For an http rule that cannot be served, naming its method.
        UpstreamError: When the upstream's descriptors cannot be had.
        OSError: When the address cannot be had.
    """
    await gateway.start()
    app = web.Application()
    gateway.install(app)
    runner = GatewayRunner(app, gateway)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _unrouted(gateway: Gateway, app: web.Application, routed: _Handler) -> _Handler:
    """What answers a request: the gateway itself, which routes it anyway; the application where that has more to do.

    aiohttp's routing, of all paths to one handler, costs a tenth of a small request.
    """
    own = gateway.own_paths(app)
    if own is None:
        return routed
    gateway.answer_directly()

    def handle(request: Any) -> Awaitable[web.StreamResponse]:
        path = request.rel_url.raw_path
        ours = path not in own and "%" not in path and "Expect" not in request.headers
        return gateway.handle(request, request.protocol.repeats) if ours else routed(request)

    return handle


def _make_request(
    make: Callable[..., web.BaseRequest], message: RawRequestMessage, payload: Any, protocol: Protocol, *rest: Any
) -> web.BaseRequest:
    """A request. One whose target has no path gets what HTTP reads it as (RFC 9112, 3.2), as aiohttp routes none."""
    protocol.repeats.parsed(message)
    if message.url.absolute and not message.url.relative().raw_path:
        of_server = message.method in ("OPTIONS", "CONNECT")
        url = URL.build(path=SERVER_ITSELF) if of_server else message.url.with_path("/", keep_query=True)
        message = message._replace(url=url)
    return make(message, payload, protocol, *rest)


class _Server(web.Server):
    """Makes a protocol for each connection."""

    def __init__(self, gateway: Gateway, handle: _Handler, make_request: Any, limits: dict[str, Any]) -> None:
        # Without handler_cancellation an RPC would go on when its client has gone.
        super().__init__(handle, request_factory=make_request, handler_cancellation=True)
        self._gateway = gateway
        self._limits = limits

    def __call__(self) -> web.RequestHandler:
        return Protocol(self, self._gateway, loop=self._loop, **self._limits)
