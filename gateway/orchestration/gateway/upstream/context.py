"""The ServicerContext that handlers get when no gRPC server stands between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import grpc

from orchestration.gateway.upstream import Call, Metadata

STATUS_DETAILS: Final = "grpc-status-details-bin"


class InProcessContext(grpc.aio.ServicerContext[Any, Any]):
    """State of one call, with the methods of `grpc.aio.ServicerContext`."""

    __slots__ = (
        "_callbacks",
        "_cancelled",
        "_code",
        "_deadline",
        "_details",
        "_done",
        "_initial",
        "_metadata",
        "_peer",
        "_reader",
        "_trailing",
        "_writer",
    )

    def __init__(self, call: Call, deadline: float | None) -> None:
        self._metadata = call.metadata
        self._peer = call.peer
        self._deadline = deadline
        self._code: Any = grpc.StatusCode.OK
        self._details = ""
        self._initial: Metadata = ()
        self._trailing: Any = ()
        self._callbacks: list[Callable[[Any], None]] = []
        self._done = False
        self._cancelled = False
        self._reader: Callable[[], Awaitable[Any]] | None = None
        self._writer: Callable[[Any], Awaitable[None]] | None = None

    def attach(
        self,
        reader: Callable[[], Awaitable[Any]] | None = None,
        writer: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """Give the handler `read` and `write`."""
        self._reader, self._writer = reader, writer

    def finish(self, *, cancelled: bool = False) -> None:
        """The call is over: run the callbacks."""
        self._done, self._cancelled = True, cancelled
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def end(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> NoReturn:
        """Note a status and raise `grpc.aio.AbortError`."""
        if code is grpc.StatusCode.OK:
            raise ValueError("a call cannot be aborted with the status OK")
        self._code, self._details = code, details
        if trailing_metadata:
            self._trailing = trailing_metadata
        raise grpc.aio.AbortError("Locally aborted.")

    def status_details(self) -> bytes | None:
        """The google.rpc.Status that the handler has put into its trailing metadata."""
        for key, value in self._trailing or ():
            if key == STATUS_DETAILS:
                return value if isinstance(value, bytes) else value.encode("latin-1")
        return None

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status: raises `grpc.aio.AbortError`."""
        self.end(code, details, trailing_metadata)

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status and its trailing metadata."""
        self.end(status.code, status.details, status.trailing_metadata or ())

    async def read(self) -> Any:
        """The client's next message; `grpc.aio.EOF` at the end."""
        if self._reader is None:
            raise RuntimeError("read() is for methods whose client streams")
        return await self._reader()

    async def write(self, message: Any) -> None:
        """Send a message, waiting until it was taken."""
        if self._writer is None:
            raise RuntimeError("write() is for methods whose server streams")
        await self._writer(message)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Metadata that goes before the messages. Raises RuntimeError when it was sent already."""
        self.keep_initial_metadata(initial_metadata)

    def keep_initial_metadata(self, initial_metadata: Any) -> None:
        """What `send_initial_metadata` does."""
        if self._initial:
            raise RuntimeError("the initial metadata was sent already")
        self._initial = tuple(initial_metadata)

    def initial_metadata(self) -> Metadata:
        """What the handler has sent before its messages."""
        return self._initial

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Replace the trailing metadata."""
        self._trailing = trailing_metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        """Status of a call that returns without aborting."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Message of that status."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing to do: messages do not leave the process."""

    def disable_next_message_compression(self) -> None:
        """Nothing to do: messages do not leave the process."""

    def invocation_metadata(self) -> Any:
        """The caller's metadata, as pairs."""
        return self._metadata

    def peer(self) -> str:
        """The caller's address."""
        return self._peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """None: no transport has proved who calls."""
        return None

    def peer_identity_key(self) -> str | None:
        """None: no transport has proved who calls."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Empty: no transport has proved who calls."""
        return {}

    def time_remaining(self) -> Any:
        """Seconds to the deadline, not below 0; None without one."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def trailing_metadata(self) -> Any:
        """What was set last."""
        return self._trailing

    def code(self) -> Any:
        """The status so far."""
        return self._code

    def details(self) -> str:
        """The message of the status so far."""
        return self._details

    def cancelled(self) -> bool:
        """Whether the caller has gone, or the deadline has passed."""
        return self._cancelled

    def done(self) -> bool:
        """Whether the call is over."""
        return self._done

    def add_done_callback(self, callback: Any) -> None:
        """Call this with the context when the call is over."""
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)
