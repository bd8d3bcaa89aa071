"""The process of `orchestration gateway`: an HTTP server around the transcoder until it is told to stop."""

from __future__ import annotations

import asyncio
import signal

import structlog
from aiohttp import web

from orchestration.gateway import Gateway, GatewayConfig, RuleError, Upstream, UpstreamError
from orchestration.service.address import Address
from orchestration.service.cli.errors import CliError, ExitCode

log = structlog.stdlib.get_logger(__name__)

_SHUTDOWN_S = 10.0


async def serve(upstream: Upstream, config: GatewayConfig, address: Address, name: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises `CliError` when it cannot start; ``name`` is the upstream's, for people."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = web.Application(client_max_size=config.max_body_bytes)
    gateway = Gateway(upstream, None, config)
    try:
        await gateway.start()
    except UpstreamError as error:
        raise CliError(f"cannot learn the services of {name}: {error}", ExitCode.UNAVAILABLE) from error
    except RuleError as error:
        raise CliError(f"the services of {name} cannot be served: {error}") from error
    gateway.install(app)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await _listen(runner, address)
        log.info("serving", upstream=name, http=str(Address(address.host, runner.addresses[0][1])))
        await stop.wait()
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, address: Address) -> None:
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError as error:
        raise CliError(f"cannot listen on {address}: {error.strerror}") from error
