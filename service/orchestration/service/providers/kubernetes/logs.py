"""Logs of a replica's Pod: read as the API server gives them, each line once, also after a restart.

A line's place is its time stamp, to the nanosecond, and how many lines before it have the same one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestration.service.providers.base import LogRecord
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.clusters import Found
from orchestration.service.providers.kubernetes.names import part
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error
from orchestration.service.providers.kubernetes.states import container
from orchestration.service.providers.local.shim.logfile import LineSplitter

Position = tuple[int, int]
"""Unix nanoseconds, and the number of earlier lines with the same."""

_LOOK_AGAIN_S = 0.5
_IDLE_S = 240.0
"""After so long a silence the Pod is looked at, and the log asked for anew: the connection may be dead."""
_READ_S = 2 * _IDLE_S
_NS = 1_000_000_000
_MANY_STAMPS = 10_000
_WINDOW_NS = 2 * _NS
"""A log whose lines are so much younger than the one that was read last has lost that one."""
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class _Line:
    position: Position
    text: str

    def record(self) -> LogRecord:
        nanoseconds, number = self.position
        # The API gives both streams as one, and does not tell them apart.
        return LogRecord(time=nanoseconds / _NS, stream="stdout", message=self.text, cursor=f"{nanoseconds}.{number}")


async def read_log(
    find: Callable[[], Awaitable[Found | None]], *, after: str, follow: bool
) -> AsyncGenerator[LogRecord]:
    """Lines after the cursor; with ``follow`` until the container has ended and all of them are read."""
    while (found := await find()) is not None:
        state = part(container(found.pod), "state")
        # A container of a group is restarted in place. Its first life is the replica's, and all that there is to read.
        restarted = bool(part(container(found.pod), "lastState").get("terminated"))
        ended = bool(state.get("terminated")) or part(found.pod, "status").get("phase") in {"Failed", "Succeeded"}
        over = ended or restarted
        if over or state.get("running"):
            lines = _stream(found, after, follow=follow and not over, previous=restarted)
            try:
                async for line in lines:
                    record = line.record()
                    after = record.cursor
                    yield record
            finally:
                await lines.aclose()
        if over or not follow:
            return
        await asyncio.sleep(_LOOK_AGAIN_S)


async def _stream(found: Found, after: str, *, follow: bool, previous: bool) -> AsyncGenerator[_Line]:
    """The lines of one answer that come after the cursor."""
    params = {"container": names.CONTAINER, "timestamps": "true", **({"follow": "true"} if follow else {})}
    if previous:
        params["previous"] = "true"
    cursor = _parse_cursor(after)
    if cursor is not None:
        # To the second, as the API has it, and one earlier, as stamps of two streams need not be in order.
        since = datetime.fromtimestamp(cursor[0] // _NS - 1, UTC)
        params["sinceTime"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    reader, resume = _Reader(), _Resume(cursor)
    try:
        async with found.api.stream(f"{found.path}/log", params, _READ_S) as response:
            async for chunk in _chunks(response.content.iter_any(), _IDLE_S):
                for line in reader.feed(chunk):
                    for kept in resume.feed(line):
                        yield kept
    except RefusedError as refused:
        if refused.status != 400 and not refused.is_missing:  # its container has no log yet, or it is gone
            raise as_provider_error(refused, f"read a log in {found.place}") from refused
    for line in reader.flush():
        for kept in resume.feed(line):
            yield kept
    for kept in resume.flush():
        yield kept


async def _chunks(content: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    """What comes, until nothing did for so long."""
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(content, None)
        except TimeoutError:
            return
        if chunk is None:
            return
        yield chunk


class _Reader:
    """Cuts an answer into lines with their positions."""

    def __init__(self) -> None:
        self._splitter = LineSplitter()
        self._last = 0
        """Stamp of the last line."""
        self._lines: dict[int, int] = {}
        """By stamp, lines that had it, of those that may still come again."""
        self._most = _MANY_STAMPS

    def feed(self, data: bytes) -> list[_Line]:
        return [self._line(text) for text in self._splitter.feed(data)]

    def flush(self) -> list[_Line]:
        return [self._line(text) for text in self._splitter.flush()]

    def _line(self, text: str) -> _Line:
        stamp, _, rest = text.partition(" ")
        nanoseconds = _nanoseconds(stamp)
        if nanoseconds is None:  # what the runtime put in of its own
            nanoseconds, rest = self._last, text
        self._last = nanoseconds
        number = self._lines.get(nanoseconds, 0)
        self._lines[nanoseconds] = number + 1
        if len(self._lines) > self._most:
            self._lines = {at: count for at, count in self._lines.items() if at > nanoseconds - _WINDOW_NS}
            self._most = max(_MANY_STAMPS, 2 * len(self._lines))
        return _Line((nanoseconds, number), rest)


class _Resume:
    """Leaves out what was read before, up to the very line: time stamps of two streams need not be in order."""

    def __init__(self, cursor: Position | None) -> None:
        self._cursor = cursor
        self._held: list[_Line] = []
        """Younger lines, for when the one that was read last is gone from the log."""

    def feed(self, line: _Line) -> list[_Line]:
        if self._cursor is None:
            return [line]
        if line.position == self._cursor:
            self._cursor = None
            self._held.clear()
            return []
        if line.position > self._cursor:
            self._held.append(line)
            if line.position[0] - self._cursor[0] > _WINDOW_NS:
                return self.flush()
        return []

    def flush(self) -> list[_Line]:
        held, self._held = self._held, []
        if held:
            self._cursor = None
        return held


def _nanoseconds(stamp: str) -> int | None:
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return None
    moment, fraction, zone = match.groups()
    try:
        whole = int(datetime.fromisoformat(moment + zone).timestamp())
    except ValueError:
        return None
    return whole * _NS + int((fraction or "").ljust(9, "0"))


def _parse_cursor(text: str) -> Position | None:
    nanoseconds, _, number = text.partition(".")
    return (int(nanoseconds), int(number)) if nanoseconds.isdigit() and number.isdigit() else None
