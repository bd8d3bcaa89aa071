"""The gateway's process: everything started in order, and stopped newest first under one deadline."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector

from orchestration.service.address import parse_address
from orchestration.service.clock import SteadyClock
from orchestration.service.control import Parts, build_controllers, build_registrars
from orchestration.service.controllers.health import probe_session
from orchestration.service.controllers.retention import Retention
from orchestration.service.disk import DiskWatch
from orchestration.service.errors import StartError
from orchestration.service.http import HttpServer
from orchestration.service.keys import Keys
from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.openapi import openapi_config
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.readiness import Readiness
from orchestration.service.rpc.interceptors import Limits, build_interceptors
from orchestration.service.rpc.interceptors.shutdown import ShutdownStage
from orchestration.service.rpc.server import GrpcServer
from orchestration.service.settings import Settings
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store.errors import StoreError
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

_SEGMENT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningApp:
    """Where the gateway really listens, as ``host:port``."""

    grpc_address: str
    http_address: str


async def run(settings: Settings, *, ready: Callable[[RunningApp], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises `StartError` when the gateway cannot start."""
    log.info("configuration", **settings.public_dump())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as running:
        # What there is by now, modules and records, stays: a full collection that looked at it all would hold up every
        # stream for a quarter of a second.
        gc.freeze()
        if ready is not None:
            ready(running)
        await stop.wait()
        log.info("stopping", grace_s=settings.shutdown_grace_s)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncGenerator[RunningApp]:
    """The gateway, listening and converging, for the time of the block. Raises `StartError`."""
    async with AsyncExitStack() as stack:
        parts = await _open(stack, settings)
        managed = ManagedNodes(parts.store, parts.providers, parts.clock)
        running = await _listen(stack, parts, managed)
        controllers = build_controllers(parts, managed)
        stack.push_async_callback(controllers.close)
        parts.store.on_recovery(controllers.manager.wake_all)
        controllers.start()
        retention = Retention(
            parts.store,
            controllers.shards,
            events_s=settings.events_retention_s,
            events_per_subject=settings.events_max_per_subject,
        )
        _background(stack, retention.run(), "retention")
        yield running


async def _open(stack: AsyncExitStack, settings: Settings) -> Parts:
    """What holds state: the store, the logs and the providers."""
    _make_data_dir(settings)
    clock = SteadyClock()
    try:
        store = await Store.open(settings.database_url, clock=clock)
    except StoreError as error:
        raise StartError(str(error)) from error
    stack.push_async_callback(store.close)
    local = {
        "host": settings.local_host,
        "price_per_hour": str(settings.local_price_per_hour),
        "region": settings.local_region,
    }
    given = {**settings.providers, "local": {**local, **settings.providers.get("local", {})}}
    providers = ProviderRegistry.discover(
        settings.data_dir,
        store.installation_id,
        given,
        clock=clock,
        offers_interval_s=settings.offers_interval_s,
        offers_max_age_s=settings.offers_max_age_s,
    )
    stack.push_async_callback(providers.close)
    await providers.start()
    logs = LogStore(
        settings.data_dir / "logs",
        segment_bytes=min(_SEGMENT_BYTES, settings.replica_log_max_bytes),
        max_bytes_per_deployment=settings.replica_log_max_bytes,
        max_age_s=settings.replica_log_retention_s,
        clock=clock,
    )
    stack.push_async_callback(logs.close)
    collector = LogCollector(logs)
    stack.push_async_callback(collector.close)
    session = await stack.enter_async_context(probe_session())
    return Parts(settings, store, providers, logs, collector, session, _metrics(clock), clock)


def _metrics(clock: SteadyClock) -> CollectorRegistry:
    metrics = CollectorRegistry()
    ProcessCollector(registry=metrics)
    PlatformCollector(registry=metrics)
    text = "By how much the wall clock is ahead of the time that the gateway goes by; not 0 for a while after a jump."
    Gauge("orchestration_clock_offset_seconds", text, registry=metrics).set_function(lambda: clock.offset_s)
    return metrics


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartError(f"data_dir {settings.data_dir} cannot be made: {error.strerror}") from error


async def _listen(stack: AsyncExitStack, parts: Parts, managed: ManagedNodes) -> RunningApp:
    """Both servers on the same handlers and interceptors."""
    settings = parts.settings
    await managed.refresh()
    limits = Limits(
        max_unary=settings.max_concurrent_rpcs,
        default_deadline_s=settings.default_deadline_s,
        max_deadline_s=settings.max_deadline_s,
        keys=Keys(settings.api_keys),
    )
    _warn_of_open_ports(settings)
    shutdown = ShutdownStage()
    interceptors = build_interceptors(limits, parts.metrics, shutdown)
    http = HttpServer(settings, openapi_config(parts.providers.names, keys=bool(settings.api_keys)))
    registrars = build_registrars(parts, managed, lambda: f"http://{http.address}")
    grpc_server = GrpcServer(registrars, interceptors, max_message_bytes=settings.max_message_bytes)
    address = parse_address(settings.grpc_listen)
    port = await grpc_server.start(address.host, address.port)
    stack.push_async_callback(grpc_server.stop, settings.shutdown_grace_s)
    disk = DiskWatch([folder for folder in (settings.data_dir, parts.store.folder) if folder is not None])
    readiness = Readiness(parts.store, disk, grpc_server, parts.metrics)
    grpc_address = str(type(address)(address.host, port))
    await http.start(registrars, interceptors, readiness, parts.metrics, grpc_address)
    stack.push_async_callback(http.stop)
    stack.push_async_callback(shutdown.close, settings.shutdown_grace_s)
    await readiness.check()
    _background(stack, disk.run(), "disk watch")
    _background(stack, readiness.run(), "readiness")
    return RunningApp(grpc_address, http.address)


def _warn_of_open_ports(settings: Settings) -> None:
    listens = (settings.grpc_listen, settings.http_listen)
    reached = [address for address in listens if not parse_address(address).is_loopback]
    if reached and not settings.api_keys:
        log.warning("whoever reaches these ports may do everything: set api_keys", ports=reached)


def _background(stack: AsyncExitStack, work: Coroutine[None, None, None], name: str) -> None:
    """Run something until the stack is left."""
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)
