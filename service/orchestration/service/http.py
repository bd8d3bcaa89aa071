"""The HTTP side: the transcoder over all annotated RPCs, and the few paths that are no RPC."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from orchestration.gateway import (
    ChannelUpstream,
    Gateway,
    GatewayConfig,
    GatewayRunner,
    InProcessUpstream,
    OpenApiConfig,
    Upstream,
)
from orchestration.service.address import Address, parse_address
from orchestration.service.errors import StartError
from orchestration.service.keys import Keys
from orchestration.service.readiness import Readiness
from orchestration.service.rpc.errors import DOMAIN
from orchestration.service.rpc.interceptors.access import admission
from orchestration.service.rpc.server import SERVICES, Registrar
from orchestration.service.settings import Settings

log = structlog.get_logger(__name__)


class HttpServer:
    """REST on one address."""

    def __init__(self, settings: Settings, openapi: OpenApiConfig) -> None:
        self._settings = settings
        self._openapi = openapi
        self._runner: web.AppRunner | None = None
        self.address = settings.http_listen
        """Where it listens, as ``host:port``; the real port once it was started."""

    async def start(
        self,
        registrars: Sequence[Registrar],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        readiness: Readiness,
        metrics: CollectorRegistry,
        grpc_address: str,
    ) -> None:
        """Compile the routes and listen. Raises `StartError` when the address cannot be had."""
        app = web.Application(client_max_size=self._settings.max_message_bytes)
        _add_plain_routes(app, readiness, metrics)
        upstream = self._upstream(registrars, interceptors, grpc_address)
        gateway = Gateway(upstream, SERVICES, self._config(), admission(Keys(self._settings.api_keys)))
        await gateway.start()
        gateway.install(app)
        self._runner = GatewayRunner(app, gateway, shutdown_timeout_s=self._settings.shutdown_grace_s)
        await self._runner.setup()
        await self._bind(parse_address(self._settings.http_listen))

    def _config(self) -> GatewayConfig:
        return GatewayConfig(
            max_body_bytes=self._settings.max_message_bytes,
            max_timeout_s=self._settings.max_deadline_s,
            error_domain=DOMAIN,
            cors_origins=self._settings.cors_origins,
            trusted_proxies=self._settings.trusted_proxies,
            openapi=self._openapi,
            response_metadata=(),  # there is none but the request id, which has a header of its own
        )

    def _upstream(
        self,
        registrars: Sequence[Registrar],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        grpc_address: str,
    ) -> Upstream:
        if self._settings.gateway_upstream == "channel":
            return ChannelUpstream(grpc_address)
        return InProcessUpstream(registrars, interceptors, build_once=True)

    async def _bind(self, wanted: Address) -> None:
        assert self._runner is not None
        site = web.TCPSite(self._runner, wanted.host, wanted.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartError(f"HTTP cannot listen on {wanted}: {error.strerror}") from error
        port = self._runner.addresses[0][1]
        self.address = str(Address(wanted.host, port))

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()


def _add_plain_routes(app: web.Application, readiness: Readiness, metrics: CollectorRegistry) -> None:
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = readiness.reason
        if reason:
            return web.json_response({"status": "not ready", "reason": reason}, status=503)
        return web.json_response({"status": "ready"})

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", show_metrics)
