"""RPCs served in this process, with no channel between: the same handlers and interceptors that a server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeGuard

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import DecodeError

from orchestration.gateway.clientmessages import single
from orchestration.gateway.errors import GatewayError, RuleError, UpstreamError
from orchestration.gateway.schema import collect_files
from orchestration.gateway.upstream import Call, Rpc, method_path
from orchestration.gateway.upstream.context import (
    DEADLINE_EXCEEDED,
    UNREADABLE,
    InProcessContext,
    miscounted,
    unexpected,
)
from orchestration.gateway.upstream.handlers import Behaviour, HandlerTable, InterceptedHandler, Registrar
from orchestration.gateway.upstream.handoff import Handoff, IncomingMessages

log = logging.getLogger(__name__)


class InProcessUpstream:
    """Handlers of this process as an upstream.

    Args:
        registrars: Each adds a service's handlers to a server; the same that the gRPC server gets.
        interceptors: Outermost first, as `grpc.aio.server` takes them.
        pool: Where the services' descriptors are; generated code puts them into the default one.
        build_once: Ask the interceptors for each method's handler once, at the start, and no more at each call. Right
            for those whose ``intercept_service`` does nothing but wrap the handler, the same way for every call. Where
            one looks at the caller's metadata, all are asked at each call still.

    Raises ValueError for an interceptor of another kind, as a server does.
    """

    def __init__(
        self,
        registrars: Sequence[Registrar],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        pool: DescriptorPool | None = None,
        *,
        build_once: bool = False,
    ) -> None:
        for interceptor in interceptors:
            if not isinstance(interceptor, grpc.aio.ServerInterceptor):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"{type(interceptor).__name__} is no grpc.aio.ServerInterceptor")  # noqa: TRY004
        self._table = HandlerTable(registrars)
        self._interceptors = tuple(interceptors)
        self._pool = Default() if pool is None else pool
        self._build_once = build_once

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
        """Find a method, with the interceptors around it. Raises `RuleError` for one without a handler."""
        path = method_path(method)
        handler = InterceptedHandler(self._table, self._interceptors, path, build_once=self._build_once)
        if not await handler.prepare():
            raise RuleError(f"{method.full_name}: no handler is registered")
        return InProcessRpc(handler, method)


class InProcessRpc:
    """One method's handler."""

    def __init__(self, handler: InterceptedHandler, method: MethodDescriptor) -> None:
        self._handler = handler
        self._name = method.full_name
        self._gives_stream = method.server_streaming

    def unary(self, request: bytes, call: Call) -> Coroutine[Any, Any, bytes]:
        """Call a method without streams, in the caller's own task."""
        return self._unary(request, call, None) if call.timeout is None else self._in_time(request, call)

    async def _in_time(self, request: bytes, call: Call) -> bytes:
        scope, response = asyncio.timeout(call.timeout), b""
        try:
            async with scope:
                response = await self._unary(request, call, scope.when())
        except (TimeoutError, UpstreamError):
            if not scope.expired():
                raise
        # A handler may have caught its cancellation: whatever it then said came too late.
        if scope.expired():
            raise _deadline_exceeded()
        return response

    async def _unary(self, request: bytes, call: Call, deadline: float | None) -> bytes:
        context = InProcessContext(call, deadline)
        cancelled = True
        try:
            handler = self._handler.fixed or await self._handler.for_call(call.metadata)
            if handler.takes_stream or handler.gives_stream:
                answer = await _serve_one(handler, request, context)
            else:
                response = await handler.method(_read(handler, request), context)
                _check_status(context)
                answer = handler.serialize(response)
            cancelled = False
            return answer
        except Exception as error:
            cancelled = False
            raise self._failure(error, context) from error
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise self._failure(error, context) from error
        finally:
            if call.reply is not None:
                context.tell(call.reply)
            context.finish(cancelled=cancelled)

    async def stream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes, None]:
        """Call a method with a stream on one side or both, in a task of its own that is cancelled with the stream."""
        responses = Handoff()
        task = asyncio.create_task(self._run(requests, call, responses), name=f"stream {self._name}")
        try:
            if not self._gives_stream:
                yield await _only(responses)
                return
            async for response in responses:
                yield response
        finally:
            responses.close()
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, requests: AsyncIterator[bytes], call: Call, responses: Handoff) -> None:
        error: Exception | None = None
        scope = asyncio.timeout(call.timeout)
        try:
            async with scope:
                await self._stream(requests, call, scope.when(), responses)
        except TimeoutError:
            pass
        except UpstreamError as failure:
            error = failure
        await responses.end(_deadline_exceeded() if scope.expired() else error)

    async def _stream(
        self, requests: AsyncIterator[bytes], call: Call, deadline: float | None, responses: Handoff
    ) -> None:
        context = InProcessContext(call, deadline)
        cancelled = True
        try:
            handler = await self._handler.for_call(call.metadata)

            async def put(response: bytes) -> None:
                if call.reply is not None:
                    context.tell(call.reply)
                await responses.put(response)

            await _serve(handler, requests, context, put)
            cancelled = False
            _check_status(context)
        except Exception as error:
            cancelled = False
            raise self._failure(error, context) from error
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise self._failure(error, context) from error
        finally:
            if call.reply is not None:
                context.tell(call.reply)
            context.finish(cancelled=cancelled)

    def _failure(self, error: BaseException, context: InProcessContext) -> Exception:
        if isinstance(error, GatewayError):
            return error
        if context.aborted:
            return _status_of(context)
        log.error("%s failed unexpectedly", self._name, exc_info=error)
        number, _, details = context.status()
        # A code that was set before stands. Its message does not: a server puts the exception's in its place.
        code = number if context.failed else grpc.StatusCode.UNKNOWN.value[0]
        return UpstreamError(code, unexpected(code), details)


class _UnreadableError(UpstreamError, DecodeError):
    """A message of the client's that the service cannot read: a `DecodeError` to the handler, as on a server."""


def _read(handler: Behaviour, request: bytes) -> Any:
    """A message. Raises `UpstreamError` (INVALID_ARGUMENT) for one nested deeper than the service reads."""
    try:
        return handler.deserialize(request)
    except DecodeError as error:
        raise _UnreadableError(grpc.StatusCode.INVALID_ARGUMENT.value[0], UNREADABLE) from error


async def _serve(
    handler: Behaviour,
    requests: AsyncIterator[bytes],
    context: InProcessContext,
    put: Callable[[bytes], Awaitable[None]],
) -> None:
    """Run a handler of any kind with what it may read, and put its answers."""

    async def read() -> Any:
        try:
            request = await anext(requests)
        except StopAsyncIteration:
            return grpc.aio.EOF
        return _read(handler, request)

    async def write(response: Any) -> None:
        await put(handler.serialize(response))

    context.attach(read, write)
    messages = IncomingMessages(context.read)
    await _drive(handler, messages if handler.takes_stream else await anext(messages), context)


async def _serve_one(handler: Behaviour, request: bytes, context: InProcessContext) -> bytes:
    """Run a handler that streams where the method does not: an interceptor may have put it there."""
    answers: list[bytes] = []

    async def put(answer: bytes) -> None:
        if answers:
            raise miscounted()
        answers.append(answer)

    await _serve(handler, single(request), context, put)
    _check_status(context)
    if not answers:
        raise miscounted()
    return answers[0]


async def _only(responses: AsyncIterator[bytes]) -> bytes:
    """The one answer of a method whose server does not stream. Raises `UpstreamError` for none, and for a second."""
    answer: bytes | None = None
    async for response in responses:
        if answer is not None:
            raise miscounted()
        answer = response
    if answer is None:
        raise miscounted()
    return answer


async def _drive(handler: Behaviour, request: Any, context: InProcessContext) -> None:
    """Run a handler, and send what it yields, or its one answer; one that calls ``context.write`` yields nothing."""
    result = handler.method(request, context)
    if not handler.gives_stream:
        response = await result
        context.raise_if_aborted()
        if not context.failed:
            await context.write(response)
    elif _is_stream(result):
        try:
            async for response in result:
                await context.write(response)
        finally:
            if isinstance(result, AsyncGenerator):
                await result.aclose()
    else:
        await result


def _is_stream(result: Any) -> TypeGuard[AsyncIterator[Any]]:
    return isinstance(result, AsyncIterator)


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the current task: a handler may raise CancelledError of its own accord."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _check_status(context: InProcessContext) -> None:
    """Raises `UpstreamError` when the handler has set a status without raising."""
    if context.failed:
        raise _status_of(context)


def _status_of(context: InProcessContext) -> UpstreamError:
    return UpstreamError(*context.status())


def _deadline_exceeded() -> UpstreamError:
    return UpstreamError(grpc.StatusCode.DEADLINE_EXCEEDED.value[0], DEADLINE_EXCEEDED)
