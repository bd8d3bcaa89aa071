"""``state.json``: what the supervisor knows of its engine, replaced whole, so that a reader never sees half of it."""

import os

STATE_FILE = "state.json"


def replace_file(path: str, data: bytes) -> None:
    """Put data in place of the file and have it on disk before returning. Raises OSError; the old file then stays."""
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)  # noqa: PTH104  (pathlib costs the supervisor milliseconds)
    sync_directory(os.path.dirname(path))  # noqa: PTH120


def sync_directory(path: str) -> None:
    """Have a folder's entries on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process, or only its zombie.

    With the pid it names a process for good: pids are used again, a pair of the two is not.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str:
    """What tells this boot of the machine from any other."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        return file.read().strip()


def running_state(supervisor_pid: int, engine_pid: int, started_at: float) -> dict[str, str | int | float | None]:
    """The state while the engine runs, and the part of it that stays true afterwards."""
    return {
        "phase": "running",
        "boot_id": boot_id(),
        "supervisor_pid": supervisor_pid,
        "supervisor_start": process_start(supervisor_pid),
        "engine_pid": engine_pid,
        "engine_start": process_start(engine_pid),
        "started_at": started_at,
    }


def encode_plain(state: dict[str, str | int | float | None]) -> bytes:
    """JSON of a state whose strings need no escapes: importing ``json`` would hold up the answer to the caller."""
    parts = (f'"{key}": {_plain(value)}' for key, value in state.items())
    return ("{" + ", ".join(parts) + "}").encode("ascii")


def _plain(value: str | float | None) -> str:
    if value is None:
        return "null"
    return f'"{value}"' if isinstance(value, str) else repr(value)
