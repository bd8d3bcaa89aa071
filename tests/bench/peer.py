"""The peers of figures, as a process of their own: a bare aiohttp handler, and an empty grpc.aio method.

Run: ``python -m tests.bench.peer``. It prints both ports, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from aiohttp import web

from orchestration.v1 import compute_pools_pb2 as pb

METHOD = "/bench.Peer/Heartbeat"


class _Bodies:
    """Answers GET and POST with what was PUT there."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    async def put(self, request: web.Request) -> web.Response:
        self._bodies[request.path] = await request.read()
        return web.Response()

    async def get(self, request: web.Request) -> web.Response:
        return web.Response(body=self._bodies[request.path], content_type="application/json")

    async def post(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=self._bodies[request.path], content_type="application/json")


async def _heartbeat(request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
    return pb.HeartbeatResponse(status="ok", node_id=request.provider_instance_id, interval_seconds=10)


def _handlers() -> grpc.GenericRpcHandler:
    method = grpc.unary_unary_rpc_method_handler(
        _heartbeat, pb.HeartbeatRequest.FromString, pb.HeartbeatResponse.SerializeToString
    )
    service, name = METHOD[1:].split("/")
    return grpc.method_handlers_generic_handler(service, {name: method})


async def _serve() -> None:
    app, bodies = web.Application(), _Bodies()
    app.router.add_put("/{path:.*}", bodies.put)
    app.router.add_get("/{path:.*}", bodies.get)
    app.router.add_post("/{path:.*}", bodies.post)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(runner.addresses[0][1], port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(_serve())
