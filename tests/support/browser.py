"""A headless Chromium, driven by chromedriver over its HTTP protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.gateway import eventually

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1600",
)
_PORT = re.compile(rb"started successfully on port (\d+)")


def missing() -> str:
    """Why there is no browser here; empty where there is one."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(lacking)} not installed: apt-get install -y chromium chromium-driver" if lacking else ""


class Browser:
    """One page."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def _call(self, path: str, **body: Any) -> Any:
        async with self._session.post(f"{self._base}/{path}", json=body) as answer:
            told = await answer.json()
            assert answer.status == 200, told
            return told["value"]

    async def open(self, url: str) -> None:
        """Go to an address, and wait until it has loaded."""
        await self._call("url", url=url)

    async def run(self, script: str) -> Any:
        """What a script returns."""
        return await self._call("execute/sync", script=script, args=[])

    async def until(self, script: str) -> Any:
        """What a script returns once that is true."""

        async def look() -> Any:
            return await self.run(script)

        return await eventually(look, within_s=60, why=lambda: script)

    async def screenshot(self, path: Path) -> None:
        """Keep a picture of what is seen."""
        async with self._session.get(f"{self._base}/screenshot") as answer:
            picture = base64.b64decode((await answer.json())["value"])
        await asyncio.to_thread(path.write_bytes, picture)

    async def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since it was asked last: "browser" for the console, "performance" for the network."""
        return list(await self._call("se/log", type=kind))

    async def requested(self) -> list[str]:
        """Addresses that the page has asked for, data aside."""
        events = [json.loads(entry["message"])["message"] for entry in await self.log("performance")]
        sent = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if url.partition(":")[0] in ("http", "https", "ws", "wss")]


@asynccontextmanager
async def browsing(profile: Path) -> AsyncGenerator[Browser]:
    """A browser with an empty profile."""
    process = await asyncio.create_subprocess_exec("chromedriver", "--port=0", stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        found = None
        while found is None:
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert line, "chromedriver ended"
            found = _PORT.search(line)
        driver = f"http://127.0.0.1:{found.group(1).decode()}"
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*_FLAGS, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            body = {"capabilities": {"alwaysMatch": wanted}}
            async with session.post(f"{driver}/session", json=body) as answer:
                told = await answer.json()
                assert answer.status == 200, told
            base = f"{driver}/session/{told['value']['sessionId']}"
            try:
                yield Browser(session, base)
            finally:
                await session.delete(base)
    finally:
        process.terminate()
        await process.wait()
