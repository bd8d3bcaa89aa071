"""HTTP to a provider's API: bounded in time and size, polite when asked to wait, clear about what may be asked again.

Every failure is a `ProviderError` whose text holds no secret. What was certainly not done, or may be asked again
without harm, is a `ProviderUnavailableError`; a request that changes something and was not answered is `NO_ANSWER`:
look before asking again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from orchestration.service.domain.backoff import Backoff
from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.plain_text import shortened

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_WAIT = frozenset({429, 503})
"""Answers that mean: later."""
_AWAY = frozenset({502, 503, 504})
"""Answers of what stands before a server that is away; any other one shows that the server itself is there."""
_EXCERPT = 500
"""Characters of an answer that are told."""
_KEPT = 64 * 1024
"""Characters of a refusal that are kept for who understands it: what it means may stand behind a long message."""
_CLOCK_RESOLUTION_S = 0.01
"""A timer may end so much early."""
_LONGEST_PAUSE_S = 3600.0
"""No server's Retry-After is believed beyond this: one wrong header must not stop the work for days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Seconds and bytes that a request may take, and when to stop asking."""

    total_s: float = 20.0
    """For one call: all attempts and the pauses between them."""
    connect_s: float = 5.0
    attempts: int = 3
    """Of a call that may be made again without harm."""
    max_body_bytes: int = 32 * 1024 * 1024
    circuit_failures: int = 5
    """Failures in a row after which nothing is asked for a while."""
    circuit_open_s: float = 10.0
    backoff: Backoff = field(default_factory=lambda: Backoff(initial_s=0.25, maximum_s=5.0))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON, None when it is empty. Raises `ProviderError` BAD_ANSWER when it is something else."""
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            text = f"the answer is no JSON: {self.text[:_EXCERPT]!r}"
            raise ProviderError("BAD_ANSWER", text, retryable=True) from None


class HttpStatusError(ProviderError):
    """The server answered, and not with success. Retryable where it is 5xx, 408 or 429."""

    def __init__(self, message: str, status: int, body: str, *, retry_after_s: float | None = None) -> None:
        retryable = status >= 500 or status in {408, 429}
        super().__init__(f"HTTP_{status}", message, retryable=retryable, retry_after_s=retry_after_s)
        self.status = status
        self.body = body
        """The answer, or its beginning of 65536 characters, without secrets."""


class Circuit:
    """Stops asking a server that does not answer: after some failures in a row it is left alone, then asked once."""

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._ask_at = 0.0
        self._why = ""

    def blocked(self) -> tuple[float, str]:
        """Seconds for which nothing may be asked yet, and why; 0.0: ask. Of several callers one is let through then."""
        wait = self._ask_at - self._clock()
        if wait > _CLOCK_RESOLUTION_S:
            return wait, self._why
        if self._failures >= self._limit:  # one tries; the others wait for what comes of it
            self._ask_at = self._clock() + self._open_s
        return 0.0, ""

    def pause(self, seconds: float, why: str) -> None:
        """Nothing is to be asked for so long: the server said so."""
        until = self._clock() + min(seconds, _LONGEST_PAUSE_S)
        if until > self._ask_at:
            self._ask_at, self._why = until, why

    def succeeded(self) -> None:
        """The server is there."""
        if self._failures >= self._limit:
            self._ask_at = 0.0
        self._failures = 0

    def failed(self, why: str) -> None:
        """It did not answer."""
        self._failures += 1
        if self._failures >= self._limit:
            self.pause(self._open_s, f"{why} ({self._limit} times in a row and more)")


class HttpClient:
    """A client of one server, with one set of credentials."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        limits: HttpLimits | None = None,
        redirects: int = 0,
    ) -> None:
        """``name`` stands in every message; ``headers`` go with every request; ``secrets`` are never told.

        ``redirects``: how many are followed; none where there are credentials, which are for one server only.
        """
        self._name = name
        self._base = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._secrets = tuple(sorted((item for item in secrets if item), key=len, reverse=True))
        self._limits = limits or HttpLimits()
        self._redirects = redirects
        self._circuit = Circuit(self._limits.circuit_failures, self._limits.circuit_open_s)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the session; within the event loop that will use it."""
        timeout = aiohttp.ClientTimeout(total=None, connect=self._limits.connect_s)
        # Callers bound how much is under way; a limit here would have calls wait behind streams that never end.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers, trust_env=False
        )

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, for what is no single answer; `ProviderUnavailableError` before `start` and after `close`."""
        if self._session is None or self._session.closed:
            raise ProviderUnavailableError(f"{self._name} is not connected", reason="PROVIDER_CLOSED")
        return self._session

    def url(self, path: str) -> str:
        """The path below the server's address; an absolute URL as it is."""
        return path if "://" in path else f"{self._base}/{path.lstrip('/')}"

    def leave_alone(self, seconds: float, why: str) -> None:
        """Ask nothing for so long: what the server answers is not to be used."""
        self._circuit.pause(seconds, why)

    def clean(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        total_s: float | None = None,
    ) -> Answer:
        """The answer, which is a success; ``body`` is sent as JSON.

        ``idempotent``: whether it may be made again without harm; None: by its method. Raises `HttpStatusError` on any
        other answer, `ProviderUnavailableError` when there was none or the server wants to be left alone, and
        `ProviderError` NO_ANSWER when it is not known whether a change was made.
        """
        again = method in _IDEMPOTENT if idempotent is None else idempotent
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (total_s or self._limits.total_s)
        attempts = self._limits.attempts if again else 1
        for attempt in range(1, attempts + 1):
            self._check_circuit()
            try:
                return await self._once(method, path, body, params, headers, deadline - loop.time(), again=again)
            except ProviderError as error:
                pause = max(error.retry_after_s or 0.0, self._limits.backoff.delay(attempt))
                if attempt == attempts or not _worth_asking(error) or loop.time() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, read_s: float = 60.0
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An answer that is read bit by bit; ``read_s``: the longest silence. Raises as `call`."""
        self._check_circuit()
        timeout = aiohttp.ClientTimeout(total=None, connect=self._limits.connect_s, sock_read=read_s)
        opened = False
        try:
            async with self.session.request(
                method, self.url(path), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if not 200 <= response.status < 300:
                    raise self._refused(method, path, await self._answer(response))
                self._circuit.succeeded()
                opened = True
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if opened:  # the server was there: it may have sent all streams away at once
                text = f"the answer of {self._name} to {method} {self._told(path)} broke off: {self.clean(str(error))}"
                raise ProviderUnavailableError(text) from error
            raise self._no_answer(method, path, error, again=True) from error

    def _check_circuit(self) -> None:
        wait, why = self._circuit.blocked()
        if wait > 0:
            # No number that counts: what is told of an outage is written down again whenever it differs.
            text = f"{self._name} is not asked for the moment: {why}"
            raise ProviderUnavailableError(text, retry_after_s=wait)

    async def _once(
        self,
        method: str,
        path: str,
        body: object,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        left_s: float,
        *,
        again: bool,
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(total=max(0.001, left_s), connect=self._limits.connect_s)
        try:
            async with self.session.request(
                method,
                self.url(path),
                json=body,
                params=params,
                headers=headers,
                timeout=timeout,
                allow_redirects=self._redirects > 0,
                max_redirects=self._redirects,
            ) as response:
                answer = await self._answer(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._no_answer(method, path, error, again=again) from error
        if answer.status not in _AWAY:
            self._circuit.succeeded()
        if 200 <= answer.status < 300:
            return answer
        raise self._refused(method, path, answer)

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._limits.max_body_bytes:
                text = f"{self._name} answered with more than {self._limits.max_body_bytes} bytes"
                raise ProviderError("ANSWER_TOO_LARGE", text, retryable=False)
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(body))

    def _no_answer(self, method: str, path: str, error: Exception, *, again: bool) -> ProviderError:
        why = "no answer in time" if isinstance(error, TimeoutError) else self.clean(str(error)) or type(error).__name__
        text = f"{self._name} did not answer {method} {self._told(path)}: {why}"
        self._circuit.failed(text)
        if again or isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):  # it was not sent
            return ProviderUnavailableError(text)
        return ProviderError("NO_ANSWER", text, retryable=True)

    def _refused(self, method: str, path: str, answer: Answer) -> ProviderError:
        body = self.clean(" ".join(answer.text.replace("\0", "").split()))[:_KEPT]
        told = f": {shortened(body, _EXCERPT)}" if body else ""
        text = f"{self._name} answered {method} {self._told(path)} with {answer.status}{told}"
        retry_after_s = retry_after(answer.headers)
        if answer.status in _AWAY:
            self._circuit.failed(text)
        if answer.status in _WAIT and retry_after_s:
            self._circuit.pause(retry_after_s, text)
        if answer.status == 429:
            return ProviderUnavailableError(text, reason="RATE_LIMITED", retry_after_s=retry_after_s)
        return HttpStatusError(text, answer.status, body, retry_after_s=retry_after_s)

    def _told(self, path: str) -> str:
        return self.clean(path.partition("?")[0])


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``retry-after`` asks to wait, which may hold a number or a date; None when it holds neither."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdigit():
        return min(float(value), _LONGEST_PAUSE_S)
    try:
        left = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, left), _LONGEST_PAUSE_S)


def _worth_asking(error: ProviderError) -> bool:
    """Whether the same may succeed in a moment: no answer, or one that says later. Any other answer is final."""
    if isinstance(error, HttpStatusError):
        return error.status in _AWAY
    return isinstance(error, ProviderUnavailableError)
