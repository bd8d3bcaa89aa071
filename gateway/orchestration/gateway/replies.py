"""A service's metadata as HTTP has it: headers, trailers, and the status of an answer that is OK."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator
from typing import Final

from aiohttp import HttpVersion11, web

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.upstream import Metadata, Reply

log = logging.getLogger(__name__)

NO_BODY: Final = frozenset({204, 304})
"""Statuses whose answers end with their head."""

_HEADER: Final = "Grpc-Metadata-"
_TRAILER: Final = "Grpc-Trailer-"
_STATUS: Final = "x-http-code"
_LOCATION: Final = "location"
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_OWN: Final = frozenset({"x-request-id", "content-type", "user-agent"})
"""Keys that answers have as headers of their own, or that speak of gRPC's own transport."""


class ReplyHeaders:
    """Chooses what callers see of metadata."""

    def __init__(self, config: GatewayConfig) -> None:
        self._all = "*" in config.response_metadata
        self._keys = frozenset(key.lower() for key in config.response_metadata)
        self._chooses_status = config.metadata_status
        self.wanted: Final = bool(config.response_metadata) or config.metadata_status
        """Whether metadata is looked at at all."""

    def headers(self, reply: Reply) -> list[tuple[str, str]]:
        """Headers of an answer, whether good or not."""
        return list(self._named(reply.initial, _HEADER))

    def trailers(self, request: web.Request, reply: Reply) -> list[tuple[str, str]]:
        """HTTP trailers; none for a request that does not say that it takes them."""
        if not reply.trailing or "TE" not in request.headers or request.version < HttpVersion11:
            return []
        codings = (each.partition(";")[0].strip() for each in request.headers["TE"].lower().split(","))
        return list(self._named(reply.trailing, _TRAILER)) if "trailers" in codings else []

    def apply_status(self, reply: Reply, response: web.Response) -> None:
        """Give a good answer the status and the Location that the service chose."""
        if not self._chooses_status:
            return
        for key, value in (*reply.initial, *reply.trailing):
            if key == _STATUS:
                _set_status(response, value)
            elif key == _LOCATION and isinstance(value, str) and _VALUE.fullmatch(value):
                response.headers["Location"] = value

    def _named(self, metadata: Metadata, prefix: str) -> Iterator[tuple[str, str]]:
        for key, value in metadata:
            if not self._shows(key):
                continue
            if isinstance(value, bytes):
                yield prefix + key, base64.b64encode(value).decode()
            elif _VALUE.fullmatch(value) is None:
                # gRPC itself refuses it; in a header it could begin another one.
                log.warning("metadata %s is left out: its value is not printable ASCII", key)
            else:
                yield prefix + key, value

    def _shows(self, key: str) -> bool:
        if key.startswith("grpc-") or key in _OWN or _KEY.fullmatch(key) is None:
            return False
        if self._chooses_status and key in (_STATUS, _LOCATION):
            return False
        return self._all or key in self._keys


def _set_status(response: web.Response, value: str | bytes) -> None:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not (len(text) == 3 and text.isascii() and text.isdigit() and 200 <= int(text) < 400):
        log.warning("metadata %s is not heeded: %r is no status from 200 to 399", _STATUS, text)
        return
    response.set_status(int(text))
    if int(text) in NO_BODY:
        response.body = None
        response.headers.popall("Content-Type", None)


async def send_with_trailers(
    request: web.Request, answer: web.Response, trailers: list[tuple[str, str]]
) -> web.StreamResponse:
    """Send an answer in chunks, with trailers after the last one."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.headers["Trailer"] = ", ".join(dict.fromkeys(name for name, _ in trailers))
    response.enable_chunked_encoding()
    writer = await response.prepare(request)
    if isinstance(answer.body, bytes) and answer.body and request.method != "HEAD":
        await response.write(answer.body)
    if request.method != "HEAD":
        # aiohttp knows no trailers: the last chunk and what follows it are written as they are.
        writer.chunked = False  # type: ignore[union-attr]
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
        await response.write(f"0\r\n{lines}\r\n".encode())
    await response.write_eof()
    return response
