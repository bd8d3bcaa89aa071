"""A connection of the server around a gateway: answers of the gateway's own to what is not even HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, cast

import grpc
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from orchestration.gateway.errors import RequestError, UpstreamError
from orchestration.gateway.gateway import Gateway
from orchestration.gateway.headers import Head
from orchestration.gateway.inplace import InPlace
from orchestration.gateway.repeats import Repeated, Repeats
from orchestration.gateway.stalls import StallGuard

log = logging.getLogger(__name__)


class Protocol(web.RequestHandler):
    """Answers errors as the gateway does, where aiohttp would answer in plain text with what it found wrong; cuts off
    clients that read nothing, for which aiohttp waits for ever; and answers a request whose head came before by itself,
    while aiohttp waits for the next one."""

    __slots__ = ("_call", "_context", "_gateway", "_guard", "_held", "head", "repeats")

    def __init__(self, server: web.Server, gateway: Gateway, **options: Any) -> None:
        super().__init__(server, **options)
        self._gateway = gateway
        self._guard: StallGuard | None = None
        self.head: Head | None = None
        """What the headers of the last request said."""
        self.repeats = Repeats()
        """What came on the connection, and may come again."""
        self._call: asyncio.Task[None] | None = None
        """Of the request that is answered by its head alone, without aiohttp."""
        self._context = copy_context()
        """Without what any request has set."""
        self._held = bytearray()
        """What came while it is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self._guard = StallGuard(cast("asyncio.Transport", transport), self._gateway.config.write_timeout_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self.repeats.forget()
        self._held.clear()
        if self._call is not None:
            self._call.cancel()
        if self._guard is not None:
            self._guard.end()
            self._guard = None

    def data_received(self, data: bytes) -> None:
        """Called by the event loop; by aiohttp too, with nothing, to go on with what it holds back."""
        if self._call is not None:
            self._hold(data)
            return
        if data and self._is_idle():
            found = self.repeats.find(data)
            if found is not None:
                self._call = task = _start_at_once(self._repeat(*found), self._context.copy())
                if task.done():
                    self._call = None
                return
        self.repeats.fed(data)
        super().data_received(data)

    def _is_idle(self) -> bool:
        """Whether aiohttp waits for the next request, and would take one."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not (self._close or self._force_close)

    def _hold(self, data: bytes) -> None:
        """Keep what comes while a request is answered, and take no more when it is much."""
        self._held += data
        if len(self._held) >= self._read_bufsize and not self._buffer_paused:
            self._pause_reading_for_buffer()

    async def _repeat(self, repeated: Repeated, body: bytes) -> None:
        """Answer a request by its head and its body. The connection ends with anything but a whole answer."""
        assert self._manager is not None
        self._manager.requests_count += 1
        ends = True
        try:
            sent, last = await self._gateway.repeat(repeated, body)
            if self.transport is not None:
                self.transport.write(sent)
            await self._drain_helper()
            ends = last or self._close
        except ConnectionError:
            pass  # the client has gone
        except Exception:
            log.exception("an answer could not be sent")
        finally:
            self._call = None
            if ends:
                self.force_close()
            else:
                self._go_on()

    def _go_on(self) -> None:
        """After an answer, take what came meanwhile."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            if self._buffer_paused:
                self._resume_reading_for_buffer()
            self.data_received(held)

    def _process_keepalive(self) -> None:
        """Called by a timer of aiohttp's, to which the connection is idle while a request is answered by its head."""
        if self._call is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = None  # there is another when the request is answered

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Called by aiohttp when the server stops: what is under way has so long, in seconds."""
        if self._call is not None:
            await asyncio.wait([self._call], timeout=timeout)
        await super().shutdown(timeout)

    def pause_writing(self) -> None:
        """Called by the event loop when much waits to be sent."""
        super().pause_writing()
        if self._guard is not None:
            self._guard.begin()

    def resume_writing(self) -> None:
        """Called by the event loop when most of it has been sent."""
        super().resume_writing()
        if self._guard is not None:
            self._guard.end()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called when a body was read. Where nothing is held back, aiohttp would parse once more to find that out."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    async def start(self) -> None:
        """Serve the connection. When it is closed, what still waits to be sent must go out in time."""
        if sys.version_info < (3, 12):
            self._loop = cast("asyncio.AbstractEventLoop", InPlace(self._loop, self._messages))
        try:
            await super().start()
        finally:
            if self._guard is not None:
                self._guard.begin()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Called by aiohttp to send an answer.

        Of what comes along with a request that asks for a protocol other than WebSocket, aiohttp loses what follows it:
        whoever sent it learns from the end of the connection that it was not answered.
        """
        asked = request.headers.get("Upgrade")
        if asked is not None and asked.lower() != "websocket" and not self.repeats.is_one():
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that cannot be parsed, or whose handler failed unexpectedly."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was cut off: its handler failed in the middle of it") from exc
        error = _error(request, status, exc)
        response = self._gateway.failure(request, error)
        response.force_close()
        return response


def _error(request: web.BaseRequest, status: int, exc: BaseException | None) -> RequestError | UpstreamError:
    if isinstance(exc, HttpProcessingError):
        log.info("%s sent what is no HTTP request: %s", request.remote, type(exc).__name__)
        return _unreadable(exc)
    log.error("a request failed unexpectedly (%d)", status, exc_info=exc)
    return UpstreamError(grpc.StatusCode.INTERNAL.value[0], "The request failed unexpectedly.")


def _unreadable(exc: HttpProcessingError) -> RequestError:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    if isinstance(exc, LineTooLong):
        if "bytearray(" in exc.message:  # the parser gives the target so, and a header's parts as bytes
            return RequestError(414, invalid, "URI_TOO_LONG", "the request line is too long")
        return RequestError(431, invalid, "HEADERS_TOO_LARGE", "a header is too long")
    if "Too many headers" in exc.message:
        return RequestError(431, invalid, "HEADERS_TOO_LARGE", "there are too many headers")
    if isinstance(exc, BadHttpMethod) and "Invalid method" in exc.message:
        text = "the method is not one that HTTP knows"
        return RequestError(501, grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN", text)
    return RequestError(400, invalid, "MALFORMED_REQUEST", "this is no well-formed HTTP/1.1 request")


def _start_at_once(work: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
    """A task with these context variables, begun here and now where Python can."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, context=context, eager_start=True)
    return loop.create_task(work, context=context)
