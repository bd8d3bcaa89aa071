"""A gateway in front of the test service, listening, and a client of it that sends what it is told byte for byte."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import grpc
from aiohttp import web
from grpc_reflection.v1alpha import reflection
from yarl import URL

from orchestration.gateway import (
    Call,
    ChannelUpstream,
    Gateway,
    GatewayConfig,
    GatewayRunner,
    InProcessUpstream,
    Upstream,
)
from tests.support.transcoding_service import SERVICE, Handlers, pool

Transport = Literal["in_process", "channel"]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """The messages of a stream of JSON lines."""
        return [json.loads(line) for line in self.body.splitlines() if line]

    @property
    def reason(self) -> str:
        """The reason in the error's ErrorInfo."""
        (info,) = [each for each in self.json["error"]["details"] if each["@type"].endswith("google.rpc.ErrorInfo")]
        return str(info["reason"])

    @property
    def violations(self) -> dict[str, str]:
        """Field -> description of the error's BadRequest."""
        requests = [each for each in self.json["error"]["details"] if each["@type"].endswith("google.rpc.BadRequest")]
        return {each["field"]: each["description"] for request in requests for each in request["field_violations"]}


@dataclass
class Running:
    """A gateway that listens."""

    base: str
    gateway: Gateway
    handlers: Handlers
    session: aiohttp.ClientSession

    def url(self, target: str) -> URL:
        return URL(self.base + target, encoded=True)

    async def send(
        self, method: str, target: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request. A body that is no bytes is sent as JSON."""
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url(target), data=body, headers=given, skip_auto_headers=("Content-Type",)
        ) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def get(self, target: str, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("GET", target, headers=named)

    def socket(
        self, target: str, *, origin: str | None = None, protocols: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket."""
        return self.session.ws_connect(self.url(target), origin=origin, protocols=protocols)


@asynccontextmanager
async def running(
    transport: Transport,
    *,
    config: GatewayConfig | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    handlers: Handlers | None = None,
    admit: Callable[[str, Call], object] | None = None,
) -> AsyncGenerator[Running, None]:
    """The test service behind a gateway, over either transport."""
    handlers = handlers or Handlers()
    async with AsyncExitStack() as stack:
        upstream: Upstream
        if transport == "in_process":
            upstream = InProcessUpstream([handlers.register], interceptors, pool())
        else:
            server = grpc.aio.server(interceptors=list(interceptors))
            handlers.register(server)
            reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server, pool())
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, 0)
            upstream = ChannelUpstream(f"127.0.0.1:{port}")
        gateway = Gateway(upstream, [SERVICE], config, admit)
        await gateway.start()
        base = await stack.enter_async_context(listening(gateway))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Running(base, gateway, handlers, session)


@asynccontextmanager
async def listening(gateway: Gateway, app: web.Application | None = None) -> AsyncGenerator[str, None]:
    """A started gateway on a port of its own, beside an application's routes; gives its base address."""
    app = app or web.Application()

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    app.router.add_get("/healthz", health)
    gateway.install(app)
    runner = GatewayRunner(app, gateway, shutdown_timeout_s=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
