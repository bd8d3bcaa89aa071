"""RPCs served behind a gRPC channel."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestration.gateway.errors import UpstreamError
from orchestration.gateway.upstream import Call, Metadata, Reply, Rpc, method_path
from orchestration.gateway.upstream.context import (
    DEADLINE_EXCEEDED,
    STATUS_DETAILS,
    UNREADABLE,
    miscounted,
    unexpected,
)
from orchestration.gateway.upstream.reflection import reflect

log = logging.getLogger(__name__)

_LEAKED: Final = re.compile(r"(Unexpected <class '|Exception calling application: |Exception iterating responses: )")
"""How grpc's own servers begin the message of a handler that raised: what follows is the exception's text."""
_UNREADABLE: Final = re.compile(
    "Exception deserializing request!|Unexpected <class 'google.protobuf.message.DecodeError'>: .*'([^']*)'"
)
"""What grpc's own servers say of a request that they cannot read: the synchronous one, and the other with its type."""
_LATE: Final = re.compile(r"(Stream removed \()?Deadline Exceeded\)?")
"""What grpc's client says of a deadline that has passed, with and without words of its own."""
_TOO_LATE_TO_SEND: Final = "Internal error from Core"
"""What grpc's client says when the call was over before its message was sent."""
_CONNECTION: Final = re.compile(
    "failed to connect|errors resolving|DNS resolution|Socket closed|Endpoint closing|GOAWAY|Broken pipe|keepalive"
    "|(recvmsg|sendmsg):|Connection re|Stream removed|Transport closed|no known address|Ssl handshake|.*ipv[46]:",
    re.IGNORECASE,
)
"""How grpc's client begins its own words for a connection that failed; what follows holds addresses."""


_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    # A server that comes back is found within seconds; grpc itself would wait for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


class ChannelUpstream:
    """A gRPC server as an upstream.

    Args:
        target: As `grpc.aio.insecure_channel` takes it, such as ``localhost:50051`` or ``unix:/run/api.sock``.
        descriptor_set: A FileDescriptorSet, or one serialized, with all imports; None: ask by reflection.
        credentials: For TLS; None: plain text.
        options: Arguments of the channel.
        more_options: Arguments beside those.
    """

    def __init__(
        self,
        target: str,
        *,
        descriptor_set: FileDescriptorSet | bytes | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = _OPTIONS,
        more_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._options = (*options, *more_options)
        if isinstance(descriptor_set, bytes):
            descriptor_set = FileDescriptorSet.FromString(descriptor_set)
        self._descriptors = descriptor_set
        self._services: list[str] = []
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Open the channel and learn the services. Raises `UpstreamError` when reflection fails."""
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=self._options)
        else:
            self._channel = grpc.aio.secure_channel(self._target, self._credentials, options=self._options)
        if self._descriptors is None:
            self._descriptors, self._services = await reflect(self._channel)
            return
        for file in self._descriptors.file:
            prefix = f"{file.package}." if file.package else ""
            self._services.extend(prefix + service.name for service in file.service)

    async def close(self) -> None:
        """Close the channel, cancelling what is under way."""
        if self._channel is not None:
            await self._channel.close()

    async def reachable(self, within_s: float) -> bool:
        """Whether there is a connection, or one can be made within so many seconds."""
        assert self._channel is not None
        try:
            async with asyncio.timeout(within_s):
                await self._channel.channel_ready()
        except TimeoutError:
            return False
        return True

    def services(self) -> list[str]:
        """What reflection lists, or what the descriptor set holds."""
        return self._services

    def descriptors(self) -> FileDescriptorSet:
        """What reflection gave, or the descriptor set."""
        assert self._descriptors is not None
        return self._descriptors

    async def bind(self, method: MethodDescriptor) -> Rpc:
        """A method on the channel."""
        assert self._channel is not None
        return ChannelRpc(self._channel, method)


class ChannelRpc:
    """One method on a channel. Messages stay bytes."""

    def __init__(self, channel: grpc.aio.Channel, method: MethodDescriptor) -> None:
        path = method_path(method)
        self._client_streaming = method.client_streaming
        self._server_streaming = method.server_streaming
        self._request_type = method.input_type.full_name
        kinds = (
            (channel.unary_unary, channel.unary_stream),
            (channel.stream_unary, channel.stream_stream),
        )
        self._callable: Any = kinds[method.client_streaming][method.server_streaming](path)

    async def unary(self, request: bytes, call: Call) -> bytes:
        """Call a method without streams."""
        try:
            rpc = self._callable(request, metadata=call.metadata, timeout=call.timeout)
            response: bytes | None = await rpc
            await _tell_all(rpc, call.reply)
        except grpc.aio.AioRpcError as error:
            raise _ended(error, call.reply, self._request_type) from error
        if response is None:  # grpc takes a call without an answer for a good one
            raise miscounted()
        return response

    async def stream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes, None]:
        """Call a method with a stream on one side or both."""
        request = requests if self._client_streaming else await anext(requests)
        rpc = self._callable(request, metadata=call.metadata, timeout=call.timeout)
        ending = _Ending(rpc)
        try:
            if not self._server_streaming:
                response = await rpc
                await _tell_all(rpc, call.reply)
                if response is None:
                    raise miscounted()
                yield response
                return
            while (response := await _read(rpc)) is not grpc.aio.EOF:
                if call.reply is not None:
                    call.reply.initial = _pairs(await rpc.initial_metadata())
                yield response
            await _tell_all(rpc, call.reply)
        except grpc.aio.AioRpcError as error:
            raise _ended(ending.instead_of(error), call.reply, self._request_type) from error
        finally:
            rpc.cancel()


class _Ending:
    """Keeps the status that the server has ended a call with.

    grpc's client puts an internal error of its own in its place when a message that it was sending came too late:
    https://github.com/grpc/grpc/issues/36066.
    """

    def __init__(self, rpc: Any) -> None:
        self._first: grpc.aio.AioRpcError | None = None
        rpc.add_done_callback(self._keep)

    def _keep(self, rpc: Any) -> None:
        code, details, initial, trailing = (
            _at_once(told()) for told in (rpc.code, rpc.details, rpc.initial_metadata, rpc.trailing_metadata)
        )
        if code is not None and code is not grpc.StatusCode.OK:
            self._first = grpc.aio.AioRpcError(code, initial, trailing, details)

    def instead_of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The server's error where there was one before grpc's own, else the same."""
        return self._first if self._first is not None and error.details() == _TOO_LATE_TO_SEND else error


def _at_once(told: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives that has nothing to wait for; None from one that has."""
    try:
        told.send(None)
    except StopIteration as done:
        return done.value
    told.close()
    return None


async def _read(rpc: Any) -> Any:
    """The next message, or `grpc.aio.EOF`.

    A read that is cancelled never gives back the message that grpc's core has for it: it stays in memory for ever. So
    the call is cancelled instead, which ends the read.
    """
    reading = asyncio.ensure_future(rpc.read())
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        rpc.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # the end of a call that nobody waits for any more
        raise


async def _tell_all(rpc: Any, reply: Reply | None) -> None:
    """Write down the metadata of a call that went well."""
    if reply is not None:
        reply.initial = _pairs(await rpc.initial_metadata())
        reply.trailing = _pairs(await rpc.trailing_metadata())


def _pairs(metadata: Any) -> Metadata:
    return tuple(metadata or ())


def _ended(error: grpc.aio.AioRpcError, reply: Reply | None, request_type: str = "") -> UpstreamError:
    """The error of a call that went wrong, its metadata written down."""
    if reply is not None:
        reply.initial = _pairs(error.initial_metadata())
        reply.trailing = _pairs(error.trailing_metadata())
    return _failure(error, request_type)


def _failure(error: grpc.aio.AioRpcError, request_type: str) -> UpstreamError:
    message = error.details() or ""
    unread = _UNREADABLE.match(message)
    if unread is not None and unread.group(1) in (None, request_type):  # what the gateway sends is well-formed
        return UpstreamError(grpc.StatusCode.INVALID_ARGUMENT.value[0], UNREADABLE)
    if error.code() is grpc.StatusCode.UNAVAILABLE and _CONNECTION.match(message):
        log.warning("the upstream cannot be reached: %s", message)
        message = "The service cannot be reached."
    elif _LEAKED.match(message):
        message = unexpected(error.code().value[0])
    elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and _LATE.fullmatch(message):
        message = DEADLINE_EXCEEDED
    status = next((value for key, value in error.trailing_metadata() or () if key == STATUS_DETAILS), None)
    return UpstreamError(error.code().value[0], message, status if isinstance(status, bytes) else None)
