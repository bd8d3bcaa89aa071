"""Where the RPCs are served: in this process, or behind a channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(slots=True)
class Reply:
    """What a service sends beside its messages. An upstream fills it in before a unary call ends, well or not."""

    initial: Metadata = ()
    """Initial metadata."""
    trailing: Metadata = ()
    """Trailing metadata, without what gRPC itself puts there."""


class Call(NamedTuple):
    """What belongs to one RPC beside its messages."""

    metadata: Metadata
    """Keys in lower case; the values of ``-bin`` keys are bytes."""
    timeout: float | None
    """Seconds from now; None: no deadline."""
    peer: str
    """The caller's address, as gRPC writes it: ``ipv4:127.0.0.1:1234``."""
    reply: Reply | None = None
    """Where the upstream puts the service's metadata; None: nobody wants it."""
    admitted: object = None
    """What was found out about a caller who was asked before; handlers in this process have it in their context."""


class Rpc(Protocol):
    """One RPC, ready to be called. Cancelling the awaiting task cancels the RPC."""

    def unary(self, request: bytes, call: Call) -> Coroutine[Any, Any, bytes]:
        """Call a method without streams. Raises `UpstreamError` for a status other than OK."""
        ...

    def stream(self, requests: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes, None]:
        """Call a method with a stream on one side or both; a side without one has exactly one message.

        Closing the generator cancels the RPC. Raises `UpstreamError` while iterating.
        """
        ...


class Upstream(Protocol):
    """A source of descriptors and of RPCs."""

    async def start(self) -> None:
        """Connect. Raises `UpstreamError` when the descriptors cannot be had."""
        ...

    async def close(self) -> None:
        """Let go of what `start` took."""
        ...

    def descriptors(self) -> FileDescriptorSet:
        """The files of all services, with all that they import."""
        ...

    def services(self) -> list[str]:
        """Full names of the services served."""
        ...

    async def bind(self, method: MethodDescriptor) -> Rpc:
        """Make a method ready. Raises `RuleError` for one that is not served."""
        ...


def method_path(method: MethodDescriptor) -> str:
    """The method's name on the wire: ``/package.Service/Method``."""
    return f"/{method.containing_service.full_name}/{method.name}"
