"""The process of `orchestration gateway`: an HTTP server around the transcoder until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from aiohttp import web

from orchestration.gateway import ChannelUpstream, Gateway, GatewayConfig, GatewayRunner, RuleError, UpstreamError
from orchestration.service.address import Address
from orchestration.service.cli.errors import CliError, ExitCode

log = structlog.stdlib.get_logger(__name__)

_SHUTDOWN_S = 10.0
_ABSENT: Final = {grpc.StatusCode.UNAVAILABLE.value[0], grpc.StatusCode.DEADLINE_EXCEEDED.value[0]}
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_READY_WITHIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Listening:
    """How the server behaves towards its two sides."""

    address: Address
    """Where REST is served."""
    upstream: str
    """The gRPC server, for people."""
    services: Sequence[str] | None
    """Full names of the services to serve; None: all."""
    wait_s: float
    """How long to wait at the start for an upstream that is not there yet, in seconds."""
    health_routes: bool
    max_line_bytes: int
    idle_s: float


async def serve(upstream: ChannelUpstream, config: GatewayConfig, listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT. Raises `CliError` when it cannot start."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway(upstream, listening.services, config)
    if not await _start(gateway, listening, stop):
        return
    app = web.Application(client_max_size=config.max_body_bytes)
    if listening.health_routes:
        _add_health_routes(app, gateway, upstream)
    gateway.install(app)
    runner = GatewayRunner(
        app,
        gateway,
        max_line_bytes=listening.max_line_bytes,
        idle_s=listening.idle_s,
        shutdown_timeout_s=_SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await _listen(runner, listening.address)
        address = str(Address(listening.address.host, runner.addresses[0][1]))
        log.info("serving", upstream=listening.upstream, http=address, routes=len(gateway.routes))
        await stop.wait()
    finally:
        await runner.cleanup()


async def _start(gateway: Gateway, listening: Listening, stop: asyncio.Event) -> bool:
    """Learn the services, waiting for an upstream that is not there yet. Gives False when told to stop meanwhile."""
    name, pause = listening.upstream, _FIRST_PAUSE_S
    deadline = time.monotonic() + listening.wait_s
    while not stop.is_set():
        try:
            await gateway.start()
            return True
        except RuleError as error:
            await gateway.close()
            raise CliError(f"the services of {name} cannot be served: {error}") from error
        except UpstreamError as error:
            await gateway.close()
            left = deadline - time.monotonic()
            if error.code not in _ABSENT or left <= 0:
                code = ExitCode.UNAVAILABLE if error.code in _ABSENT else ExitCode.ERROR
                raise CliError(f"cannot learn the services of {name}: {error}", code) from error
            log.warning("waiting for the upstream", upstream=name, reason=str(error), gives_up_in_s=round(left, 1))
        try:
            async with asyncio.timeout(min(pause, left)):
                await stop.wait()
        except TimeoutError:
            pause = min(pause * 2, _LONGEST_PAUSE_S)
    return False


def _add_health_routes(app: web.Application, gateway: Gateway, upstream: ChannelUpstream) -> None:
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        if await upstream.reachable(_READY_WITHIN_S):
            return web.json_response({"status": "ready"})
        body = {"status": "not ready", "reason": "the upstream cannot be reached"}
        return web.json_response(body, status=503)

    for path, handler in (("/healthz", healthz), ("/readyz", readyz)):
        if gateway.serves("GET", path):
            log.info("a method of the upstream has this path, so that it tells nothing of the gateway", path=path)
        else:
            app.router.add_get(path, handler)


async def _listen(runner: web.AppRunner, address: Address) -> None:
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError as error:
        raise CliError(f"cannot listen on {address}: {error.strerror}") from error
