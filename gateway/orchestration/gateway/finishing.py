"""The answer of a unary call that went well: entity tag, next page, metadata, compression."""

from __future__ import annotations

import json
import sys
from typing import Final

from aiohttp import HttpVersion11, web

from orchestration.gateway.answers import WholeAnswer
from orchestration.gateway.compression import Packer, accepts_gzip
from orchestration.gateway.config import GatewayConfig
from orchestration.gateway.entitytags import compressed_tag, every, unchanged, weak_tag
from orchestration.gateway.headers import HeaderReader
from orchestration.gateway.replies import NO_BODY, ReplyHeaders, send_with_trailers
from orchestration.gateway.responses import dump_styled
from orchestration.gateway.routes import Route
from orchestration.gateway.systemparams import PLAIN, Style
from orchestration.gateway.upstream import Reply

_SAFE: Final = ("GET", "HEAD")


class Finisher:
    """Makes the HTTP answer of a body. What a route or the configuration does not use costs a comparison at most."""

    def __init__(self, config: GatewayConfig, headers: HeaderReader, replies: ReplyHeaders) -> None:
        self._headers = headers
        self._replies = replies
        self._body_tags = config.body_etags
        self._packer = Packer()
        self.direct = False
        """Whether nothing but the gateway has to do with its answers: they can be sent as one piece."""
        self._compress_min = sys.maxsize if config.compress_min_bytes is None else config.compress_min_bytes

    async def finish(
        self,
        request: web.Request,
        route: Route,
        body: bytes,
        headers: dict[str, str],
        reply: Reply | None,
        style: Style = PLAIN,
        *,
        usual: bool = False,
    ) -> web.StreamResponse:
        """The answer, which may be sent already.

        Args:
            request: What is answered.
            route: Its route.
            body: Whole, and not compressed.
            headers: That any answer to this request has; changed.
            reply: The service's metadata, where it is wanted.
            style: Says which part of the body is sent. Entity tag and next page are those of the whole.
            usual: Whether the request is known to have no precondition.
        """
        tag = self._tag(request, route, body)
        if tag:
            headers["ETag"] = tag
            if not usual and request.method in _SAFE and unchanged(every(request.headers, "If-None-Match"), tag):
                return self._not_modified(request, headers, len(body))
        if route.next_page is not None:
            link = route.next_page.link(body, self._headers.caller_url(request), request.rel_url.raw_query_string)
            if link:
                headers["Link"] = link
        if style.selection is not None:
            body = dump_styled(json.loads(body), style).encode()
        if len(body) >= self._compress_min:
            body = await self._compressed(request, body, headers)
        if reply is not None and (reply.initial or reply.trailing):
            return await self._with_metadata(request, web.Response(body=body, headers=headers), reply)
        if self.direct and request.method != "HEAD" and request.version == HttpVersion11:
            return WholeAnswer(body, headers)
        return web.Response(body=body, headers=headers)

    def _tag(self, request: web.Request, route: Route, body: bytes) -> str:
        if route.answer_tag is not None:
            return route.answer_tag.of(body)
        return weak_tag(body) if self._body_tags and request.method in _SAFE else ""

    def _not_modified(self, request: web.Request, headers: dict[str, str], size: int) -> web.Response:
        headers.pop("Content-Type", None)
        if size >= self._compress_min:
            _vary(headers)
            if accepts_gzip(request.headers.get("Accept-Encoding", "")):
                headers["ETag"] = compressed_tag(headers["ETag"])
        return web.Response(status=304, headers=headers)

    async def _compressed(self, request: web.Request, body: bytes, headers: dict[str, str]) -> bytes:
        _vary(headers)
        if not accepts_gzip(request.headers.get("Accept-Encoding", "")):
            return body
        headers["Content-Encoding"] = "gzip"
        if "ETag" in headers:
            headers["ETag"] = compressed_tag(headers["ETag"])
        return await self._packer.pack(body)

    async def _with_metadata(self, request: web.Request, response: web.Response, reply: Reply) -> web.StreamResponse:
        for name, value in self._replies.headers(reply):
            response.headers.add(name, value)
        self._replies.apply_status(reply, response)
        trailers = [] if response.status in NO_BODY else self._replies.trailers(request, reply)
        return await send_with_trailers(request, response, trailers) if trailers else response


def _vary(headers: dict[str, str]) -> None:
    there = headers.get("Vary")
    headers["Vary"] = f"{there}, Accept-Encoding" if there else "Accept-Encoding"
