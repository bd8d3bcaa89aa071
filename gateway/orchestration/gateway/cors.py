"""Answers to OPTIONS, and what browsers of other origins may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.headers import names_host

_EXPOSED: Final = ("X-Request-Id", "Retry-After", "ETag", "Link", "Location", "WWW-Authenticate")
_PREFLIGHT_VARY: Final = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class Cors:
    """The origins that are let in."""

    def __init__(self, config: GatewayConfig) -> None:
        self._origins = frozenset(config.cors_origins)
        self._all = "*" in self._origins
        self._max_age = str(config.cors_max_age_s)
        self._granted = {"Access-Control-Expose-Headers": ", ".join((*_EXPOSED, *config.cors_expose))}
        if config.cors_credentials:
            self._granted["Access-Control-Allow-Credentials"] = "true"
        self.enabled: Final = bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        return self._all or origin in self._origins

    def headers(self, request: web.BaseRequest) -> dict[str, str]:
        """What an answer to this request carries."""
        if not self.enabled:
            return {}
        if self._all:  # the same for everybody, so that caches need not tell origins apart
            return {"Access-Control-Allow-Origin": "*", **self._granted}
        origin = request.headers.get("Origin")
        if origin is None or not self.allows(origin):
            return {"Vary": "Origin"}
        return {"Access-Control-Allow-Origin": origin, **self._granted, "Vary": "Origin"}

    @staticmethod
    def is_preflight(request: web.Request) -> bool:
        """Whether a browser asks for leave: never for a method, not even for one that takes all HTTP methods."""
        return (
            request.method == "OPTIONS"
            and "Origin" in request.headers
            and "Access-Control-Request-Method" in request.headers
        )

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
        if not self.enabled:
            return headers
        headers["Vary"] = _PREFLIGHT_VARY
        if "Access-Control-Allow-Origin" in headers and "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = allowed
            headers["Access-Control-Max-Age"] = self._max_age
            wanted = request.headers.get("Access-Control-Request-Headers")
            if wanted:
                headers["Access-Control-Allow-Headers"] = wanted
        return headers

    def lets_socket(self, request: web.Request, hosts: Sequence[str]) -> bool:
        """Whether a WebSocket may be opened: browsers ask for no leave, so that their origin must be looked at.

        Args:
            request: The handshake.
            hosts: The names of this server, whose own pages are let in.
        """
        origin = request.headers.get("Origin")
        return origin is None or self.allows(origin) or names_host(origin, hosts)
