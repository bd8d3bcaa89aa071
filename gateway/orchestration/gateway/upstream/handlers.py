"""The handlers that generated code registers, found without a server, with the interceptors around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc

from orchestration.gateway.errors import UpstreamError
from orchestration.gateway.upstream.threads import as_async

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Registrar = Callable[[Any], None]
"""Adds one service's handlers to a server, as ``add_XServicer_to_server`` does once the servicer is bound."""


class HandlerTable:
    """Stands where a server stands for ``add_XServicer_to_server``, and keeps what is registered."""

    def __init__(self, registrars: Sequence[Registrar]) -> None:
        self._generic: list[grpc.GenericRpcHandler] = []
        self.services: dict[str, None] = {}
        """Full names, in the order of registration."""
        for register in registrars:
            register(self)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Keep handlers. Called by generated code."""
        self._generic.extend(generic_rpc_handlers)
        for handler in generic_rpc_handlers:
            if isinstance(handler, grpc.ServiceRpcHandler):
                self.services[handler.service_name()] = None

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Nothing to keep: the same handlers come as generic ones too. Called by generated code."""

    def find(self, details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a method."""
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                return handler
        return None


class _Details(grpc.HandlerCallDetails):
    """Names a method, and notices when somebody looks at the metadata."""

    def __init__(self, method: str, metadata: Any) -> None:
        self.method = method
        self._metadata = metadata
        self.looked_at = False

    @property
    def invocation_metadata(self) -> Any:  # type: ignore[override]
        self.looked_at = True
        return self._metadata


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a handler does, whichever of its four kinds it is."""

    method: Callable[[Any, Any], Any]
    deserialize: Callable[[bytes], Any]
    serialize: Callable[[Any], bytes]
    takes_stream: bool
    """Whether it gets an iterator of requests. An interceptor may put a handler of another kind in the place of one."""
    gives_stream: bool
    """Whether it yields responses, or writes them, instead of returning one."""


class InterceptedHandler:
    """The handler of one method within the interceptors, which are asked for it at each call, as on a server.

    Args:
        table: Where the handlers are.
        interceptors: Outermost first.
        method: The method's name on the wire.
        build_once: Ask the interceptors once, unless one of them looks at the caller's metadata.
    """

    def __init__(
        self,
        table: HandlerTable,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        method: str,
        *,
        build_once: bool = False,
    ) -> None:
        self._table = table
        self._interceptors = tuple(interceptors)
        self._method = method
        self._build_once = build_once or not self._interceptors
        self.fixed: Behaviour | None = None
        """The handler when it is the same for all calls."""

    async def prepare(self) -> bool:
        """Build what is built once. Gives False when nothing serves the method."""
        details = _Details(self._method, ())
        if self._table.find(details) is None:
            return False
        if self._build_once:
            built = await self._build(details)
            self.fixed = None if details.looked_at else built
        return True

    async def for_call(self, metadata: Any) -> Behaviour:
        """The handler for one call. Raises `UpstreamError` (UNIMPLEMENTED) where an interceptor gives none."""
        found = self.fixed or await self._build(_Details(self._method, metadata))
        if found is None:
            raise UpstreamError(grpc.StatusCode.UNIMPLEMENTED.value[0], "Method not found!")
        return found

    async def _build(self, details: _Details) -> Behaviour | None:
        async def innermost(asked: grpc.HandlerCallDetails) -> Any:
            if not isinstance(asked, _Details):  # a server takes none but those of its own class either
                raise TypeError(f"an interceptor has passed on {type(asked).__name__} in place of the call's details")
            return self._table.find(asked)

        chain: Callable[[grpc.HandlerCallDetails], Awaitable[Any]] = innermost
        for interceptor in reversed(self._interceptors):
            chain = _link(interceptor, chain)
        handler = await chain(details)
        return None if handler is None else _behaviour(handler)


def _link(
    interceptor: grpc.aio.ServerInterceptor, following: Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
) -> Callable[[grpc.HandlerCallDetails], Awaitable[Any]]:
    async def link(details: grpc.HandlerCallDetails) -> Any:
        return await interceptor.intercept_service(following, details)

    return link


def _behaviour(handler: Handler) -> Behaviour:
    found = _asynchronous(handler)  # an interceptor may have put a synchronous one around it
    return Behaviour(
        _method(found),
        found.request_deserializer or _as_it_is,
        _serializer(found.response_serializer),
        bool(found.request_streaming),
        bool(found.response_streaming),
    )


def _as_it_is(data: bytes) -> bytes:
    return data


def _serializer(given: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    def serialize(response: Any) -> bytes:
        data: object = response if given is None else given(response)
        if not isinstance(data, bytes):
            raise TypeError(f"a handler's answer was serialized as {type(data).__name__} in place of bytes")
        return data

    return serialize


def _method(handler: Handler) -> Callable[[Any, Any], Any]:
    method = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    assert method is not None
    return method


_FACTORIES: Final[dict[tuple[bool, bool], Callable[..., Handler]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _asynchronous(handler: Handler) -> Handler:
    method = _method(handler)
    wrapped = as_async(method, takes_stream=handler.request_streaming, gives_stream=handler.response_streaming)
    if wrapped is method:
        return handler
    factory = _FACTORIES[handler.request_streaming, handler.response_streaming]
    return factory(wrapped, handler.request_deserializer, handler.response_serializer)
