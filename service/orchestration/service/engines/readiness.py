"""Whether an engine answers, asked once over the network."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import aiohttp

_EXCERPT = 200
_LONGEST_LIST = 1024 * 1024
_NAMED_MODELS = 5
"""Names of other models that a message tells."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of one probe."""

    ready: bool
    status: int | None
    """HTTP status; None when there was no answer, or nothing was asked over HTTP."""
    message: str
    """Why it is not ready, or a word on what answered."""
    model_gone: bool = False
    """It answers, and does not serve the model."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What an engine with an OpenAI API must list."""

    path: str
    """Where it lists its models, such as ``/v1/models``."""
    name: str


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


async def probe_model(
    session: aiohttp.ClientSession, endpoint: str, model: ServedModel, timeout_s: float
) -> ProbeResult:
    """Ask the engine at `endpoint` (a URL) once whether it serves the model, for at most `timeout_s` seconds.

    Not ready is a list that lacks the model, a 5xx and no answer. Any other answer does not tell (a key may be needed,
    or the path may be unknown to it) and counts as ready.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        url = endpoint.rstrip("/") + model.path
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            body = await response.content.read(_EXCERPT) if response.status >= 500 else await _whole(response)
            return _judge(model, response.status, body)
    except TimeoutError:
        return ProbeResult(False, None, f"no answer to GET {model.path} within {timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return ProbeResult(False, None, f"GET {model.path} failed: {str(error) or type(error).__name__}")


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, or as much of it as is ever looked at."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LONGEST_LIST:
            break
    return bytes(body)


def _judge(model: ServedModel, status: int, body: bytes) -> ProbeResult:
    if status >= 500:
        return ProbeResult(False, status, _answer(model.path, status, body, ready=False))
    names = _listed(body) if 200 <= status < 300 else None
    if names is None or model.name in names:
        return ProbeResult(True, status, f"GET {model.path} answered {status}")
    others = ", ".join(repr(name) for name in names[:_NAMED_MODELS]) or "none"
    more = f" and {len(names) - _NAMED_MODELS} more" if len(names) > _NAMED_MODELS else ""
    return ProbeResult(False, status, f"model {model.name!r} is not served; it serves {others}{more}", model_gone=True)


def _listed(body: bytes) -> list[str] | None:
    """The names in an OpenAI list of models, other names of the same model included; None when it is no such list."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    models = cast("dict[str, object]", answer).get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return None
    names: list[str] = []
    for item in cast("list[object]", models):
        if isinstance(item, dict):
            entry = cast("dict[str, object]", item)
            aliases = entry.get("aliases")
            found = [entry.get("id"), *(cast("list[object]", aliases) if isinstance(aliases, list) else [])]
            names += [name for name in found if isinstance(name, str)]
    return list(dict.fromkeys(names))


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
