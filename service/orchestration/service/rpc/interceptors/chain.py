"""The one interceptor that gRPC knows of: it takes each call through the stages, in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import aclosing
from types import coroutine
from typing import Any, NamedTuple, TypeAlias

import grpc
import structlog
from grpc_interceptor.server import AsyncServerInterceptor

from orchestration.service.rpc.interceptors.base import Context, RpcCall, Stage
from orchestration.service.rpc.interceptors.recovery import recover
from orchestration.service.usecases.serialized import Serialized

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_unary_unary = grpc.unary_unary_rpc_method_handler
_unary_stream = grpc.unary_stream_rpc_method_handler
_stream_unary = grpc.stream_unary_rpc_method_handler

log = structlog.get_logger(__name__)


class _Named(NamedTuple):
    """What the library looks at of a call's details."""

    method: str


class _Plan(NamedTuple):
    """The stages that have to do with a method."""

    begins: tuple[Callable[[RpcCall], None], ...]
    """Outermost first."""
    ends: tuple[tuple[int, Callable[[RpcCall, BaseException | None], None]], ...]
    """With the place of the beginning that each belongs to; innermost first."""


class CallInterceptor(AsyncServerInterceptor):
    """Runs the stages around the handler, and turns what is raised within into a status.

    One interceptor, since each that gRPC knows of costs it a handler, a coroutine and two frames for each call.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        """Outermost first."""
        self._made: dict[str, tuple[Handler, Handler]] = {}
        """By method, its handler and what was made of it: gRPC asks at each call."""
        self._plans: dict[str, _Plan] = {}
        """By method that answers with a stream."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler with the stages around it, made anew only where the method's own handler is another."""
        found = await continuation(handler_call_details)
        if found is None:
            return None
        name = handler_call_details.method
        known = self._made.get(name)
        if known is None or known[0] is not found:
            made = await self._around_stream(found, name) if found.response_streaming else self._around(found, name)
            known = self._made[name] = found, made
        return known[1]

    async def _around_stream(self, handler: Handler, name: str) -> Handler:
        """Of what answers with a stream it makes an asynchronous generator, also of what writes by itself."""

        self._plans[name] = self._plan(name, streaming=True)

        async def following(_: grpc.HandlerCallDetails) -> Handler:
            return _yielding(handler)

        base: Any = super()  # the library's own signature has no types
        made: Handler = await base.intercept_service(following, _Named(name))
        return made

    def _around(self, handler: Handler, name: str) -> Handler:
        """Unary handlers are called from here: what the library puts between costs two more coroutines a call."""
        method: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
        plan = self._plan(name, streaming=False)

        async def respond(request_or_iterator: Any, context: Context) -> Any:
            call = RpcCall(name, request_or_iterator, context, streaming=False)
            begun = 0
            try:
                for begin in plan.begins:
                    begin(call)
                    begun += 1
                if call.scope is not None:
                    async with call.scope:
                        answer = await method(request_or_iterator, context)
                else:
                    handling: Coroutine[Any, Any, Any] = method(request_or_iterator, context)
                    try:
                        awaited = handling.send(None)
                    except StopIteration as done:
                        answer = done.value
                    else:
                        if call.waits is not None:
                            call.deadline = call.waits()
                        answer = await _rest(handling, awaited)
            except BaseException as error:
                failure = _settled(call, error) or error
                _end(plan, call, begun, failure)
                await recover(failure, call)
            _settled(call, None)
            _end(plan, call, begun, None)
            return answer

        made: Any = _stream_unary if handler.request_streaming else _unary_unary
        wrapped: Handler = made(respond, handler.request_deserializer, _serializer(handler))
        return wrapped

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Context, method_name: str
    ) -> Any:
        """Take one call that answers with a stream through the stages."""
        response: Any = method(request_or_iterator, context)
        return self._stream(response, RpcCall(method_name, request_or_iterator, context, streaming=True))

    async def _stream(self, responses: AsyncIterator[Any], call: RpcCall) -> AsyncIterator[Any]:
        plan, begun = self._plans[call.method], 0
        try:
            async with aclosing(responses):  # type: ignore[type-var]
                for begin in plan.begins:
                    begin(call)
                    begun += 1
                assert call.scope is not None
                async with call.scope:
                    async for response in responses:
                        yield response
        except BaseException as error:
            _end(plan, call, begun, error)
            await recover(error, call)
        _end(plan, call, begun, None)

    def _plan(self, method: str, *, streaming: bool) -> _Plan:
        asked = (stage.of(method, streaming=streaming) for stage in self.stages)
        concerned = [stage for stage in asked if stage is not None]
        ends = [(number, stage.end) for number, stage in enumerate(concerned) if type(stage).end is not Stage.end]
        return _Plan(tuple(stage.begin for stage in concerned), tuple(reversed(ends)))


def _serializer(handler: Handler) -> Callable[[Any], bytes]:
    """What puts an answer on the wire, unless it is there."""
    serialize: Any = handler.response_serializer

    def either(answer: Any) -> bytes:
        wire: bytes = answer.wire if type(answer) is Serialized else serialize(answer)
        return wire

    return either


def _end(plan: _Plan, call: RpcCall, begun: int, failure: BaseException | None) -> None:
    for number, end in plan.ends:
        if number < begun:
            try:
                end(call, failure)
            except Exception as error:  # the others end all the same, and the caller is not told of it
                log.error("a stage of a call could not end", method=call.method, exc_info=error)


@coroutine
def _rest(handling: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """What a coroutine gives in the end that waits for something already."""
    given: Any = None
    resume: Callable[[Any], Any] = handling.send
    try:
        while True:
            try:
                given = yield awaited
                resume = handling.send
            except BaseException as error:  # a cancellation, mostly: it is the coroutine's
                given, resume = error, handling.throw
            try:
                awaited = resume(given)
            except StopIteration as done:
                return done.value
    finally:
        del given, resume  # an error holds this frame, which must not hold the error


def _settled(call: RpcCall, error: BaseException | None) -> BaseException | None:
    return error if call.deadline is None else call.deadline.settle(error)


def _yielding(handler: Handler) -> Handler:
    """The handler as an asynchronous generator: one that writes to its context yields nothing."""
    made: Any = grpc.stream_stream_rpc_method_handler if handler.request_streaming else _unary_stream
    method: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream

    async def responses(request: Any, context: Context) -> AsyncIterator[Any]:
        result: Any = method(request, context)
        if not hasattr(result, "__aiter__"):
            await result
            return
        async with aclosing(result):
            async for response in result:
                yield response

    found: Handler = made(responses, handler.request_deserializer, handler.response_serializer)
    return found
