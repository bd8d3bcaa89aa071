"""Segments on disk: ``<first sequence number>.jsonl``, a header line and then one compact JSON record a line."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from orchestration.service.logs.errors import LogStoreError
from orchestration.service.providers.base import LogRecord

_NAME = re.compile(r"(\d{20})\.jsonl")
_SEQ = re.compile(rb'\{"seq":(\d+),')
_CHUNK_BYTES = 256 * 1024
_SCAN_BYTES = 64 * 1024
"""Where bisecting stops paying: one read brings this much."""

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of all that came before it, so that a reader or a recovery need not read that."""

    opened: float
    """Unix seconds at which it was begun, so also when the one before was complete."""
    latest: float
    """The highest line time of all earlier segments."""
    sources: Mapping[str, str]
    """The cursor reached in each source, the least recently seen first."""


def segment_path(folder: Path, first: int) -> Path:
    """The file of the segment that begins with line ``first``."""
    return folder / f"{first:020}.jsonl"


def list_segments(folder: Path) -> tuple[int, ...]:
    """First sequence numbers of the segments that exist, ascending."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - asked before each append, and many times a second by followers
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name))))


def to_json(value: Mapping[str, Any]) -> bytes:
    """A line. Lone surrogates, which UTF-8 has no form for, become question marks."""
    return _encoder.encode(value).encode("utf-8", "replace") + b"\n"


def encode_lines(records: Sequence[LogRecord], first: int, replica_id: str, source: str) -> bytes:
    """The records as lines of a segment, numbered from ``first`` on."""
    text = _encoder.encode
    replica, origin = text(replica_id), text(source)
    lines = [
        # By hand, since half of a gateway's work on a line would be the encoder's look at the keys.
        f'{{"seq":{seq},"time":{_time(record.time)},"replica":{replica},"stream":{text(record.stream)},'
        f'"source":{origin},"cursor":{text(record.cursor)},"message":{text(record.message)}}}\n'
        for seq, record in enumerate(records, first)
    ]
    return "".join(lines).encode("utf-8", "replace")


def _time(seconds: float) -> float:
    """What is not a number has no form in JSON."""
    return seconds if math.isfinite(seconds) else 0.0


def from_json(line: bytes, path: Path) -> dict[str, Any]:
    """The record of a line that must be whole. Raises `LogStoreError` naming the file."""
    try:
        record: Any = json.loads(line)
    except ValueError as error:
        raise LogStoreError(f"log segment {path} is damaged: {error}") from error
    if not isinstance(record, dict):
        raise LogStoreError(f"log segment {path} is damaged: {line[:40]!r} is not a record")
    return cast("dict[str, Any]", record)


def seq_of(line: bytes, path: Path) -> int:
    """The sequence number of a record, without reading the rest. Raises `LogStoreError` naming the file."""
    found = _SEQ.match(line)
    if found is None:
        raise LogStoreError(f"log segment {path} is damaged: {line[:40]!r} does not begin a record")
    return int(found[1])


def create_segment(folder: Path, first: int, header: Header) -> int:
    """Create the segment, which exists only once its header is whole and on disk; returns its size in bytes."""
    line = to_json(asdict(header))
    replace_file(segment_path(folder, first), line)
    return len(line)


def replace_file(path: Path, content: bytes) -> None:
    """Put a file on disk, whole or not at all."""
    unfinished = path.with_suffix(".new")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_header(path: Path) -> Header:
    """The header of a segment. Raises `LogStoreError` and `FileNotFoundError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _, line = next(lines_from(fd, 0), (0, b""))
    finally:
        os.close(fd)
    return parse_header(line, path)


def parse_header(line: bytes, path: Path) -> Header:
    """The header in a segment's first line. Raises `LogStoreError`."""
    try:
        return Header(**from_json(line, path))
    except TypeError as error:
        raise LogStoreError(f"log segment {path} is damaged: it does not begin with a header") from error


def lines_from(fd: int, offset: int) -> Iterator[tuple[int, bytes]]:
    """Complete lines from ``offset`` on, each with the offset of its end; a torn last one is left out."""
    parts: list[bytes] = []
    while chunk := os.pread(fd, _CHUNK_BYTES, offset + sum(map(len, parts))):
        if b"\n" not in chunk:
            parts.append(chunk)
            continue
        *complete, rest = b"".join([*parts, chunk]).split(b"\n")
        parts = [rest] if rest else []
        for line in complete:
            offset += len(line) + 1
            yield offset, line


def offset_before(fd: int, seq: int) -> int:
    """The offset of some line not far before the first one with a sequence number above ``seq``."""
    low, high = 0, os.fstat(fd).st_size
    while high - low > _SCAN_BYTES:
        middle = (low + high) // 2
        start = _next_line(fd, middle, high)
        if start >= high:
            high = middle
            continue
        found = _SEQ.match(os.pread(fd, 32, start))
        if found and int(found[1]) <= seq:
            low = start
        else:
            high = start
    return low


def _next_line(fd: int, offset: int, end: int) -> int:
    while offset < end:
        chunk = os.pread(fd, 4096, offset)
        newline = chunk.find(b"\n")
        if newline >= 0:
            return offset + newline + 1
        if not chunk:
            break
        offset += len(chunk)
    return end


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in the folder last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
