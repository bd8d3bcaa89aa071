"""Unsigned varints, as multiformats and protobuf share them."""

from __future__ import annotations

_LONGEST = 9


def read(data: bytes, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset after it. Raises ValueError when there is none of at most 63 bits."""
    value = 0
    for index in range(_LONGEST):
        if at + index >= len(data):
            raise ValueError("the bytes end within a number")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number has more than 63 bits")


def write(value: int) -> bytes:
    """The bytes of a number from 0."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
