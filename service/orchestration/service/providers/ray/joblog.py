"""The lines of a job's log: which are the engine's, and where the engine listens."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import deque
from dataclasses import dataclass

from orchestration.service.providers.base import LogRecord, ProviderError
from orchestration.service.providers.plain_text import encodable, plain

_LINE = re.compile(r"([0-9a-f]{32}) ([0-9]{1,11}\.[0-9]{3}) ([poe]) (.*)", re.DOTALL)
_STREAMS = {"o": "stdout", "e": "stderr"}
_RAY_SAYS = "Running entrypoint for job "
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LAST_PORT = 65535
_CURSOR = re.compile(r"[0-9]{1,18}")
_HELD = 200
"""Lines of Ray's own that are kept in case they are all there will be."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the launcher says of the engine."""

    started_at: float
    """Unix seconds, by the node's clock."""
    address: str
    port: int
    gpu_ids: tuple[str, ...]

    @property
    def endpoint(self) -> str:
        """The engine's base URL."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"


def parse_cursor(cursor: str, token: str) -> int:
    """The number of lines before the cursor in the log of the job with this token. Raises `ProviderError`."""
    if not cursor:
        return 0
    of, _, line = cursor.partition(":")
    if of != token or not _CURSOR.fullmatch(line):
        text = f"log cursor {cursor!r} is not a place in this log; use one that came with a line"
        raise ProviderError("INVALID_CURSOR", text, retryable=False)
    return int(line)


class JobLog:
    """One pass over a job's log from its beginning; gives what comes after the cursor.

    Lines that Ray wrote before the launcher's first are no part of it, unless the launcher never came to write one:
    then they say why. An earlier job of the same name may have left lines in the same file: those carry its token.
    """

    def __init__(self, token: str, started_at: float, after: str = "") -> None:
        self._token = token
        self._after = parse_cursor(after, token)
        self._number = 0
        self._rest = ""
        self._time = started_at
        self._begun = False
        self._held: deque[LogRecord] = deque(maxlen=_HELD)
        self.report: Report | None = None
        """Where the engine listens, once that was read."""

    def feed(self, text: str) -> list[LogRecord]:
        """The records in the lines that are complete now."""
        *lines, self._rest = (self._rest + text).split("\n")
        return [record for line in lines if (record := self._read(line)) is not None]

    def finish(self) -> list[LogRecord]:
        """The rest, when the job has ended: nothing comes any more."""
        rest, self._rest = self._rest, ""
        record = self._read(rest) if rest else None
        last = [] if record is None else [record]
        return last if self._begun else [held for held in (*self._held, *last) if self._is_new(held)]

    def _read(self, line: str) -> LogRecord | None:
        self._number += 1
        found = _LINE.fullmatch(line)
        if found is None:
            return self._other(line)
        token, time, kind, text = found.groups()
        if token != self._token:
            return None
        self._begun = True
        self._time = float(time)
        if kind == "p":
            self._report(text)
            return None
        return self._record(_STREAMS[kind], _text(text)) if self._number > self._after else None

    def _other(self, line: str) -> LogRecord | None:
        """A line that the launcher did not write."""
        if line.startswith(_RAY_SAYS):
            return None
        record = self._record("stderr", line)
        if not self._begun:
            self._held.append(record)
            return None
        return record if self._number > self._after else None

    def _record(self, stream: str, text: str) -> LogRecord:
        cursor = f"{self._token}:{self._number}"
        return LogRecord(time=self._time, stream=stream, message=encodable(text), cursor=cursor)

    def _is_new(self, record: LogRecord) -> bool:
        return parse_cursor(record.cursor, self._token) > self._after

    def _report(self, text: str) -> None:
        """Take note of where the engine listens; the engine, too, could write such a line, and any in its place."""
        parts = plain(text).split(" ")
        if len(parts) == 3 and _is_address(parts[0]) and _PORT.fullmatch(parts[1]) and int(parts[1]) <= _LAST_PORT:
            gpus = () if parts[2] == "-" else tuple(parts[2].split(","))
            self.report = Report(self._time, parts[0], int(parts[1]), gpus)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _text(told: str) -> str:
    try:
        return str(json.loads(told))
    except ValueError:  # the launcher was killed in the middle of it
        return told
