"""How a WebSocket is asked for: RFC 6455's opening handshake, and the token that may come with it."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import grpc
from aiohttp import web

from orchestration.gateway.errors import RequestError, Violation, invalid

BEARER: Final = "bearer"
"""Subprotocol whose next name is a bearer token: browsers cannot set the Authorization header."""

_PROTOCOLS: Final = "Sec-WebSocket-Protocol"
_VERSION: Final = "13"
_KEY_BYTES: Final = 16


def is_upgrade(request: web.Request) -> bool:
    """Whether the client asks for a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def check_handshake(request: web.Request) -> None:
    """Raises `RequestError`, naming the header, for a handshake that is none."""
    headers = request.headers
    if "upgrade" not in {each.strip().lower() for each in headers.get("Connection", "").split(",")}:
        raise invalid("INVALID_HANDSHAKE", [Violation("Connection", "expected Upgrade")])
    if headers.get("Sec-WebSocket-Version", "") != _VERSION:
        raise RequestError(
            426,
            grpc.StatusCode.FAILED_PRECONDITION,
            "INVALID_HANDSHAKE",
            f"Sec-WebSocket-Version: expected {_VERSION}",
            metadata={"header": "Sec-WebSocket-Version"},
            headers={"Sec-WebSocket-Version": _VERSION, "Upgrade": "websocket", "Connection": "Upgrade"},
        )
    try:
        size = len(base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != _KEY_BYTES:
        raise invalid("INVALID_HANDSHAKE", [Violation("Sec-WebSocket-Key", f"expected {_KEY_BYTES} bytes in base64")])


def offered(request: web.Request) -> list[str]:
    """The subprotocols that the client names, in its order."""
    return [name.strip() for name in ",".join(request.headers.getall(_PROTOCOLS, ())).split(",") if name.strip()]


def bearer_token(request: web.Request) -> str | None:
    """The token in ``Sec-WebSocket-Protocol: bearer, TOKEN``."""
    names = offered(request)
    if len(names) == 2 and names[0].lower() == BEARER and "Authorization" not in request.headers:
        return names[1]
    return None


def accepted(request: web.Request) -> list[str]:
    """The subprotocol to answer with: ``bearer`` as the client spells it. What comes after it is never sent back."""
    return [name for name in offered(request) if name.lower() == BEARER][:1]
