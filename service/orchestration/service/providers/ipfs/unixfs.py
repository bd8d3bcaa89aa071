"""Blocks of a UnixFS file: dag-pb nodes that link to others and hold a part of the file themselves.

Written from the specifications of dag-pb and UnixFS (ipld/specs, ipfs/specs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.service.providers.ipfs import varint
from orchestration.service.providers.ipfs.cid import DAG_PB, RAW, Cid, CidError, from_bytes

_RAW_NODE, _DIRECTORY, _FILE, _METADATA, _SYMLINK, _SHARD = range(6)
_KINDS = {_DIRECTORY: "a directory", _METADATA: "metadata", _SYMLINK: "a symbolic link", _SHARD: "a directory"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class BlockError(ValueError):
    """A block that is what its name says, and no part of a file that can be read here."""


@dataclass(frozen=True, slots=True)
class FileBlock:
    """One node of a file's tree."""

    data: bytes
    """What of the file lies in the node itself, before all that its links hold."""
    links: tuple[Cid, ...]
    size: int | None
    """Bytes of the file below the node; None: it does not say."""


def decode(cid: Cid, block: bytes) -> FileBlock:
    """The block as part of a file. Raises `BlockError`."""
    if cid.codec == RAW:
        return FileBlock(block, (), len(block))
    if cid.codec != DAG_PB:
        raise BlockError(f"block {cid} has codec {cid.codec:#x}, which is no part of a file")
    try:
        return _node(cid, block)
    except (ValueError, CidError) as error:
        raise BlockError(f"block {cid} cannot be read: {error}") from None


def _node(cid: Cid, block: bytes) -> FileBlock:
    links: list[Cid] = []
    content = b""
    for number, value in _fields(block):
        if number == 1 and isinstance(value, bytes):
            content = value
        elif number == 2 and isinstance(value, bytes):
            links.append(_link(value))
    kind, data, size, sizes = _unixfs(content)
    if kind not in (_RAW_NODE, _FILE):
        raise BlockError(f"it is {_KINDS.get(kind, f'of the unknown type {kind}')}, not a file")
    if len(sizes) != len(links):
        raise BlockError(f"it has {len(links)} links and {len(sizes)} sizes of them")
    if size is not None and size != len(data) + sum(sizes):
        raise BlockError(f"it says that the file has {size} bytes, and its parts have {len(data) + sum(sizes)}")
    return FileBlock(data, tuple(links), size)


def _link(message: bytes) -> Cid:
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            return from_bytes(value)
    raise BlockError("it has a link to nothing")


def _unixfs(message: bytes) -> tuple[int, bytes, int | None, list[int]]:
    """Type, data, file size and sizes of the linked parts."""
    kind, data, size, sizes = -1, b"", None, list[int]()
    for number, value in _fields(message):
        match number, value:
            case 1, int():
                kind = value
            case 2, bytes():
                data = value
            case 3, int():
                size = value
            case 4, int():
                sizes.append(value)
            case 4, bytes():  # written packed
                at = 0
                while at < len(value):
                    one, at = varint.read(value, at)
                    sizes.append(one)
            case _:
                continue  # mode, time and the fan-out of directories do not matter here
    return kind, data, size, sizes


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message, in their order."""
    at = 0
    while at < len(message):
        tag, at = varint.read(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = varint.read(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = varint.read(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise BlockError(f"wire type {wire} is not known")
        if at + length > len(message):
            raise BlockError("it ends within a field")
        yield number, message[at : at + length]
        at += length
