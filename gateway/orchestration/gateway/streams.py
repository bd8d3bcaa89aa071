"""Server streams over plain HTTP: lines of JSON, server-sent events, or raw chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol
from urllib.parse import quote, unquote_plus

from aiohttp import web

from orchestration.gateway.errorbody import dump
from orchestration.gateway.errors import RequestError, UpstreamError
from orchestration.gateway.negotiation import EVENT_STREAM, NDJSON
from orchestration.gateway.responses import ResponseEncoder
from orchestration.gateway.values import JsonValue

LAST_EVENT_ID: Final = "Last-Event-ID"


class StreamFormat(Protocol):
    """How messages stand in a body."""

    keepalive: bytes
    """What an idle stream sends; empty for a format that has nothing for that."""

    def content_type(self, first: bytes | None) -> str:
        """Media type of the stream, given its first message if there is one."""
        ...

    def message(self, wire: bytes) -> bytes:
        """One message."""
        ...

    def error(self, body: dict[str, JsonValue]) -> bytes | None:
        """The end by an error; None for a format that cannot tell one, whose stream is then cut off."""
        ...


class JsonLines:
    """One ``{"result": ...}`` a line; an error is a last ``{"error": ...}``, silence a blank line."""

    keepalive = b"\n"

    def __init__(self, encoder: ResponseEncoder) -> None:
        self._encode = encoder.encode

    def content_type(self, first: bytes | None) -> str:
        return NDJSON

    def message(self, wire: bytes) -> bytes:
        return f'{{"result":{self._encode(wire)}}}\n'.encode()

    def error(self, body: dict[str, JsonValue]) -> bytes | None:
        return dump(body if "error" in body else {"error": body}) + b"\n"


class EventStream:
    """Server-sent events, each with its cursor as its id where the message has one."""

    keepalive = b": keep-alive\n\n"

    def __init__(self, encoder: ResponseEncoder) -> None:
        self._encode = encoder.encode
        self._cursor = encoder.cursor

    def content_type(self, first: bytes | None) -> str:
        return EVENT_STREAM

    def message(self, wire: bytes) -> bytes:
        text = self._encode(wire)
        cursor = "" if self._cursor is None else _string_at(json.loads(text), self._cursor)
        # An id with a line break would end the field, one with NUL would be ignored.
        event_id = f"id: {cursor}\n" if cursor and cursor.isprintable() else ""
        return f"{event_id}data: {text}\n\n".encode()

    def error(self, body: dict[str, JsonValue]) -> bytes | None:
        return b"event: error\ndata: " + dump(body) + b"\n\n"


class RawChunks:
    """The bytes of google.api.HttpBody messages, one after the other."""

    keepalive = b""

    def __init__(self, encoder: ResponseEncoder) -> None:
        self._encode = encoder.encode_raw

    def content_type(self, first: bytes | None) -> str:
        return "application/octet-stream" if first is None else self._encode(first)[1]

    def message(self, wire: bytes) -> bytes:
        return self._encode(wire)[0]

    def error(self, body: dict[str, JsonValue]) -> bytes | None:
        return None


def _string_at(value: JsonValue, names: Sequence[str]) -> str:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def resume_query(query: str, name: str, last_event_id: str) -> str:
    """The query of an event stream taken up again: what the browser saw last stands for the cursor it began with."""
    kept = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) != name]
    return "&".join([*kept, f"{name}={quote(last_event_id, safe='')}"])


class _Body:
    """A body that says something at least every so often."""

    def __init__(self, response: web.StreamResponse, keepalive: bytes, interval_s: float) -> None:
        self._response = response
        self._keepalive = keepalive
        self._interval_s = interval_s
        self._silent = True

    async def write(self, data: bytes) -> None:
        """Send, waiting for the client where it is slow."""
        self._silent = False
        if data:
            await self._response.write(data)

    async def keep_alive(self, owner: asyncio.Task[None] | None) -> None:
        """Break silences, until cancelled. Cancels the owner when the client is found to have gone."""
        while True:
            self._silent = True
            await asyncio.sleep(self._interval_s)
            if self._silent:
                try:
                    await self._response.write(self._keepalive)
                except ConnectionError:
                    if owner is not None:
                        owner.cancel()
                    return


async def serve_stream(
    request: web.Request,
    messages: AsyncGenerator[bytes, None],
    form: StreamFormat,
    headers: Mapping[str, str],
    tell: Callable[[RequestError | UpstreamError], dict[str, JsonValue]],
    *,
    start_s: float,
    keepalive_s: float,
) -> web.StreamResponse:
    """Send a stream of messages.

    Args:
        request: What to answer.
        messages: The RPC's messages; closed at the end, whatever the end is.
        form: How they stand in the body.
        headers: Of the answer.
        tell: Makes an error's JSON.
        start_s: How long the status line waits for the first message.
        keepalive_s: Longest silence.

    Raises:
        UpstreamError: For an error that came before the status line was sent.
    """
    pending = asyncio.ensure_future(_next(messages))
    try:
        await asyncio.wait([pending], timeout=start_s)
        first = pending.result() if pending.done() else None
        response = web.StreamResponse(headers={**headers, "Content-Type": form.content_type(first)})
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Accel-Buffering"] = "no"
        await response.prepare(request)
        body = _Body(response, form.keepalive, keepalive_s)
        with suppress(ConnectionError):
            await _write_all(body, pending, messages, form, tell, keep=bool(form.keepalive))
            await response.write_eof()
        return response
    finally:
        pending.cancel()
        await asyncio.wait([pending])
        await messages.aclose()


async def _next(messages: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(messages, None)


async def _write_all(
    body: _Body,
    pending: asyncio.Future[bytes | None],
    messages: AsyncGenerator[bytes, None],
    form: StreamFormat,
    tell: Callable[[RequestError | UpstreamError], dict[str, JsonValue]],
    *,
    keep: bool,
) -> None:
    ticker = asyncio.create_task(body.keep_alive(asyncio.current_task())) if keep else None
    try:
        wire = await pending
        while wire is not None:
            await body.write(form.message(wire))
            wire = await anext(messages, None)
    except UpstreamError as error:
        last = form.error(tell(error))
        if last is None:
            raise ConnectionResetError("the stream failed, which its format cannot say") from error
        await body.write(last)
    finally:
        if ticker is not None:
            ticker.cancel()
            await asyncio.wait([ticker])
