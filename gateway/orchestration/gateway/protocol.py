"""A connection of the server around a gateway: answers of the gateway's own to what is not even HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, cast

import grpc
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from orchestration.gateway.errors import RequestError, UpstreamError
from orchestration.gateway.gateway import Gateway
from orchestration.gateway.headers import Head
from orchestration.gateway.inplace import InPlace
from orchestration.gateway.stalls import StallGuard

log = logging.getLogger(__name__)


class Protocol(web.RequestHandler):
    """Answers errors as the gateway does, where aiohttp would answer in plain text with what it found wrong; and cuts
    off clients that read nothing, for which aiohttp waits for ever."""

    __slots__ = ("_gateway", "_guard", "head")

    def __init__(self, server: web.Server, gateway: Gateway, **options: Any) -> None:
        super().__init__(server, **options)
        self._gateway = gateway
        self._guard: StallGuard | None = None
        self.head: Head | None = None
        """What the headers of the last request said."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self._guard = StallGuard(cast("asyncio.Transport", transport), self._gateway.config.write_timeout_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        if self._guard is not None:
            self._guard.end()
            self._guard = None

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
