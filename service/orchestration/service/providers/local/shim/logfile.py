"""The log of one instance: JSON lines in numbered segments, the oldest removed when there are too many.

A record is ``{"t": unix seconds, "s": "stdout" | "stderr", "m": message}``. Segments are ``00000001.jsonl`` and so on,
and each begins with ``{"first": n}``, the number of records before it: by that a reader that finds segments gone knows
how many lines went with them. A reader's place is a segment's number and a byte offset in it, which stays true as long
as the segment is kept.
"""

import errno
import json
import os

LOG_FOLDER = "log"
SUFFIX = ".jsonl"
MAX_LINE_BYTES = 1024 * 1024
"""What a line holds beyond this is left out, and its record says how much that was.

It bounds the memory of the supervisor too: a line of that many NULs is held once as bytes, once as text and, six times
as long, once or twice as a record. In UTF-8 a line has at most three times its bytes, one U+FFFD for each that is
invalid, and so fits into the 4 MiB of a gRPC message.
"""

_encode = json.JSONEncoder(ensure_ascii=False).encode


def segment_path(folder: str, number: int) -> str:
    """Where a segment lies."""
    return f"{folder}/{number:08d}{SUFFIX}"


def segment_numbers(folder: str) -> list[int]:
    """The segments that there are, oldest first; none when the folder does not exist."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdigit())


class LineSplitter:
    """Cuts a byte stream into lines, holding no more than one line's limit whatever the stream brings."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._held = bytearray()
        self._left_out = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete."""
        *ends, rest = data.split(b"\n")
        lines: list[str] = []
        for end in ends:
            self._hold(end)
            lines.append(self._take())
        self._hold(rest)
        return lines

    def flush(self) -> list[str]:
        """What was printed without a newline at the end, if anything."""
        return [self._take()] if self._held else []

    def _hold(self, part: bytes) -> None:
        room = self._limit - len(self._held)
        self._held += part[:room]
        self._left_out += max(0, len(part) - room)

    def _take(self) -> str:
        text = self._held.removesuffix(b"\r").decode("utf-8", "replace")
        if self._left_out:
            text += f" [line cut: {self._left_out} more bytes]"
        self._held.clear()
        self._left_out = 0
        return text


class LogWriter:
    """Appends records; a disk that takes none loses lines, counted and told once it takes some again."""

    def __init__(self, folder: str, segment_bytes: int, segments: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segments = segments
        self._number = max(segment_numbers(folder), default=0)
        self._fd = -1
        self._size = 0
        self._count = 0
        """Records written, whatever has become of them."""
        self._lost = 0
        self._why = ""

    def write(self, stream: str, lines: list[str], now: float) -> None:
        """Append the lines as records. Never raises for a disk that is full or broken."""
        records = [_record(stream, line, now) for line in lines]
        try:
            if records and self._lost:
                self._append([_record("stderr", f"[dropped {self._lost} lines: {self._why}]", now)])
                self._lost = 0
            while records:
                del records[: self._append(records)]
        except OSError as error:
            self._lost += len(records)
            self._why = error.strerror or str(error)

    def drop_oldest(self) -> bool:
        """Make room on the disk; False when only the segment being written is left."""
        numbers = segment_numbers(self._folder)
        if len(numbers) < 2:
            return False
        os.unlink(segment_path(self._folder, numbers[0]))  # noqa: PTH108
        return True

    def close(self) -> None:
        """Have what was written on disk, and let go of it."""
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            finally:
                os.close(self._fd)
                self._fd = -1

    def _append(self, records: list[bytes]) -> int:
        """Write as many of the records as the segment has room for, at least one; how many. Raises OSError."""
        if self._fd < 0 or (self._size and self._size + len(records[0]) > self._segment_bytes):
            self._next_segment()
        header = b"" if self._size else b'{"first":%d}\n' % self._count
        taken, size = 0, self._size + len(header)
        for record in records:
            if taken and size + len(record) > self._segment_bytes:
                break
            taken, size = taken + 1, size + len(record)
        data = b"".join((header, *records[:taken]))
        written = os.write(self._fd, data)
        if written < len(data):
            # Half a record would be read as one. The rest is tried again, and then the reason is raised.
            written = data.rfind(b"\n", 0, written) + 1
            taken = data.count(b"\n", len(header), written)
            if not taken:
                written = 0
            os.ftruncate(self._fd, self._size + written)
            if not taken:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        self._count += taken
        return taken

    def _next_segment(self) -> None:
        if self._fd < 0:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(segment_path(self._folder, self._number + 1), flags, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._number += 1
        self._size = 0
        while len(segment_numbers(self._folder)) > self._segments and self.drop_oldest():
            pass


def _record(stream: str, message: str, now: float) -> bytes:
    return f'{{"t":{now!r},"s":"{stream}","m":{_encode(message)}}}\n'.encode()
