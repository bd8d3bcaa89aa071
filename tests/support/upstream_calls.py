"""RPCs by either upstream, and all that the gateway gets of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from orchestration.gateway import Call, ChannelUpstream, InProcessUpstream, Rpc, Upstream, UpstreamError
from orchestration.gateway.upstream import Reply
from tests.support.handler_cases import Handler
from tests.support.transcoding_client import Transport
from tests.support.transcoding_service import SERVICE, Handlers, message, pool

HANGS_S = 30.0
"""After so many seconds without an end a call hangs for ever."""


@asynccontextmanager
async def upstream_of(
    transport: Transport, handlers: Mapping[str, Handler], interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> AsyncGenerator[Upstream, None]:
    """The test service, with these handlers of its methods."""
    service = Handlers()
    for name, handler in handlers.items():
        setattr(service, "on_" + name.lower(), handler)
    if transport == "in_process":
        yield InProcessUpstream([service.register], interceptors, pool())
        return
    server = grpc.aio.server(interceptors=list(interceptors))
    service.register(server)
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server, pool())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    upstream = ChannelUpstream(f"127.0.0.1:{port}")
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.close()
        await server.stop(0)


async def observe(
    upstream: Upstream,
    name: str,
    *,
    metadata: Sequence[tuple[str, str]] = (("who", "me"),),
    timeout: float | None = None,
    leaves: int | asyncio.Event | None = None,
) -> dict[str, object]:
    """Call a method, and tell all that came back.

    Args:
        upstream: Where it is served.
        name: The method's.
        metadata: The caller's.
        timeout: Seconds to the deadline.
        leaves: When the caller goes before the end: after so many messages, or when that is set.
    """
    method = pool().FindServiceByName(SERVICE).methods_by_name[name]
    reply = Reply()
    call = Call(tuple(metadata), timeout, "ipv4:127.0.0.1:1", reply)
    rpc = await upstream.bind(method)
    messages: list[object] = []
    seen: dict[str, object] = {"messages": messages}
    calling = asyncio.create_task(_call(rpc, method, call, messages, leaves if isinstance(leaves, int) else None))
    try:
        async with asyncio.timeout(HANGS_S):
            if isinstance(leaves, asyncio.Event):
                await leaves.wait()
                calling.cancel()
            await calling
    except UpstreamError as error:
        seen["error"] = (error.code, error.message, error.status)
    except asyncio.CancelledError:
        assert isinstance(leaves, asyncio.Event)
        return seen
    if leaves is None:
        seen |= {"initial": _sorted(reply.initial), "trailing": _sorted(reply.trailing)}
    return seen


async def _call(rpc: Rpc, method: Any, call: Call, messages: list[object], leaves: int | None) -> None:
    answer = message(method.output_type.full_name)
    requests = _requests(method)
    if not (method.client_streaming or method.server_streaming):
        messages.append(answer.FromString(await rpc.unary(await anext(requests), call)))
        return
    async with aclosing(rpc.stream(requests, call)) as responses:
        async for response in responses:
            messages.append(answer.FromString(response))
            if len(messages) == leaves:
                return


async def _requests(method: Any) -> AsyncIterator[bytes]:
    if not method.client_streaming:
        yield message(method.input_type.full_name)().SerializeToString()
        return
    for text in ("a", "b"):
        yield message("Note")(text=text).SerializeToString()


def _sorted(metadata: Any) -> list[tuple[str, str | bytes]]:
    """The metadata: HTTP/2 keeps the order within a key only."""
    return sorted(((key, value) for key, value in metadata), key=lambda pair: pair[0])
