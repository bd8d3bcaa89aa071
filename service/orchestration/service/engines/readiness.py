"""Whether an engine answers, asked once over the network."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of one probe."""

    ready: bool
    status: int | None
    """HTTP status; None when there was no answer, or nothing was asked over HTTP."""
    message: str
    """Why it is not ready, or a word on what answered."""


async def probe(session: aiohttp.ClientSession, endpoint: str, health_path: str, timeout_s: float) -> ProbeResult:
    """Ask the engine at `endpoint` (a URL) once, for at most `timeout_s` seconds.

    Ready is a 2xx of a GET of `health_path`; with an empty one, that the port accepts a connection. Whatever the
    network does is a result, never an exception.
    """
    if not health_path:
        return await _connect(endpoint, timeout_s)
    url = endpoint.rstrip("/") + health_path
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            body = await response.content.read(_EXCERPT)
            ready = 200 <= response.status < 300
            return ProbeResult(ready, response.status, _answer(health_path, response.status, body, ready=ready))
    except TimeoutError:
        return ProbeResult(False, None, f"no answer to GET {health_path} within {timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return ProbeResult(False, None, f"GET {health_path} failed: {str(error) or type(error).__name__}")


def _answer(path: str, status: int, body: bytes, *, ready: bool) -> str:
    if ready:
        return f"GET {path} answered {status}"
    text = " ".join(body.decode("utf-8", "replace").split())
    return f"GET {path} answered {status}" + (f": {text}" if text else "")


async def _connect(endpoint: str, timeout_s: float) -> ProbeResult:
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return ProbeResult(False, None, f"{endpoint} accepted no connection within {timeout_s:g} s")
    except (OSError, ValueError) as error:
        return ProbeResult(False, None, f"{endpoint} accepts no connection: {error}")
    writer.close()
    with suppress(OSError):  # the other side may have closed first; it had accepted, which is all that was asked
        await writer.wait_closed()
    return ProbeResult(True, None, "the port accepts connections")
