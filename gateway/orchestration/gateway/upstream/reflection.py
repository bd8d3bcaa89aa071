"""Descriptors asked of a server by reflection, v1 where it has that, else v1alpha."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

from orchestration.gateway.errors import UpstreamError
from orchestration.gateway.schema import in_dependency_order

_METHODS: Final = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
_Request = reflection_pb2.ServerReflectionRequest
_TIMEOUT_S: Final = 10.0
_ABSENT: Final = {grpc.StatusCode.UNIMPLEMENTED.value[0], grpc.StatusCode.INTERNAL.value[0]}
"""How a server without the service answers: grpc says INTERNAL where the call ended while the request was written."""


async def reflect(channel: grpc.aio.Channel) -> tuple[FileDescriptorSet, list[str]]:
    """The files of all services of a server, and the services' names. Raises `UpstreamError`."""
    failure: UpstreamError | None = None
    for method in _METHODS:
        try:
            return await _reflect(channel, method)
        except UpstreamError as error:
            if error.code not in _ABSENT:
                raise
            failure = error
    raise UpstreamError(
        grpc.StatusCode.UNIMPLEMENTED.value[0],
        "the server has no reflection: enable it there, or give the gateway a descriptor set",
    ) from failure


async def _reflect(channel: grpc.aio.Channel, method: str) -> tuple[FileDescriptorSet, list[str]]:
    # The messages of v1 and v1alpha are the same on the wire; only the name of the service differs.
    rpc = channel.stream_stream(
        method,
        request_serializer=_Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    stream = rpc(timeout=_TIMEOUT_S)
    try:
        listed = await _ask(stream, _Request(list_services=""))
        names = [each.name for each in listed.list_services_response.service]
        files: dict[str, FileDescriptorProto] = {}
        known = [name for name in names if await _keep_service(stream, name, files)]
        async for missing in _missing(files):
            _keep(files, await _ask(stream, _Request(file_by_filename=missing)))
        await stream.done_writing()
    finally:
        stream.cancel()
    return FileDescriptorSet(file=in_dependency_order(list(files.values()))), known


async def _keep_service(stream: Any, name: str, files: dict[str, FileDescriptorProto]) -> bool:
    """Keep the files of a service. Gives False for one that is listed without them, as reflection itself may be."""
    try:
        _keep(files, await _ask(stream, _Request(file_containing_symbol=name)))
    except UpstreamError as error:
        if error.code != grpc.StatusCode.NOT_FOUND.value[0]:
            raise
        return False
    return True


async def _missing(files: dict[str, FileDescriptorProto]) -> AsyncIterator[str]:
    """Imports that are not there yet, until all are."""
    while True:
        wanted = _imports(files.values()) - files.keys()
        if not wanted:
            return
        for name in sorted(wanted):
            yield name


def _imports(files: Iterable[FileDescriptorProto]) -> set[str]:
    return {name for file in files for name in file.dependency}


async def _ask(stream: Any, request: Any) -> Any:
    try:
        await stream.write(request)
        response: Any = await stream.read()
    except grpc.aio.AioRpcError as error:
        raise UpstreamError(error.code().value[0], f"reflection failed: {error.details()}") from error
    except asyncio.InvalidStateError:  # the server has ended the call before the request was written
        raise await _ended(stream) from None
    if response is grpc.aio.EOF:
        raise await _ended(stream)
    if response.HasField("error_response"):
        refused = response.error_response
        raise UpstreamError(refused.error_code, f"reflection failed for {request}: {refused.error_message}")
    return response


async def _ended(stream: Any) -> UpstreamError:
    code: grpc.StatusCode = await stream.code()
    return UpstreamError(code.value[0], f"the server ended the reflection stream: {await stream.details()}")


def _keep(files: dict[str, FileDescriptorProto], response: Any) -> None:
    for serialized in response.file_descriptor_response.file_descriptor_proto:
        file = FileDescriptorProto.FromString(serialized)
        files[file.name] = file
