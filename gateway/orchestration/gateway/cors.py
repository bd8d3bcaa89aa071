"""Answers to OPTIONS, and what browsers of other origins may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web

from orchestration.gateway.headers import names_host

_EXPOSED: Final = "X-Request-Id, Retry-After, ETag, Location"
_MAX_AGE_S: Final = "600"


class Cors:
    """The origins that are let in."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)
        self.enabled: Final = bool(origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        return "*" in self._origins or origin in self._origins

    def headers(self, request: web.Request) -> dict[str, str]:
        """What an answer to this request carries."""
        origin = request.headers.get("Origin")
        if not self.enabled:
            return {}
        if origin is None or not self.allows(origin):
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _EXPOSED,
            "Vary": "Origin",
        }

    def add_to(self, request: web.Request, response: web.Response) -> web.Response:
        """The response with these headers."""
        for name, value in self.headers(request).items():
            there = response.headers.get(name)
            response.headers[name] = f"{there}, {value}" if there and name == "Vary" else value
        return response

    def preflight(self, request: web.Request, methods: Iterable[str]) -> dict[str, str]:
        """What the answer to OPTIONS carries."""
        allowed = ", ".join(sorted(methods))
        headers = {"Allow": allowed, **self.headers(request)}
        if "Access-Control-Allow-Origin" in headers and "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = allowed
            headers["Access-Control-Max-Age"] = _MAX_AGE_S
            wanted = request.headers.get("Access-Control-Request-Headers")
            if wanted:
                headers["Access-Control-Allow-Headers"] = wanted
        return headers

    def lets_socket(self, request: web.Request) -> bool:
        """Whether a WebSocket may be opened: browsers ask for no leave, so that their origin must be looked at."""
        origin = request.headers.get("Origin")
        return origin is None or self.allows(origin) or names_host(origin, [request.headers.get("Host", "")])
