"""Answers that are lists: one repeated message, and scalars beside it, such as the token of the next page.

Their elements are printed one by one, so that those that have not changed since the last list are not printed again.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from orchestration.gateway.schema import has_own_json
from orchestration.gateway.wire import BYTES, read_field


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
        """The elements, and all that stands beside them.

        Raises ValueError or IndexError for what is no message, and for a message with groups.
        """
        elements: list[bytes] = []
        beside: list[bytes] = []
        at, end, tag = 0, len(wire), self.tag
        while at < end:
            begin = at
            key, start, at = read_field(wire, at)
            if key == tag:
                elements.append(wire[start:at])
            else:
                beside.append(wire[begin:at])
        return elements, b"".join(beside)

    def join(self, beside: bytes, elements: list[bytes]) -> bytes:
        """The JSON of the whole, of what stands beside the elements and of theirs.

        Raises ValueError where the elements have no place in it: they would be lost.
        """
        if self.empty not in beside:
            raise ValueError(f"no list {self.empty.decode()} in the JSON")
        return beside.replace(self.empty, b"%s[%s]" % (self.empty[:-2], b",".join(elements)), 1)


def list_shape(message: Descriptor) -> ListShape | None:
    """The shape of a list; None where the message is none, or more than one.

    With nothing but scalars beside it, the name of the list stands in the JSON once, and nowhere within a string:
    there its quotes would be escaped.
    """
    if has_own_json(message):
        return None
    nested = [field for field in message.fields if field.message_type is not None]
    if len(nested) != 1:
        return None
    (field,) = nested
    element = field.message_type
    if element is None or not field.is_repeated or element.GetOptions().map_entry:
        return None
    return ListShape(element.full_name, field.number << 3 | BYTES, f'"{field.name}":[]'.encode())
