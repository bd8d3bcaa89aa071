"""The fields of a message's wire bytes (protobuf.dev/programming-guides/encoding), where a codec would do too much."""

from __future__ import annotations

from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}


def write_varint(value: int) -> bytes:
    """A number of 0 or more: seven bits a byte, the lowest first, all bytes but the last one marked."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def bytes_tag(number: int) -> bytes:
    """What a field begins with whose value is a string, bytes or a message: its length comes next."""
    return write_varint(number << 3 | BYTES)


def read_varint(wire: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it. Raises ValueError or IndexError where there is none."""
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


def read_field(wire: bytes, at: int) -> tuple[int, int, int]:
    """A field's key, and where its value and the next field begin; of bytes, the value begins after their length.

    Raises ValueError or IndexError for what is no field.
    """
    key, at = read_varint(wire, at)
    kind = key & 7
    if kind == BYTES:
        size, at = read_varint(wire, at)
        end = at + size
        if end > len(wire):
            raise ValueError("a field is longer than its message")
    elif kind == VARINT:
        _, end = read_varint(wire, at)
    elif kind in _FIXED_SIZES:
        end = at + _FIXED_SIZES[kind]
    else:
        raise ValueError(f"a field of the wire type {kind}")
    return key, at, end
