"""Content that does not change: its bytes, compressed and not, with an ETag each."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from typing import Final

from aiohttp import web

_WORTH_COMPRESSING: Final = 1024


class Content:
    """One resource.

    Args:
        body: Its bytes.
        content_type: Its media type.
        cache_control: What caches may do.
        headers: Others.
        compress: Whether compression makes it smaller.
    """

    def __init__(
        self,
        body: bytes,
        content_type: str,
        *,
        cache_control: str,
        headers: Mapping[str, str] | None = None,
        compress: bool = True,
    ) -> None:
        self.body = body
        self._packed = gzip.compress(body, 6, mtime=0) if compress and len(body) >= _WORTH_COMPRESSING else None
        digest = hashlib.blake2s(body, digest_size=16).hexdigest()
        self._etags = (f'"{digest}"', f'"{digest}-gzip"')
        self._headers = {"Content-Type": content_type, "Cache-Control": cache_control, **(headers or {})}
        if self._packed is not None:
            self._headers["Vary"] = "Accept-Encoding"

    def answer(self, request: web.Request) -> web.Response:
        """200 with the bytes, or 304 for a client that has them. A HEAD gets no bytes, as the server sees to."""
        packed = self._packed is not None and _takes_gzip(request.headers.get("Accept-Encoding", ""))
        known = request.headers.get("If-None-Match", "")
        found = {**self._headers, "ETag": self._etags[packed]}
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        if tags & {*self._etags, "*"}:
            return web.Response(status=304, headers=found)
        if packed:
            found["Content-Encoding"] = "gzip"
        return web.Response(body=self._packed if packed else self.body, headers=found)


def _takes_gzip(accepted: str) -> bool:
    for item in accepted.split(","):
        coding, _, parameters = item.strip().partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return parameters.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
