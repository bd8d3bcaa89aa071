"""RPCs served in this process, with no channel between: the same handlers and interceptors that a server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeGuard

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool

from orchestration.gateway.errors import GatewayError, RuleError, UpstreamError
from orchestration.gateway.schema import collect_files
from orchestration.gateway.upstream import Call, Rpc, method_path
from orchestration.gateway.upstream.context import InProcessContext
from orchestration.gateway.upstream.handlers import HandlerTable, InterceptedHandler, Registrar
from orchestration.gateway.upstream.handoff import Handoff, IncomingMessages

log = logging.getLogger(__name__)

_UNEXPECTED = "The service failed unexpectedly."


class InProcessUpstream:
    """Handlers of this process as an upstream.

    Args:
        registrars: Each adds a service's handlers to a server; the same that the gRPC server gets.
        interceptors: Outermost first, as `grpc.aio.server` takes them.
        pool: Where the services' descriptors are; generated code puts them into the default one.
    """

    def __init__(
        self,
        registrars: Sequence[Registrar],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        pool: DescriptorPool | None = None,
    ) -> None:
        self._table = HandlerTable(registrars)
        self._interceptors = tuple(interceptors)
        self._pool = Default() if pool is None else pool

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def services(self) -> list[str]:
        """The services registered."""
        return list(self._table.services)

    def descriptors(self) -> FileDescriptorSet:
        """The files of the services registered. Raises `RuleError` for one whose descriptor the pool lacks."""
        files: list[FileDescriptor] = []
        for name in self._table.services:
            try:
                files.append(self._pool.FindServiceByName(name).file)
            except KeyError:
                raise RuleError(f"the descriptor pool has no service {name}") from None
        return collect_files(files)

    async def bind(self, method: MethodDescriptor) -> Rpc:
        """Run the interceptors around a method. Raises `RuleError` for one without a handler."""
        handler = InterceptedHandler(self._table, self._interceptors, method_path(method))
        if not await handler.prepare():
            raise RuleError(f"{method.full_name}: no handler is registered")
        return InProcessRpc(handler, method)


class InProcessRpc:
    """One method's handler."""

    def __init__(self, handler: InterceptedHandler, method: MethodDescriptor) -> None:
        self._handler = handler
        self._name = method.full_name
        self._client_streaming = method.client_streaming

    async def unary(self, request: bytes, call: Call) -> bytes:
        """Call a method without streams, in the caller's own task."""
        if call.timeout is None:
            return await self._unary(request, call, None)
        try:
            async with asyncio.timeout(call.timeout) as scope:
                return await self._unary(request, call, scope.when())
        except TimeoutError:
            raise _deadline_exceeded() from None

    async def _unary(self, request: bytes, call: Call, deadline: float | None) -> bytes:
        context = InProcessContext(call, deadline)
        cancelled = True
        try:
            handler = self._handler.fixed or await self._handler.for_call(call.metadata)
            response = await handler.method(handler.deserialize(request), context)
            cancelled = False
            _check_status(context)
            return handler.serialize(response)
        except Exception as error:
            cancelled = False
            raise self._failure(error, context) from error
        finally:
            if call.reply is not None:
                call.reply.initial = context.initial_metadata()
                call.reply.trailing = tuple(context.trailing_metadata() or ())
            context.finish(cancelled=cancelled)

    async def stream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes, None]:
        """Call a method with a stream on one side or both, in a task of its own that is cancelled with the stream."""
        responses = Handoff()
        task = asyncio.create_task(self._run(requests, call, responses), name=f"stream {self._name}")
        try:
            async for response in responses:
                yield response
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, requests: AsyncIterator[bytes], call: Call, responses: Handoff) -> None:
        error: Exception | None = None
        try:
            async with asyncio.timeout(call.timeout) as scope:
                await self._stream(requests, call, scope.when(), responses)
        except TimeoutError:
            error = _deadline_exceeded()
        except UpstreamError as failure:
            error = failure
        await responses.end(error)

    async def _stream(
        self, requests: AsyncIterator[bytes], call: Call, deadline: float | None, responses: Handoff
    ) -> None:
        context = InProcessContext(call, deadline)
        cancelled = True
        try:
            handler = await self._handler.for_call(call.metadata)
            messages = IncomingMessages(requests, handler.deserialize)
            request = messages if self._client_streaming else await anext(messages)

            async def write(response: Any) -> None:
                await responses.put(handler.serialize(response))

            context.attach(messages.read, write)
            await _drive(handler.method(request, context), write)
            cancelled = False
            _check_status(context)
        except Exception as error:
            cancelled = False
            raise self._failure(error, context) from error
        finally:
            context.finish(cancelled=cancelled)

    def _failure(self, error: Exception, context: InProcessContext) -> Exception:
        if isinstance(error, GatewayError):
            return error
        if isinstance(error, grpc.aio.AbortError):
            return _status_of(context)
        if context.code() is not grpc.StatusCode.OK:
            return _status_of(context)  # set before raising, as generated servicers do for what is not implemented
        log.error("%s failed unexpectedly", self._name, exc_info=error)
        return UpstreamError(grpc.StatusCode.UNKNOWN.value[0], _UNEXPECTED)


async def _drive(result: Any, write: Callable[[Any], Awaitable[None]]) -> None:
    """Send what a handler yields, or its one answer; one that calls ``context.write`` answers None."""
    if _is_stream(result):
        try:
            async for response in result:
                await write(response)
        finally:
            if isinstance(result, AsyncGenerator):
                await result.aclose()
        return
    response = await result
    if response is not None:
        await write(response)


def _is_stream(result: Any) -> TypeGuard[AsyncIterator[Any]]:
    return isinstance(result, AsyncIterator)


def _check_status(context: InProcessContext) -> None:
    """Raises `UpstreamError` when the handler has set a status without aborting."""
    if context.code() is not grpc.StatusCode.OK:
        raise _status_of(context)


def _status_of(context: InProcessContext) -> UpstreamError:
    code = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else int(code)
    return UpstreamError(number, context.details(), context.status_details())


def _deadline_exceeded() -> UpstreamError:
    return UpstreamError(grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "Deadline Exceeded")
