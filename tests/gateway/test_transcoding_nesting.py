"""Messages nested deeper than the service reads, though the gateway itself could: the caller's fault, everywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from concurrent import futures
from typing import Any

import aiohttp
import grpc
import pytest

from orchestration.gateway import Call, ChannelUpstream, Gateway, InProcessUpstream, UpstreamError
from tests.support.transcoding_client import Answer, Running, Transport, listening, running
from tests.support.transcoding_service import SERVICE, Handlers, compile_protos, message, pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = "The request cannot be read by the service: is it nested too deeply?"
LINES = {"Content-Type": "application/x-ndjson"}


def nested(levels: int) -> Any:
    """Objects within each other. In a Struct each takes three messages, of which protobuf reads a hundred."""
    return {"a": nested(levels - 1)} if levels else 1


def assert_refused(answer: Answer) -> None:
    assert answer.status == 400, answer.body
    error = answer.json["error"]
    assert (error["status"], error["message"]) == ("INVALID_ARGUMENT", SAID)


@pytest.mark.parametrize(("levels", "status"), [(33, 200), (50, 400)])
async def test_a_body(served: Running, levels: int, status: int) -> None:
    answer = await served.send("POST", "/v1/things", body={"st": nested(levels)})
    assert answer.status == status
    if status == 400:
        assert_refused(answer)


async def test_the_request_of_a_servers_stream(served: Running) -> None:
    assert_refused(await served.send("POST", "/v1/ticks", body={"count": 1, "more": nested(50)}))


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_a_message_of_a_clients_stream(served: Running, before: int) -> None:
    lines = [*({"text": "x"} for _ in range(before)), {"text": "y", "more": nested(50)}]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    assert_refused(await served.send("POST", "/v1/rooms/a/collect", body=body, headers=LINES))


async def test_a_frame(served: Running) -> None:
    async with served.socket("/v1/rooms/a/chat") as socket:
        await socket.send_str('{"text":"x"}')
        assert (await socket.receive_json(timeout=30))["result"]["text"] == "X"
        await socket.send_str(json.dumps({"text": "y", "more": nested(50)}))
        error = (await socket.receive_json(timeout=30))["error"]
        assert (error["code"], error["message"]) == (400, SAID)
        assert (await socket.receive(timeout=30)).extra == "INVALID_ARGUMENT"


async def test_a_message_that_the_handler_asks_for() -> None:
    """``context.read`` instead of an iteration."""
    handlers = Handlers()

    async def read(requests: Any, context: Any) -> Any:
        while await context.read() is not grpc.aio.EOF:
            pass
        return message("Summary")()

    handlers.on_collect = read  # type: ignore[method-assign]
    method = pool().FindServiceByName(SERVICE).methods_by_name["Collect"]
    rpc = await InProcessUpstream([handlers.register], (), pool()).bind(method)

    async def requests() -> AsyncIterator[bytes]:
        yield b""
        yield b"\xff"

    with pytest.raises(UpstreamError) as caught:
        await anext(rpc.stream(requests(), Call((), None, "unix:")))
    assert (caught.value.code, caught.value.message) == (3, SAID)


async def test_a_synchronous_server_behind_a_channel() -> None:
    """It says in other words that it cannot read the request."""

    def echo(request: Any, context: Any) -> Any:
        return request

    kind = message("Thing")
    handler = grpc.unary_unary_rpc_method_handler(echo, kind.FromString, kind.SerializeToString)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Create": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    gateway = Gateway(ChannelUpstream(f"127.0.0.1:{port}", descriptor_set=compile_protos()), [SERVICE])
    await gateway.start()
    try:
        async with listening(gateway) as base, aiohttp.ClientSession() as session:
            for levels, status in ((33, 200), (50, 400)):
                async with session.post(f"{base}/v1/things", json={"st": nested(levels)}) as answer:
                    assert answer.status == status
    finally:
        server.stop(0).wait()


async def test_a_service_that_reads_something_else_wrongly(transport: Transport) -> None:
    """What the handler itself fails to parse is not the caller's fault."""
    handlers = Handlers()

    async def parse(request: Any, context: Any) -> Any:
        return message("Sub").FromString(b"\xff")

    handlers.echo = parse  # type: ignore[method-assign]
    async with running(transport, handlers=handlers) as service:
        assert (await service.get("/v1/things/x")).status == 500
