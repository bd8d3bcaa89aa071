"""What a channel's descriptors come from, and what happens when they cannot be had."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest

from orchestration.gateway import ChannelUpstream, Gateway, UpstreamError
from tests.support.interceptor_cases import CASES
from tests.support.transcoding_client import listening
from tests.support.transcoding_service import SERVICE, Handlers, compile_protos
from tests.support.upstream_calls import observe, upstream_of


@asynccontextmanager
async def server_without_reflection() -> AsyncGenerator[str, None]:
    server = grpc.aio.server()
    Handlers().register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@pytest.mark.parametrize("serialized", [False, True])
async def test_descriptor_set_stands_for_reflection(*, serialized: bool) -> None:
    descriptors = compile_protos()
    async with server_without_reflection() as target:
        given = descriptors.SerializeToString() if serialized else descriptors
        gateway = Gateway(ChannelUpstream(target, descriptor_set=given))
        await gateway.start()
        assert {route[2].rpartition(".")[0] for route in gateway.routes} == {SERVICE}
        async with (
            listening(gateway) as base,
            aiohttp.ClientSession() as session,
            session.get(f"{base}/v1/things/x") as response,
        ):
            assert (await response.json())["name"] == "x"


async def test_server_without_reflection_is_named_as_that() -> None:
    async with server_without_reflection() as target:
        upstream = ChannelUpstream(target)
        with pytest.raises(UpstreamError, match="no reflection"):
            await upstream.start()
        await upstream.close()


async def test_server_that_is_not_there() -> None:
    upstream = ChannelUpstream("127.0.0.1:1")
    with pytest.raises(UpstreamError) as caught:
        await upstream.start()
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE.value[0]
    await upstream.close()


async def test_server_that_goes_away() -> None:
    async with server_without_reflection() as target:
        gateway = Gateway(ChannelUpstream(target, descriptor_set=compile_protos()))
        await gateway.start()
    async with (
        listening(gateway) as base,
        aiohttp.ClientSession() as session,
        session.get(f"{base}/v1/things/x") as response,
    ):
        assert response.status == 503
        assert (await response.json())["error"]["status"] == "UNAVAILABLE"


async def test_refusals_arrive_though_messages_are_on_their_way() -> None:
    """Without care grpc's client takes every tenth of these for an internal error of its own."""
    async with upstream_of("channel", {}, CASES["gives_none"](lambda _: None)) as upstream:
        for _ in range(200):
            seen = await observe(upstream, "Chat")
            assert seen["error"] == (12, "Method not found!", None)
