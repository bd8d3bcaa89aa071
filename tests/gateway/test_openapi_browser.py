"""The page at /docs, in a real browser: it shows the document, calls the API, and asks nobody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, web

from orchestration.gateway import GatewayConfig
from tests.support.browser import Browser, browsing, missing
from tests.support.transcoding_client import Running, running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser")]

_OPERATION = "document.querySelector('#operations-TestService-TestService_Get')"


@asynccontextmanager
async def _proxied(base: str, prefix: str) -> AsyncGenerator[str]:
    """A proxy that serves what is at an address below a prefix, which it takes off and tells of."""

    async def forward(request: web.Request) -> web.Response:
        target = base + request.raw_path.removeprefix(prefix)
        headers = {**request.headers, "X-Forwarded-Prefix": prefix}
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(request.method, target, headers=headers, allow_redirects=False) as answer,
        ):
            return web.Response(status=answer.status, headers=answer.headers, body=await answer.read())

    app = web.Application()
    app.router.add_route("*", prefix + "/{rest:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}"
    finally:
        await runner.cleanup()


async def _use(browser: Browser, base: str, pictures: Path) -> None:
    """Open the page, unfold an operation, call it, and see the answer."""
    await browser.open(f"{base}/docs")
    await browser.until("return document.querySelectorAll('.opblock').length > 20")
    await browser.screenshot(pictures / "page.png")
    assert await browser.run("return document.title") == "TestService"
    await browser.run(f"{_OPERATION}.querySelector('.opblock-summary-control').click()")
    await browser.until(f"return {_OPERATION}.innerText.includes('i64')")  # a query parameter, and its schema
    await browser.run(f"{_OPERATION}.querySelector('.try-out__btn').click()")
    await browser.until(f"return {_OPERATION}.querySelector('.execute') !== null")
    await browser.run(f"{_OPERATION}.querySelector('.execute').click()")
    await browser.until(f"return {_OPERATION}.querySelector('.live-responses-table .response-col_status') !== null")
    answer = await browser.until(
        f"return {_OPERATION}.querySelector('.live-responses-table .response .highlight-code')?.innerText"
    )
    assert '"name": "example"' in answer
    await browser.run(f"{_OPERATION}.querySelector('.live-responses-table').scrollIntoView()")
    await browser.screenshot(pictures / "answer.png")
    complaints = [entry["message"] for entry in await browser.log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []
    requested = await browser.requested()
    assert f"{base}/v1/things/example" in {url.partition("?")[0] for url in requested}
    assert {urlsplit(url).netloc for url in requested} == {urlsplit(base).netloc}


@pytest.mark.parametrize("prefix", ["", "/team/api"])
async def test_page_shows_and_calls_the_api(prefix: str, tmp_path: Path) -> None:
    config = GatewayConfig(trusted_proxies=["127.0.0.0/8"])
    async with running("in_process", config=config) as service, browsing(tmp_path / "profile") as browser:
        await _open_below(browser, service, prefix, tmp_path)


async def _open_below(browser: Browser, service: Running, prefix: str, pictures: Path) -> None:
    if not prefix:
        await _use(browser, service.base, pictures)
        return
    async with _proxied(service.base, prefix) as base:
        await _use(browser, base, pictures)
