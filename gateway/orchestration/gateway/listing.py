"""Answers that are lists: one repeated message, and scalars beside it, such as the token of the next page.

Their elements are printed one by one, so that those that have not changed since the last list are not printed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class ListShape:
    """Where the elements of a list stand, on the wire and in the JSON."""

    element: str
    """Full name of an element's type."""
    tag: int
    """What an element begins with on the wire."""
    empty: bytes
    """What the list is in the JSON of a message without elements."""

    def split(self, wire: bytes) -> tuple[list[bytes], bytes]:
        """The elements, and all that stands beside them. Raises ValueError or IndexError for what is no message."""
        elements: list[bytes] = []
        beside: list[bytes] = []
        at, end, tag = 0, len(wire), self.tag
        while at < end:
            start = at
            found, at = _varint(wire, at)
            if found & 7 == _BYTES:
                size, at = _varint(wire, at)
                at += size
                if at > end:
                    raise ValueError("a field is longer than its message")
                if found == tag:
                    elements.append(wire[at - size : at])
                    continue
            else:
                at = _skip(wire, at, found & 7)
            beside.append(wire[start:at])
        return elements, b"".join(beside)

    def join(self, beside: bytes, elements: list[bytes]) -> bytes:
        """The JSON of the whole, of what stands beside the elements and of theirs."""
        return beside.replace(self.empty, b"%s[%s]" % (self.empty[:-2], b",".join(elements)), 1)


def list_shape(message: Descriptor) -> ListShape | None:
    """The shape of a list; None where the message is none, or more than one.

    With nothing but scalars beside it, the name of the list stands in the JSON once, and nowhere within a string:
    there its quotes would be escaped.
    """
    nested = [field for field in message.fields if field.message_type is not None]
    if len(nested) != 1:
        return None
    (field,) = nested
    element = field.message_type
    if element is None or not field.is_repeated or element.GetOptions().map_entry:
        return None
    return ListShape(element.full_name, field.number << 3 | _BYTES, f'"{field.name}":[]'.encode())


def _varint(wire: bytes, at: int) -> tuple[int, int]:
    byte = wire[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = wire[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than ten bytes")


def _skip(wire: bytes, at: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(wire, at)[1]
    size = _FIXED_SIZES.get(kind)
    if size is None:
        raise ValueError(f"a field of the wire type {kind}")
    return at + size
