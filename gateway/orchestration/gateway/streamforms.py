"""How the messages of a server's stream stand in the body of a plain HTTP answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from orchestration.gateway.errorbody import dump
from orchestration.gateway.negotiation import EVENT_STREAM, JSON, NDJSON
from orchestration.gateway.responses import ResponseEncoder
from orchestration.gateway.values import JsonValue


class StreamForm(Protocol):
    """A format, for one stream."""

    keepalive: bytes
    """What an idle stream sends; empty for a format that has nothing for that."""
    head: bytes
    """What the body begins with."""
    tail: bytes
    """What it ends with after an RPC that ended well."""
    cuts_off: bool
    """Whether a body that ends by an error must look cut off, as no reader would take its last words for an error."""

    def content_type(self, first: bytes | None) -> str:
        """Media type of the stream, given its first message if there is one."""
        ...

    def message(self, wire: bytes) -> bytes:
        """One message."""
        ...

    def error(self, body: dict[str, JsonValue]) -> bytes:
        """The end by an error."""
        ...


class JsonLines:
    """One ``{"result": ...}`` a line; an error is a last ``{"error": ...}``, silence a blank line."""

    keepalive = b"\n"
    head = b""
    tail = b""
    cuts_off = False

    def __init__(self, encoder: ResponseEncoder) -> None:
        self._encode = encoder.encode

    def content_type(self, first: bytes | None) -> str:
        """NDJSON."""
        return NDJSON

    def message(self, wire: bytes) -> bytes:
        """A line."""
        return f'{{"result":{self._encode(wire)}}}\n'.encode()

    def error(self, body: dict[str, JsonValue]) -> bytes:
        """The last line."""
        return enveloped(body) + b"\n"


class JsonArray:
    """One JSON array of the messages as they are; after an error it ends with ``{"error": ...}`` and stays open.

    The element alone could be a message, so that the array is not closed and the body is cut off too: neither a JSON
    parser nor an HTTP client takes it for whole.
    """

    keepalive = b"\n"
    head = b"["
    tail = b"]"
    cuts_off = True

    def __init__(self, encoder: ResponseEncoder) -> None:
        self._encode = encoder.encode
        self._separator = ""

    def content_type(self, first: bytes | None) -> str:
        """JSON."""
        return JSON

    def message(self, wire: bytes) -> bytes:
        """An element."""
        text = self._separator + self._encode(wire)
        self._separator = ",\n"
        return text.encode()

    def error(self, body: dict[str, JsonValue]) -> bytes:
        """An element that is the last."""
        return self._separator.encode() + enveloped(body)


class EventStream:
    """Server-sent events, each with its cursor as its id where the message has one.

    ``event: end`` follows the last message: a browser takes a stream that merely ends for a broken one, and comes back.
    """

    keepalive = b": keep-alive\n\n"
    tail = b"event: end\ndata: {}\n\n"
    cuts_off = False

    def __init__(self, encoder: ResponseEncoder, retry_s: float) -> None:
        self._encode = encoder.encode_event
        self.head = f"retry: {round(retry_s * 1000)}\n\n".encode()

    def content_type(self, first: bytes | None) -> str:
        """Events."""
        return EVENT_STREAM

    def message(self, wire: bytes) -> bytes:
        """An event without a name, which browsers hand to ``onmessage``."""
        text, cursor = self._encode(wire)
        # An id with a line break would end the field, one with NUL would be ignored.
        event_id = f"id: {cursor}\n" if cursor and cursor.isprintable() else ""
        return f"{event_id}data: {text}\n\n".encode()

    def error(self, body: dict[str, JsonValue]) -> bytes:
        """An event of the name ``error``."""
        return b"event: error\ndata: " + dump(body) + b"\n\n"


class RawChunks:
    """The bytes of google.api.HttpBody messages, one after the other; by an error they are cut off."""

    keepalive = b""
    head = b""
    tail = b""
    cuts_off = True

    def __init__(self, encoder: ResponseEncoder) -> None:
        self._encode = encoder.encode_raw

    def content_type(self, first: bytes | None) -> str:
        """That of the first message."""
        return "application/octet-stream" if first is None else self._encode(first)[1]

    def message(self, wire: bytes) -> bytes:
        """Its data."""
        return self._encode(wire)[0]

    def error(self, body: dict[str, JsonValue]) -> bytes:
        """Nothing: whatever came would be taken for data."""
        return b""


def enveloped(body: dict[str, JsonValue]) -> bytes:
    """An error under the name ``error``, whichever format errors have."""
    return dump(body if "error" in body else {"error": body})


FORMS: Final[Mapping[str, Callable[[ResponseEncoder], StreamForm]]] = {NDJSON: JsonLines, JSON: JsonArray}
"""The formats of JSON by their media types."""
