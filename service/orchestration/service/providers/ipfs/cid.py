"""Content identifiers, versions 0 and 1: what a block is called says what it must hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from orchestration.service.providers.ipfs import base58, varint

RAW = 0x55
DAG_PB = 0x70
_SHA2_256 = 0x12
_IDENTITY = 0x00
_DIGEST_BYTES = 32
_LONGEST_IDENTITY = 128
_LONGEST_TEXT = 512


class CidError(ValueError):
    """A text or some bytes that are no CID that can be read here; the message says why."""


@dataclass(frozen=True, slots=True)
class Cid:
    """One identifier; two that are equal name the same bytes, read in the same way."""

    version: int
    codec: int
    """How the block is to be read: `RAW` or `DAG_PB`, or another that cannot be read here."""
    hash_code: int
    digest: bytes

    def __str__(self) -> str:
        if self.version == 0:
            return base58.encode(self._multihash())
        return "b" + base64.b32encode(self._binary()).decode().lower().rstrip("=")

    def _multihash(self) -> bytes:
        return varint.write(self.hash_code) + varint.write(len(self.digest)) + self.digest

    def _binary(self) -> bytes:
        return varint.write(self.version) + varint.write(self.codec) + self._multihash()

    @property
    def inline(self) -> bytes | None:
        """The block itself, where the identifier holds it."""
        return self.digest if self.hash_code == _IDENTITY else None

    def matches(self, block: bytes) -> bool:
        """Whether the bytes are what the identifier names."""
        if self.hash_code == _IDENTITY:
            return block == self.digest
        return hmac.compare_digest(hashlib.sha256(block).digest(), self.digest)


def parse(text: str) -> Cid:
    """The CID that a text writes: version 0, or version 1 in base 32, 58 or 16. Raises `CidError`."""
    if not text or len(text) > _LONGEST_TEXT:
        raise CidError(f"a CID has 1 to {_LONGEST_TEXT} characters, not {len(text)}")
    try:
        if text.startswith("Qm") and len(text) == 46:
            return _from_bytes(base58.decode(text))
        data = _multibase(text)
    except CidError:
        raise
    except ValueError as error:
        raise CidError(f"{text!r} is no CID: {error}") from None
    if data[:1] == b"\x12":
        raise CidError(f"{text!r} is no CID: version 0 has no prefix")
    return _from_bytes(data)


def from_bytes(data: bytes) -> Cid:
    """The CID that a link of a block holds. Raises `CidError`."""
    return _from_bytes(data)


def _multibase(text: str) -> bytes:
    prefix, rest = text[0], text[1:]
    match prefix:
        case "b":
            if rest != rest.lower() or "=" in rest:
                raise ValueError("base 32 is written in lower case and without padding")
            return base64.b32decode(rest.upper() + "=" * (-len(rest) % 8))
        case "z":
            return base58.decode(rest)
        case "f":
            return bytes.fromhex(rest)
        case _:
            raise ValueError(f"the prefix {prefix!r} is none of b (base 32), z (base 58) and f (base 16)")


def _from_bytes(data: bytes) -> Cid:
    try:
        if data[:2] == bytes((_SHA2_256, _DIGEST_BYTES)):
            version, codec, at = 0, DAG_PB, 0
        else:
            version, at = varint.read(data, 0)
            codec, at = varint.read(data, at)
        hash_code, at = varint.read(data, at)
        length, at = varint.read(data, at)
    except ValueError as error:
        raise CidError(f"these bytes are no CID: {error}") from None
    digest = data[at:]
    if version not in (0, 1):
        raise CidError(f"CID version {version} is not known; there are 0 and 1")
    if len(digest) != length:
        raise CidError(f"the digest has {len(digest)} bytes, and {length} are announced")
    if hash_code == _SHA2_256 and length == _DIGEST_BYTES:
        return Cid(version, codec, hash_code, digest)
    if hash_code == _IDENTITY and length <= _LONGEST_IDENTITY:
        return Cid(version, codec, hash_code, digest)
    raise CidError(f"hash function {hash_code:#x} with {length} bytes is not known; sha2-256 and identity are")
