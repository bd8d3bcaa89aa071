"""The document and its page over HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from aiohttp import web

from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.openapi.config import JsonObject
from orchestration.gateway.openapi.content import Content

Handler = Callable[[web.Request], Awaitable[web.Response]]

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets styles of elements
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
}
_OWN: Final = ("initializer.js", "page.css")
_FOREIGN: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_REVALIDATE: Final = "no-cache"
_FOR_AN_HOUR: Final = "public, max-age=3600"
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")
_PREFIXES: Final = 16
"""Most path prefixes that documents are kept for."""


class DocumentServer:
    """Answers for the document and its page.

    Args:
        build: Makes the document, when it is first asked for: with thousands of routes that takes seconds.
        config: Its own part says where it is served.
        prefix_of: The path that a trusted proxy has put before this server's, else nothing.
    """

    def __init__(
        self, build: Callable[[], JsonObject], config: GatewayConfig, prefix_of: Callable[[web.Request], str]
    ) -> None:
        self._config = config.openapi
        self._build = build
        self._building = asyncio.Lock()
        self._document: JsonObject | None = None
        self._prefix_of = prefix_of
        self._content_for: Callable[[str], Content] = lru_cache(_PREFIXES)(self._make)
        self._assets: dict[str, Content] = {}

    def routes(self) -> dict[str, Handler]:
        """What answers GET and HEAD at which path."""
        if not self._config.enabled:
            return {}
        found: dict[str, Handler] = {self._config.path: self._show_document}
        if self._config.docs:
            page = self._config.docs_path
            found |= {page: self._show_page, page + "/": self._redirect}
            found |= {f"{page}/{name}": self._show_asset for name in (*_OWN, *_FOREIGN)}
        return found

    async def _show_document(self, request: web.Request) -> web.Response:
        prefix = self._prefix_of(request).rstrip("/")
        prefix = prefix if _PREFIX.fullmatch(prefix) else ""
        async with self._building:
            # In a thread, since other requests go on meanwhile.
            content = await asyncio.to_thread(self._content_for, prefix)
        return content.answer(request)

    def _make(self, prefix: str) -> Content:
        if self._document is None:
            self._document = self._build()
        document = {**self._document, "servers": [{"url": prefix or "/"}]}
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return Content(body, "application/json", cache_control=_REVALIDATE)

    async def _show_page(self, request: web.Request) -> web.Response:
        if "" not in self._assets:
            # Relative, so that the page works below any prefix: /docs stands for the folder that holds it.
            base = self._config.docs_path.rpartition("/")[2]
            up = "../" * (self._config.docs_path.count("/") - 1)
            text = _own("index.html").decode()
            text = text.replace("{base}", base).replace("{document}", up + self._config.path[1:])
            self._assets[""] = Content(
                text.encode(), "text/html; charset=utf-8", cache_control=_REVALIDATE, headers=_PAGE_HEADERS
            )
        return self._assets[""].answer(request)

    async def _redirect(self, _: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": "../" + self._config.docs_path.rpartition("/")[2]})

    async def _show_asset(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name not in self._assets:
            body = _own(name) if name in _OWN else _foreign(name)
            kind = name[name.rindex(".") :]
            self._assets[name] = Content(
                body,
                _TYPES[kind],
                cache_control=_FOR_AN_HOUR,
                headers={"X-Content-Type-Options": "nosniff"},
                compress=kind != ".png",
            )
        return self._assets[name].answer(request)


def _own(name: str) -> bytes:
    return files("orchestration.gateway.openapi").joinpath("page", name).read_bytes()


def _foreign(name: str) -> bytes:
    """A file of Swagger UI. The package that brings it is looked up and not imported: its code is for other things."""
    found = importlib.util.find_spec("swagger_ui")
    assert found is not None, "swagger-ui-py is a dependency"
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0], "static", name).read_bytes()
