"""Server streams over plain HTTP: a body that grows as fast as its reader reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_plus

from aiohttp import web
from multidict import CIMultiDict

from orchestration.gateway.errors import RequestError, UpstreamError, Violation, invalid
from orchestration.gateway.schema import is_text
from orchestration.gateway.streamforms import StreamForm
from orchestration.gateway.values import JsonValue

LAST_EVENT_ID: Final = "Last-Event-ID"

Tell = Callable[[RequestError | UpstreamError], dict[str, JsonValue]]
Messages = AsyncGenerator[bytes, None]


def resume_query(query: str, spellings: Sequence[str], last_event_id: str) -> str:
    """The query of an event stream taken up again: what the browser saw last stands for the cursor it began with.

    Args:
        query: As sent.
        spellings: Of the cursor's field.
        last_event_id: The cursor.

    Raises `RequestError` for what no field can hold.
    """
    if not is_text(last_event_id):
        raise invalid("INVALID_HEADER", [Violation(LAST_EVENT_ID, "is not UTF-8")], {"header": LAST_EVENT_ID})
    kept = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in spellings]
    return "&".join([*kept, f"{spellings[0]}={quote(last_event_id, safe='')}"])


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a stream, in seconds."""

    start_s: float
    """How long the status line waits for the first message."""
    keepalive_s: float
    """Longest silence."""


class _Body:
    """A body that says something at least every so often."""

    def __init__(self, response: web.StreamResponse, keepalive: bytes, interval_s: float) -> None:
        self._response = response
        self._keepalive = keepalive
        self._interval_s = interval_s
        self._silent = True
        self._writing = False

    async def write(self, data: bytes) -> None:
        """Send, waiting for the client where it is slow."""
        self._silent = False
        if not data:
            return
        self._writing = True
        try:
            await self._response.write(data)
        finally:
            self._writing = False

    async def keep_alive(self, owner: asyncio.Task[None] | None) -> None:
        """Break silences, until cancelled. Cancels the owner when the client is found to have gone."""
        while True:
            self._silent = True
            await asyncio.sleep(self._interval_s)
            if self._silent and not self._writing:  # a client that does not read needs no sign of life
                try:
                    await self._response.write(self._keepalive)
                except ConnectionError:
                    if owner is not None:
                        owner.cancel()
                    return


class StreamAnswer:
    """One stream on its way to the client.

    Args:
        messages: The RPC's messages; closed at the end, whatever the end is.
        form: How they stand in the body.
        tell: Makes an error's JSON.
        pace: When something is sent though there is no message.
    """

    def __init__(self, messages: Messages, form: StreamForm, tell: Tell, pace: Pace) -> None:
        self._messages = messages
        self._form = form
        self._tell = tell
        self._pace = pace

    async def send(
        self, request: web.Request, headers: Callable[[], CIMultiDict[str]], *, resumed: bool = False
    ) -> web.StreamResponse:
        """Send the stream.

        Args:
            request: What to answer.
            headers: Gives those of the answer, once the first message is there.
            resumed: Whether the client has come back for the rest: if there is none, it is told not to come again.

        Raises:
            UpstreamError: For an error that came before the status line was sent.
        """
        pending = asyncio.ensure_future(_next(self._messages))
        try:
            await asyncio.wait([pending], timeout=self._pace.start_s)
            if pending.done() and pending.result() is None and resumed:
                return web.Response(status=204, headers=headers())
            response = web.StreamResponse(headers=headers())
            response.headers["Content-Type"] = self._form.content_type(pending.result() if pending.done() else None)
            response.headers["Cache-Control"] = "no-cache"
            response.headers["X-Accel-Buffering"] = "no"
            with suppress(ConnectionError):
                await response.prepare(request)
                await self._write_all(request, response, pending)
            return response
        finally:
            pending.cancel()
            await asyncio.wait([pending])
            await self._messages.aclose()

    async def _write_all(
        self, request: web.Request, response: web.StreamResponse, pending: asyncio.Future[bytes | None]
    ) -> None:
        form = self._form
        body = _Body(response, form.keepalive, self._pace.keepalive_s)
        ticker = asyncio.create_task(body.keep_alive(asyncio.current_task())) if form.keepalive else None
        try:
            await body.write(form.head)
            wire = await pending
            while wire is not None:
                await body.write(form.message(wire))
                wire = await anext(self._messages, None)
            await body.write(form.tail)
        except UpstreamError as error:
            await body.write(form.error(self._tell(error)))
            if form.cuts_off:
                await _cut_off(request)
                return
        finally:
            if ticker is not None:
                ticker.cancel()
                await asyncio.wait([ticker])
        await response.write_eof()


async def _next(messages: Messages) -> bytes | None:
    return await anext(messages, None)


async def _cut_off(request: web.Request) -> None:
    """Close the connection without the last chunk, after what was written has gone out."""
    if request.transport is not None:
        request.transport.close()
