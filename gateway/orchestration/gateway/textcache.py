"""JSON texts that were made lately, by the wire bytes they were made of.

The same bytes of the same type are the same text, always: what is read far more often than it changes, as most
resources are, need not be printed again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_BYTES: Final = 16 * 1024 * 1024
_MAX_ENTRY: Final = 64 * 1024
"""Longer texts are not kept: they would drive out many that are asked for more often."""
_MAX_LAST: Final = 1024 * 1024
"""Bytes of the largest message and text that are kept as the last ones, for each method that lists."""
_OVERHEAD: Final = 250
"""About what the two objects and the entry take beside their bytes."""


class TextCache:
    """Texts by type and wire bytes, bounded by their size; the one that was not asked for the longest goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        # Of a plain dict the first entry is found only past all that were removed before it.
        self._texts: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()
        self.size = 0
        """Bytes that are held, about."""

    def get(self, kind: int, wire: bytes, make: Callable[[bytes], bytes]) -> bytes:
        """The text, made where it is not there.

        Args:
            kind: Which type it is; one number for each.
            wire: The message.
            make: Prints it; what it raises is raised.
        """
        key = (kind, wire)
        text = self._texts.pop(key, None)
        if text is None:
            text = make(wire)
            cost = _cost(wire, text)
            if cost > _MAX_ENTRY:
                return text
            self._make_room(cost)
        self._texts[key] = text  # last
        return text

    def _make_room(self, cost: int) -> None:
        self.size += cost
        while self.size > self._max_bytes and self._texts:
            (_, wire), text = self._texts.popitem(last=False)
            self.size -= _cost(wire, text)


def _cost(wire: bytes, text: bytes) -> int:
    return len(wire) + len(text) + _OVERHEAD


class LastText:
    """The text of the message that came last: who polls a list is mostly given the one that was there before."""

    __slots__ = ("_text", "_wire")

    def __init__(self) -> None:
        self._wire: bytes | None = None
        self._text = b""

    def get(self, wire: bytes, make: Callable[[bytes], bytes]) -> bytes:
        """The text, made where the message is another one; what ``make`` raises is raised."""
        if wire == self._wire:
            return self._text
        text = make(wire)
        self._wire, self._text = (wire, text) if _cost(wire, text) <= _MAX_LAST else (None, b"")
        return text
