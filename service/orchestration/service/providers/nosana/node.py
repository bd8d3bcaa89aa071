"""The log of a job as its host tells it while the job runs, over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from orchestration.service.providers.base import ProviderUnavailableError
from orchestration.service.providers.nosana.flows import Entry, lines
from orchestration.service.providers.nosana.models import mapping, moment, text

SIGNED_MESSAGE = "Hello Nosana Node!"
"""What hosts want to be signed by the key that pays for the job."""
_PATH = "/flog"
CONNECT_S = 10.0
"""How long a host may take to be connected, and again to open its log, in seconds."""
_LARGEST_MESSAGE = 4 * 1024 * 1024
_HEARTBEAT_S = 30.0
_LEAVE = aiohttp.ClientWSTimeout(ws_close=1.0)  # pyright: ignore[reportCallIssue]  it does not see through attrs
"""How long a host may take to take leave, in seconds."""
_REFUSALS = {1007: "it does not know the job", 3000: "it takes the signature for a wrong one", 3003: "it has no log"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """What a host is told on connection."""

    url: str
    """Of the host, ``https://...``."""
    job: str
    signer: str
    """Address of the key that signed."""
    signature: str
    """``message:signature``."""

    def first_message(self) -> dict[str, Any]:
        """The message that asks for the log."""
        body = {"jobAddress": self.job, "address": self.signer}
        headers = {"Authorization": self.signature}
        return {"path": _PATH, "header": self.signature, "headers": headers, "body": body}


class NodeLog:
    """An open log: first what there is already, all of it again, then what comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, host: str) -> None:
        self._socket = socket
        self._host = host

    async def next(self, timeout_s: float) -> list[Entry] | None:
        """The next lines; none when nothing came in that time, None when the host closed the log.

        Raises `ProviderUnavailableError` when it refuses, or the connection breaks.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:  # what tells no line, such as a progress bar, is no silence
                    entries = self._read(await self._socket.receive())
                    if entries is None or entries:
                        return entries
        except TimeoutError:
            return []

    def _read(self, message: aiohttp.WSMessage) -> list[Entry] | None:
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                return read_message(str(message.data))
            case aiohttp.WSMsgType.ERROR:
                raise ProviderUnavailableError(f"the log of host {self._host} broke off: {self._socket.exception()}")
            case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                code = self._socket.close_code or 0
                if code in _REFUSALS:
                    raise ProviderUnavailableError(f"host {self._host} gives no log: {_REFUSALS[code]} ({code})")
                return None
            case _:
                return []


@asynccontextmanager
async def open_log(session: aiohttp.ClientSession, request: LogRequest) -> AsyncGenerator[NodeLog]:
    """Connect to the host. Raises `ProviderUnavailableError` when it cannot be reached."""
    url = "ws" + request.url.removeprefix("http") + _PATH
    try:
        async with asyncio.timeout(CONNECT_S):  # the session's own limit ends with the connection
            socket = await session.ws_connect(
                url,
                heartbeat=_HEARTBEAT_S,
                max_msg_size=_LARGEST_MESSAGE,
                timeout=_LEAVE,
            )
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
        raise ProviderUnavailableError(f"host {request.url} cannot be asked for the log: {why}") from error
    try:
        await socket.send_json(request.first_message())
        yield NodeLog(socket, request.url)
    except (aiohttp.ClientError, ConnectionError) as error:
        raise ProviderUnavailableError(f"the log of host {request.url} broke off: {error}") from error
    finally:
        await socket.close()


def new_session() -> aiohttp.ClientSession:
    """A session for hosts, which are strangers: no credentials go with it, and it goes nowhere that they say."""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, trust_env=False, trace_configs=[tracing]
    )


async def _refuse(
    session: aiohttp.ClientSession, context: object, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    """A redirect would have this gateway ask what only it can reach; `ws_connect` cannot be told not to follow it."""
    redirect.response.close()
    raise aiohttp.ClientError(f"it answers with a redirect ({redirect.response.status}), which is not followed")


def read_message(data: str) -> list[Entry]:
    """The lines of one message of a host; none of one that cannot be read."""
    return list(_entries(data))


def _entries(data: str) -> Iterator[Entry]:
    """The lines of one message, which holds JSON as text within JSON."""
    told = _inner(data)
    message = told.get("message")
    if not isinstance(message, str):  # the state of a progress bar
        return
    time = moment(told.get("timestamp"))
    match text(told.get("type")):
        case "container":
            yield from lines("engine", "stdout", time, message)
        case "info" | "error":
            yield from lines("host", "stderr", time, message)
        case _:
            return


def _inner(data: str) -> dict[str, Any]:
    try:
        inner = mapping(json.loads(data)).get("data")
        found = json.loads(inner) if isinstance(inner, str) else inner
    except (ValueError, RecursionError):
        return {}
    return dict(mapping(found))
