"""A job's log out of the JSON that it comes in, piece by piece: it may be larger than one would hold in memory."""

from __future__ import annotations

import json
import re

from orchestration.service.providers.base import ProviderError

_START = re.compile(rb'^\s*\{\s*"logs"\s*:\s*"')
_LONGEST_LINE = 4 * 1024 * 1024
_LONGEST_START = 1024


class LogText:
    """Decodes ``{"logs": "..."}`` as its bytes come."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> str:
        """The lines that are complete now. Raises `ProviderError` BAD_ANSWER when it is something else."""
        self._rest += data
        if not self._begun and not self._begin():
            return ""
        end = _last_line_end(self._rest)
        if not end and len(self._rest) > _LONGEST_LINE:
            raise _bad(f"a line of more than {_LONGEST_LINE} bytes")
        text, self._rest = self._rest[:end], self._rest[end:]
        return _decoded(text)

    def finish(self) -> str:
        """What follows the last newline; after the last byte."""
        quote = self._rest.rfind(b'"')
        if not self._begun or quote < 0 or self._rest[quote:].split() not in ([b'"}'], [b'"', b"}"]):
            raise _bad(f"an end in {self._rest[-40:]!r}")
        return _decoded(self._rest[:quote])

    def _begin(self) -> bool:
        start = _START.match(self._rest)
        if start is None:
            if len(self._rest) > _LONGEST_START:
                raise _bad(f"a beginning with {self._rest[:40]!r}")
            return False
        self._rest, self._begun = self._rest[start.end() :], True
        return True


def _last_line_end(data: bytes) -> int:
    """Where the last line ends that is complete, in escaped text; 0: none is."""
    end = len(data)
    while (at := data.rfind(b"\\n", 0, end)) >= 0:
        before = len(data[:at]) - len(data[:at].rstrip(b"\\"))
        if before % 2 == 0:
            return at + 2
        end = at + 1  # that backslash is itself escaped, and the n is a letter
    return 0


def _decoded(text: bytes) -> str:
    try:
        return str(json.loads(b'"' + text + b'"', strict=False)) if text else ""
    except ValueError as error:
        raise _bad(str(error)) from error


def _bad(what: str) -> ProviderError:
    return ProviderError("BAD_ANSWER", f"the log that Ray answered is not understood: {what}", retryable=True)
