"""What the provider tells a new supervisor: one message of NUL-separated fields on its standard input.

No JSON, dataclasses or typing here: importing one of them would double the time from the request to the engine.
"""

import os

_END = b"end-of-launch"


class Launch:
    """How to run one engine."""

    def __init__(
        self,
        *,
        executable: bytes,
        argv: tuple[bytes, ...],
        environment: dict[bytes, bytes],
        stop_grace_s: float,
        log_segment_bytes: int,
        log_segments: int,
    ) -> None:
        self.executable = executable
        self.argv = argv
        self.environment = environment
        self.stop_grace_s = stop_grace_s
        self.log_segment_bytes = log_segment_bytes
        self.log_segments = log_segments


def encode(launch: Launch) -> bytes:
    """The message. Raises ValueError when an argument or a variable holds a NUL, which no process could be given."""
    fields = [
        launch.executable,
        repr(launch.stop_grace_s).encode(),
        b"%d" % launch.log_segment_bytes,
        b"%d" % launch.log_segments,
        b"%d" % len(launch.argv),
        *launch.argv,
        *(key + b"=" + value for key, value in launch.environment.items()),
        _END,
    ]
    if any(b"\0" in field for field in fields):
        raise ValueError("a command or an environment variable holds a NUL character")
    return b"\0".join(fields)


def receive(fd: int) -> Launch | None:
    """Read the message to the end of the stream; None when the writer went away before it was complete."""
    chunks: list[bytes] = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    fields = b"".join(chunks).split(b"\0")
    if fields[-1] != _END:
        return None
    executable, grace, segment_bytes, segments, count = fields[:5]
    first_variable = 5 + int(count)
    return Launch(
        executable=executable,
        argv=tuple(fields[5:first_variable]),
        environment=dict(_variable(field) for field in fields[first_variable:-1]),
        stop_grace_s=float(grace),
        log_segment_bytes=int(segment_bytes),
        log_segments=int(segments),
    )


def _variable(field: bytes) -> tuple[bytes, bytes]:
    key, _, value = field.partition(b"=")
    return key, value
