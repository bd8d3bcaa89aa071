"""Any service behind a gateway: its unary methods answer with what they were asked, which is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from orchestration.gateway import Gateway, GatewayConfig, InProcessUpstream
from tests.support.transcoding_client import Running, listening
from tests.support.transcoding_service import Handlers, compile_protos


def make_pool(*sources: tuple[str, str]) -> DescriptorPool:
    """The descriptors of protos given as (file name, text), apart from the default pool."""
    pool = DescriptorPool()
    for file in compile_protos(*sources).file:
        pool.Add(file)
    return pool


@dataclass
class Echo:
    """Handlers of some services. A method whose answer is of another type answers with an empty message."""

    pool: DescriptorPool
    services: list[str]
    asked: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    """Each call's method and message, in their order."""

    def register(self, server: Any) -> None:
        """Add the services to a server."""
        for service in self.services:
            methods = self.pool.FindServiceByName(service).methods
            handlers: dict[str, Any] = {
                method.name: grpc.unary_unary_rpc_method_handler(self._behaviour(method))
                for method in methods
                if not method.client_streaming and not method.server_streaming
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _behaviour(self, method: Any) -> Any:
        echoes = method.input_type is method.output_type

        async def answer(request: bytes, context: object) -> bytes:
            self.asked.append((method.name, request))
            return request if echoes else b""

        return answer

    def last(self) -> Any:
        """The message of the last call."""
        name, data = self.asked[-1]
        methods = [m for each in self.services for m in self.pool.FindServiceByName(each).methods if m.name == name]
        return message_factory.GetMessageClass(methods[0].input_type).FromString(data)


@asynccontextmanager
async def echoing(
    pool: DescriptorPool, services: list[str], config: GatewayConfig | None = None
) -> AsyncGenerator[tuple[Running, Echo], None]:
    """A gateway in front of such services, in the process."""
    echo = Echo(pool, services)
    gateway = Gateway(InProcessUpstream([echo.register], (), pool), services, config)
    await gateway.start()
    async with listening(gateway) as base, aiohttp.ClientSession() as session:
        yield Running(base, gateway, Handlers(), session), echo
