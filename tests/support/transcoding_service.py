"""A service with every kind of field, method and http rule, made of its proto at run time."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

TESTDATA = Path(__file__).parents[1] / "gateway" / "testdata"
SERVICE = "gatewaytest.TestService"


@functools.cache
def compile_protos(*sources: tuple[str, str]) -> FileDescriptorSet:
    """The descriptor set of protos given as (file name, text); without any, of the test service."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources or (("test_service.proto", (TESTDATA / "test_service.proto").read_text()),):
            (Path(folder) / name).write_text(text)
        names = [name for name, _ in sources] or ["test_service.proto"]
        target = Path(folder) / "set.binpb"
        includes = [f"-I{folder}", f"-I{_site_packages()}", f"-I{files('grpc_tools') / '_proto'}"]
        arguments = [*includes, "--include_imports", f"--descriptor_set_out={target}", *names]
        made = subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=False, capture_output=True)
        assert made.returncode == 0, made.stderr
        return FileDescriptorSet.FromString(target.read_bytes())


def _site_packages() -> Path:
    import google.api.annotations_pb2 as annotations

    return Path(str(annotations.__file__)).parents[2]


@functools.cache
def pool() -> DescriptorPool:
    """The descriptors of the test service, apart from the default pool."""
    made = DescriptorPool()
    for file in compile_protos().file:
        made.Add(file)
    return made


def message(name: str) -> Any:
    """The class of a message of the test service."""
    full_name = name if "." in name else f"gatewaytest.{name}"
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


class Handlers:
    """What the test service does. Most methods answer with what they were asked."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        """Set when a hanging or lingering handler was cancelled."""
        self.started = asyncio.Event()
        """Set when such a handler has begun."""
        self.ticks = 0
        """Number of the last message that a stream has made."""

    def register(self, server: Any) -> None:
        """Add the service to a server, as generated code would."""
        service = pool().FindServiceByName(SERVICE)
        handlers = {method.name: _handler(method, self._behaviour(method)) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _behaviour(self, method: MethodDescriptor) -> Callable[..., Any]:
        return getattr(self, "on_" + method.name.lower(), self.echo)

    async def echo(self, request: Any, context: Any) -> Any:
        return request

    async def on_delete(self, request: Any, context: Any) -> Any:
        return message("google.protobuf.Empty")()

    async def on_getfile(self, request: Any, context: Any) -> Any:
        reply = message("Upload")(name=request.name)
        reply.file.content_type, reply.file.data = "image/png", b"\x89PNG\xff"
        return reply

    async def on_fail(self, request: Any, context: Any) -> Any:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        details = (("grpc-status-details-bin", request.status),) if request.status else ()
        await context.abort(codes[request.code], request.message, details)

    async def on_crash(self, request: Any, context: Any) -> Any:
        raise ValueError("secret detail")

    async def on_inspect(self, request: Any, context: Any) -> Any:
        reply = message("Called")(peer=context.peer())
        for key, value in context.invocation_metadata():
            if isinstance(value, bytes):
                reply.binary[key] = value
            else:
                reply.metadata[key] = value
        remaining = context.time_remaining()
        if remaining is not None and remaining < 1e6:
            reply.time_remaining.value = remaining
        return reply

    async def on_hang(self, request: Any, context: Any) -> Any:
        await self._until_cancelled()

    async def on_unknownany(self, request: Any, context: Any) -> Any:
        reply = message("Thing")(name="x")
        reply.any.type_url, reply.any.value = "type.example.com/no.Such", b"\x01\x02"
        return reply

    async def on_count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.fail_after == -1:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such stream")
        start = int(request.cursor or 0)
        for number in range(start + 1, start + request.count + 1):
            self.ticks = number
            yield message("Tick")(number=number, cursor=str(number), padding="x" * request.padding)
            if number == request.fail_after:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "that is enough")
        if request.linger:
            await self._until_cancelled()

    async def on_chunks(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for data in (b"one,", b"two,", b"three"):
            yield message("google.api.HttpBody")(content_type="text/csv", data=data)

    async def on_collect(self, requests: Any, context: Any) -> Any:
        texts = [f"{note.room}/{note.text}" async for note in requests]
        return message("Summary")(count=len(texts), texts=texts)

    async def on_chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for note in requests:
            if note.text == "crash":
                raise ValueError("secret detail")
            if note.text == "wait":
                await self._until_cancelled()
            yield message("Note")(room=note.room, text=note.text.upper())

    async def _until_cancelled(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def _serialize(reply: Any) -> bytes:
    data: bytes = reply.SerializeToString()
    return data


def _handler(method: MethodDescriptor, behaviour: Callable[..., Any]) -> Any:
    factories = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return factories[method.client_streaming, method.server_streaming](
        behaviour,
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=_serialize,
    )
