"""The stream of a client that posts it: a line of JSON for each message, or one JSON array."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

from aiohttp import web

from orchestration.gateway.clientmessages import ClientMessages
from orchestration.gateway.errors import RequestError, Violation, invalid
from orchestration.gateway.jsontext import JsonReader
from orchestration.gateway.negotiation import LINES


def is_lines(request: web.Request) -> bool:
    """Whether the body is NDJSON."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower() in LINES


def read_array(body: bytes) -> list[bytes]:
    """The JSON texts of the messages in a body that is an array, or that is empty. Raises `RequestError`."""
    if not body.strip():
        return []
    # Whether a key stands twice is seen when the element is read: to the reader of no message type pairs are pairs.
    value = JsonReader(None).read(body)
    if not isinstance(value, list):
        text = "expected an array of messages; one message a line is application/x-ndjson"
        raise invalid("INVALID_BODY", [Violation("", text)])
    # In ASCII, as half a character would be no UTF-8: it is for the reader of the message to refuse.
    return [json.dumps(each).encode() for each in value]


async def feed(lines: AsyncIterator[bytes], incoming: ClientMessages) -> None:
    """Hand the lines to the RPC. Raises `RequestError`, naming the line, for one that is no message."""
    number = 0
    async for line in lines:
        number += 1
        try:
            await incoming.take(line)
        except RequestError as error:
            where = {**error.metadata, "message": str(number)}
            refusal = RequestError(
                error.http_status,
                error.code,
                error.reason,
                f"message {number}: {error.message}",
                metadata=where,
                violations=error.violations,
                headers=error.headers,
            )
            raise refusal from error
    incoming.end()


async def answer_of(messages: AsyncGenerator[bytes, None], feeding: asyncio.Task[None]) -> bytes:
    """The one answer of an RPC that is being fed, which may come before all was read.

    Raises:
        RequestError: When the client sends something wrong before the answer.
        UpstreamError: When the RPC fails.
    """
    answering = asyncio.create_task(_one(messages))
    try:
        await asyncio.wait([answering, feeding], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            feeding.result()
        return await answering
    finally:
        for task in (answering, feeding):
            task.cancel()
        await asyncio.wait([answering, feeding])
        await messages.aclose()


async def _one(messages: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(messages)
