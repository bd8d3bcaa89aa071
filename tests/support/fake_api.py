"""A real gRPC server of the three services that answers as it is told to and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from grpc_reflection.v1alpha import reflection

from orchestration.v1 import compute_pools_pb2, model_deployments_pb2, model_registry_pb2

_FILES = (compute_pools_pb2, model_deployments_pb2, model_registry_pb2)


@dataclass(frozen=True)
class Failure:
    """An answer that is an error; ``details`` are packed as google.rpc.Status does."""

    code: grpc.StatusCode
    message: str
    details: Sequence[Message] = ()


@dataclass(frozen=True)
class Stream:
    """Messages of a stream; with ``open_end`` it stays open after them."""

    messages: Sequence[Message]
    open_end: bool = False


Answer = Message | Failure | Stream | Callable[[Any], Message | Stream]
"""A callable gets the request and gives the answer to it."""


class FakeApi:
    """Answers by RPC name; what has no answer is UNIMPLEMENTED."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, Message]] = []
        self.ended = asyncio.Event()
        """Set when an open stream was ended by its caller."""
        self.address = ""

    def asked(self, name: str) -> list[Any]:
        """The requests of one RPC."""
        return [request for method, request in self.requests if method == name]

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Handlers of every RPC of the API."""
        return [
            grpc.method_handlers_generic_handler(
                service.full_name, {method.name: self._handler(method) for method in service.methods}
            )
            for file in _FILES
            for service in file.DESCRIPTOR.services_by_name.values()
        ]

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        async def unary(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            return await self._answer(method.name, request, context)

        async def stream(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
            async for message in self._messages(method.name, request, context):
                yield message

        read = GetMessageClass(method.input_type).FromString
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, read, _serialize)
        return grpc.unary_unary_rpc_method_handler(unary, read, _serialize)

    async def _answer(self, name: str, request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        self.requests.append((name, request))
        answer = self.answers.get(name, Failure(grpc.StatusCode.UNIMPLEMENTED, f"the test answers no {name}"))
        if isinstance(answer, Failure):
            return await _abort(context, answer)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Stream):
            raise TypeError(f"{name} is no stream")
        return answer

    async def _messages(
        self, name: str, request: Message, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Message]:
        answer = self.answers.get(name)
        if callable(answer):
            answer = answer(request)
        if not isinstance(answer, Stream):
            yield await self._answer(name, request, context)
            return
        self.requests.append((name, request))
        for message in answer.messages:
            yield message
        if answer.open_end:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()


async def _abort(context: grpc.aio.ServicerContext[Any, Any], failure: Failure) -> Message:
    status = status_pb2.Status(code=failure.code.value[0], message=failure.message)
    for detail in failure.details:
        status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(failure.code, failure.message)
    raise AssertionError("abort returns never")


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


@asynccontextmanager
async def serve_fake_api() -> AsyncGenerator[FakeApi, None]:
    """The fake, listening on a free port of 127.0.0.1 for the length of a block."""
    api = FakeApi()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(api.handlers())
    names = [service.full_name for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
    api.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield api
    finally:
        await server.stop(grace=None)
