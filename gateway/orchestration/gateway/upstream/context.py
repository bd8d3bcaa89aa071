"""The ServicerContext that handlers get when no gRPC server stands between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, cast

import grpc

from orchestration.gateway.errors import UpstreamError
from orchestration.gateway.upstream import Call, Metadata, Reply

log = logging.getLogger(__name__)

STATUS_DETAILS: Final = "grpc-status-details-bin"
UNREADABLE: Final = "The request cannot be read by the service: is it nested too deeply?"
"""What is said of a message that is well-formed, and deeper than the service's protobuf runtime goes."""
DEADLINE_EXCEEDED: Final = "Deadline Exceeded"
_UNKNOWN: Final = grpc.StatusCode.UNKNOWN.value[0]


class InProcessContext:
    """State of one call, with the methods of `grpc.aio.ServicerContext`, which do what they do on a server."""

    __slots__ = (
        "_aborted",
        "_answered",
        "_callbacks",
        "_cancelled",
        "_code",
        "_deadline",
        "_details",
        "_done",
        "_initial",
        "_initial_sent",
        "_metadata",
        "_peer",
        "_reader",
        "_trailing",
        "_writer",
        "admitted",
    )

    def __init__(self, call: Call, deadline: float | None) -> None:
        self.admitted: Final = call.admitted
        """What the gateway was given when it let the caller in; a server's context has no such thing."""
        self._metadata = call.metadata
        self._peer = call.peer
        self._deadline = deadline
        self._aborted: grpc.aio.AbortError | None = None
        self._answered: tuple[Any, str, Any] | None = None
        self._code: Any = None
        self._details = ""
        self._initial: Metadata = ()
        self._initial_sent = False
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
        """The call is over: run the callbacks. One that raises is logged; it changes nothing for the caller."""
        self._done, self._cancelled = True, cancelled
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                log.exception("a callback at the end of a call failed")

    def end(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> NoReturn:
        """Note a status and raise `grpc.aio.AbortError`. The first abort of a call stands, whatever comes later."""
        if self._aborted is not None:
            raise grpc.aio.UsageError("Abort already called!")
        if code is grpc.StatusCode.OK:
            raise ValueError("a call cannot be aborted with the status OK")
        if not isinstance(trailing_metadata, tuple):
            raise TypeError(f"trailing_metadata must be a tuple of pairs, not {type(trailing_metadata).__name__}")
        self._aborted = grpc.aio.AbortError("Locally aborted.")
        self._code = code
        # What was set before stands for what the abort leaves out.
        self._details = details or self._details
        if trailing_metadata:
            self._trailing = _checked(cast("tuple[object, ...]", trailing_metadata))
        self._answered = self._code, self._details, self._trailing
        raise self._aborted

    @property
    def aborted(self) -> bool:
        """Whether the handler has aborted the call, even if it has caught what that raised."""
        return self._aborted is not None

    def raise_if_aborted(self) -> None:
        """Raise the `grpc.aio.AbortError` of a call whose handler has caught it and goes on."""
        if self._aborted is not None:
            raise self._aborted

    @property
    def failed(self) -> bool:
        """Whether the status so far is another than OK."""
        if self._aborted is not None:
            return True
        return self._code is not None and self._code is not grpc.StatusCode.OK and self._code != 0

    def status(self) -> tuple[int, str, bytes | None]:
        """The status so far: the number of its code, its message, and the google.rpc.Status that goes with it."""
        code, details, trailing = self._answer()
        number = code.value[0] if isinstance(code, grpc.StatusCode) else code
        return number if isinstance(number, int) else _UNKNOWN, details, _status_details(trailing)

    def _answer(self) -> tuple[Any, str, Any]:
        """Code, message and trailing metadata: those of the abort, whatever was set since."""
        return self._answered or (self._code, self._details, self._trailing)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status: raises `grpc.aio.AbortError`."""
        self.end(code, details, trailing_metadata)

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status and its trailing metadata."""
        self.end(status.code, status.details, status.trailing_metadata or ())

    async def read(self) -> Any:
        """The client's next message; `grpc.aio.EOF` at the end."""
        self.raise_if_aborted()
        return grpc.aio.EOF if self._reader is None else await self._reader()

    async def write(self, message: Any) -> None:
        """Send a message, waiting until it was taken."""
        self.raise_if_aborted()
        if self._writer is None:
            raise RuntimeError("write() is for methods whose server streams")
        self._initial_sent = True
        await self._writer(message)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Metadata that goes before the messages. Raises `grpc.aio.UsageError` when it was sent already."""
        self.keep_initial_metadata(initial_metadata)

    def keep_initial_metadata(self, initial_metadata: Any) -> None:
        """What `send_initial_metadata` does."""
        self.raise_if_aborted()
        if self._initial_sent:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self._initial_sent = True
        self._initial = tuple(initial_metadata)

    def tell(self, reply: Reply) -> None:
        """Write down the metadata sent so far."""
        reply.initial, (_, _, reply.trailing) = self._initial, self._answer()

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Replace the trailing metadata. Raises TypeError for what is no sequence of pairs."""
        self._trailing = _checked(trailing_metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Status of a call that returns without aborting; a number of no gRPC code is passed on as it is."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Message of that status."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing to do: messages do not leave the process. Raises RuntimeError once messages may be on their way."""
        if self._initial_sent:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")

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
        """The status so far; None until one was set, as on a server."""
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


def _checked(metadata: Any) -> Metadata:
    if metadata.__class__ is tuple and all(map(_is_text, metadata)):
        return metadata
    pairs: list[Any] = list(metadata) if hasattr(metadata, "__iter__") else [metadata]
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(cast("tuple[object, ...]", pair)) == 2):
            raise TypeError(f"metadata is pairs of a key and a value, not {pair!r}")
        key, value = cast("tuple[object, object]", pair)
        if not isinstance(key, str) or not isinstance(value, str | bytes):
            raise TypeError(f"metadata is pairs of a string and a string or bytes, not {pair!r}")
    return tuple(pairs)


def _is_text(pair: Any) -> bool:
    return pair.__class__ is tuple and len(pair) == 2 and pair[0].__class__ is pair[1].__class__ is str


def _status_details(trailing: Any) -> bytes | None:
    for key, value in trailing or ():
        if key == STATUS_DETAILS:
            return value if isinstance(value, bytes) else value.encode("latin-1")
    return None


def miscounted() -> UpstreamError:
    """The error of a service that gives no answer, or a second one, where there must be one."""
    code: int = grpc.StatusCode.INTERNAL.value[0]
    return UpstreamError(code, unexpected(code))


def unexpected(code: int) -> str:
    """What callers are told of a handler that raised: nothing of the exception."""
    if code == grpc.StatusCode.UNIMPLEMENTED.value[0]:
        return "The service does not implement this method."
    return "The service failed unexpectedly."
