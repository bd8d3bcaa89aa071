"""The test service in a process of its own, whose memory can be measured: alone, or behind a gateway.

``service`` serves gRPC; ``gateway in_process`` and ``gateway HOST:PORT`` serve REST. Each prints its port.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import uvloop
from aiohttp import web

from orchestration.gateway import ChannelUpstream, Gateway, InProcessUpstream, Upstream
from tests.support.transcoding_service import SERVICE, Handlers, compile_protos, pool

_LIBC = ctypes.CDLL("libc.so.6")


async def serve_grpc() -> None:
    server = grpc.aio.server()
    Handlers().register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def serve_rest(target: str) -> None:
    handlers = Handlers()
    upstream: Upstream = (
        InProcessUpstream([handlers.register], (), pool())
        if target == "in_process"
        else ChannelUpstream(target, descriptor_set=compile_protos())
    )
    gateway = Gateway(upstream, [SERVICE])
    await gateway.start()

    async def stats(_: web.Request) -> web.Response:
        gc.collect()
        _LIBC.malloc_trim(0)  # what was freed, and only kept for the next time, is no leak
        return web.json_response(
            {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects()), "made": handlers.ticks}
        )

    app = web.Application()
    app.router.add_get("/stats", stats)
    gateway.install(app)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def streaming_process(*arguments: str) -> AsyncGenerator[tuple[int, int], None]:
    """A process as described above; its process id, and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.streaming_process", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 90))
        yield process.pid, port
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def gateway_process(transport: str) -> AsyncGenerator[tuple[int, int], None]:
    """A gateway in a process of its own, the service there too or in another one; its process id, and its port."""
    if transport == "in_process":
        async with streaming_process("gateway", "in_process") as found:
            yield found
        return
    async with (
        streaming_process("service") as (_, port),
        streaming_process("gateway", f"127.0.0.1:{port}") as found,
    ):
        yield found


if __name__ == "__main__":
    uvloop.run(serve_grpc() if sys.argv[1] == "service" else serve_rest(sys.argv[2]))
