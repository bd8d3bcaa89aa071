"""Makes IPFS files: blocks and CIDs by an encoder of its own, which shares no code with what reads them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

_ALPHABET = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _b58(data: bytes) -> str:
    number, out = int(data.hex(), 16), bytearray()
    while number > 0:
        out.insert(0, _ALPHABET[number % 58])
        number //= 58
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out.decode()


def _uvarint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + _uvarint(number // 128)


def _message(number: int, value: bytes) -> bytes:
    return _uvarint(number * 8 + 2) + _uvarint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _uvarint(number * 8) + _uvarint(value)


def cid_v0(digest: bytes) -> str:
    """The text of a version 0 CID with this SHA-256."""
    return _b58(b"\x12\x20" + digest)


def cid_v1(digest: bytes, codec: int) -> str:
    """The same of version 1, in base 32."""
    return "b" + base64.b32encode(bytes([1, codec, 0x12, 0x20]) + digest).decode().lower().replace("=", "")


@dataclass
class Blocks:
    """Blocks by the text of their CIDs."""

    kept: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def file(self, content: bytes, *, version: int = 0, chunk: int = 262_144, width: int = 174) -> str:
        """Store a file as Kubo does: balanced, with raw leaves for version 1; the CID of its root."""
        pieces = [content[at : at + chunk] for at in range(0, len(content), chunk)] or [b""]
        level = [self._leaf(piece, version, alone=len(pieces) == 1) for piece in pieces]
        while len(level) > 1:
            level = [self._parent(level[at : at + width], version) for at in range(0, len(level), width)]
        return level[0][0]

    def _leaf(self, piece: bytes, version: int, *, alone: bool) -> tuple[str, bytes, int]:
        del alone
        if version == 1:
            return self._keep(piece, 1, 0x55, len(piece))
        unixfs = _number(1, 2) + (_message(2, piece) if piece else b"") + _number(3, len(piece))
        return self._keep(_message(1, unixfs), 0, 0x70, len(piece))

    def _parent(self, children: list[tuple[str, bytes, int]], version: int) -> tuple[str, bytes, int]:
        links = b"".join(
            _message(2, _message(1, binary) + _message(2, b"") + _number(3, size)) for _, binary, size in children
        )
        total = sum(size for _, _, size in children)
        unixfs = _number(1, 2) + _number(3, total) + b"".join(_number(4, size) for _, _, size in children)
        return self._keep(links + _message(1, unixfs), version, 0x70, total)

    def _keep(self, block: bytes, version: int, codec: int, size: int) -> tuple[str, bytes, int]:
        digest = hashlib.sha256(block).digest()
        multihash = b"\x12\x20" + digest
        text = cid_v0(digest) if version == 0 else cid_v1(digest, codec)
        self.kept[text] = block
        return text, multihash if version == 0 else bytes([1, codec]) + multihash, size

    def node(self, links: list[bytes], unixfs: bytes) -> str:
        """Any dag-pb node of version 0, also one that makes no sense."""
        body = b"".join(_message(2, _message(1, link)) for link in links) + _message(1, unixfs)
        return self._keep(body, 0, 0x70, 0)[0]


DIRECTORY = _number(1, 1)
"""The UnixFS part of a directory."""
