"""An IPFS gateway of raw blocks that can be told to fail and to lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class FakeGateway:
    """What one gateway has, and how it behaves."""

    blocks: Mapping[str, bytes]
    mode: str = "good"
    """``good``, a status as text, ``lie``, ``longer``, ``html``, ``hang`` or ``cut``."""
    asked: list[str] = field(default_factory=list[str])
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request for a block."""
        cid = request.match_info["cid"]
        assert request.query.get("format") == "raw"
        assert request.headers["Accept"] == "application/vnd.ipld.raw"
        self.asked.append(cid)
        if self.mode.isdecimal():
            return web.Response(status=int(self.mode), text="no", headers={"Retry-After": "30"})
        if self.mode == "hang":
            await asyncio.sleep(60)
        if self.mode == "cut":
            assert request.transport is not None
            request.transport.abort()
        block = self.blocks.get(cid)
        if block is None:
            return web.Response(status=404, text="not found")
        if self.mode == "lie":
            block = bytes([block[0] ^ 1]) + block[1:] if block else b"x"
        if self.mode == "longer":
            block = block + b"\0" * 3_000_000
        if self.mode == "html":
            return web.Response(text="<html>please wait</html>", content_type="text/html")
        return web.Response(body=block, content_type="application/vnd.ipld.raw")


@asynccontextmanager
async def gateway(blocks: Mapping[str, bytes], mode: str = "good") -> AsyncGenerator[FakeGateway]:
    """A gateway on a free port of 127.0.0.1."""
    fake = FakeGateway(blocks, mode)
    app = web.Application()
    app.router.add_get("/ipfs/{cid}", fake.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
