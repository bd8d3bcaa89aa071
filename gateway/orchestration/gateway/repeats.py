"""Requests whose head is, byte for byte, one that came before on the same connection: they need no parsing again.

Callers that poll, and agents that send heartbeats, send one head again and again over a connection that they keep.
What HTTP's parser makes of it is known, so that only the body is new. A head is taken for known only where what came
before it on the connection ended with a whole request, as the parser's own place is then at the beginning of one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage

from orchestration.gateway.headers import Head
from orchestration.gateway.serving import Target

_END: Final = b"\r\n\r\n"
_MOST_HEADS: Final = 8
_MOST_MISSES: Final = 64
"""Requests one after the other that none of the heads is known of, until others are learned: keeping what is learned
costs a quarter of a small request."""
_LONGEST_HEAD: Final = 4096
"""With the line breaks that end it."""


class Repeated(NamedTuple):
    """A request that was answered, whose like can be answered without aiohttp."""

    request: web.Request
    """Its body aside, all of it holds for those that come with the same head."""
    target: Target
    head: Head


class Repeats:
    """The heads that came on one connection.

    None is known from the first time on that it cannot be told where a request begins: after one that is chunked or has
    a long head, and after several that came at once.
    """

    __slots__ = ("_count", "_heads", "_lost", "_message", "_misses", "_offered", "_start")

    def __init__(self) -> None:
        self._lost = False
        self._heads: dict[bytes, tuple[int, Repeated]] = {}
        """With the length of the body that each announces."""
        self._misses = 0
        """Since one was known."""
        self._start = b""
        self._count = 0
        """Bytes since the place at which a request began, of which the first are kept."""
        self._message: RawRequestMessage | None = None
        self._offered: Repeated | None = None

    @property
    def learns(self) -> bool:
        """Whether an offer would be taken."""
        return not self._lost and len(self._heads) < _MOST_HEADS

    def fed(self, data: bytes) -> None:
        """Note what is given to aiohttp's parser."""
        if not self._lost:
            self._count += len(data)
            missing = _LONGEST_HEAD - len(self._start)
            if missing > 0:
                self._start += data[:missing]

    def parsed(self, message: RawRequestMessage) -> None:
        """aiohttp has parsed a request, and begins to serve it."""
        if not self._lost:
            self._message = message

    def offer(self, repeated: Repeated) -> None:
        """The request that was parsed last was answered; its like can be answered by its head."""
        self._offered = repeated

    def find(self, data: bytes) -> tuple[Repeated, bytes] | None:
        """The request that these bytes are the like of, and their body. Ask while no request is under way."""
        if self._count:
            self._settle()
        if self._lost:
            return None
        end = _end_of_head(data)
        known = self._heads.get(data[:end])
        if known is None or len(data) != end + known[0]:
            self._missed()
            return None
        self._misses = 0
        return known[1], data[end:]

    def forget(self) -> None:
        """The connection is gone, or what comes next on it cannot be told."""
        self._lost = True
        self._heads.clear()
        self._message = self._offered = None
        self._start = b""

    def _missed(self) -> None:
        self._misses += 1
        if self._misses >= _MOST_MISSES:
            self._misses = 0
            self._heads.clear()

    def is_one(self) -> bool:
        """Whether what aiohttp was given is the request that was parsed last, and not a byte more or less."""
        if self._message is None:
            return False
        head = self._start[: _end_of_head(self._start)]
        size = _body_size(self._message, head)
        return size is not None and self._count == len(head) + size

    def _settle(self) -> None:
        """What aiohttp was given is answered: the next request begins here, or it is not known where."""
        if not self.is_one():
            self.forget()
            return
        if self._offered is not None:
            end = _end_of_head(self._start)
            self._heads[self._start[:end]] = self._count - end, self._offered
        self._start, self._count = b"", 0
        self._message = self._offered = None


def _end_of_head(data: bytes) -> int:
    """Where the body begins; 0 for a head that is too long, or does not end."""
    end = data.find(_END, 0, _LONGEST_HEAD)
    return 0 if end < 0 else end + len(_END)


def _body_size(message: RawRequestMessage, head: bytes) -> int | None:
    """Bytes of the body by its head; None for a head that is not plain."""
    lines = head.count(b"\r\n")
    plain = lines == head.count(b"\n") == len(message.raw_headers) + 2
    if not plain or message.chunked or message.should_close or message.version != HttpVersion11:
        return None
    told = message.headers.getall("Content-Length", ["0"])
    return int(told[0]) if len(told) == 1 and told[0].isdecimal() and told[0].isascii() else None
