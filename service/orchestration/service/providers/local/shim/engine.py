"""Starting the engine process, and ending it with everything it started."""

import ctypes
import os
import time

from .launch import Launch

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = 9
# Ignored by every Python process, and inherited over exec: an engine must find the defaults.
_SIGNALS_TO_RESTORE = (13, 25)  # SIGPIPE, SIGXFSZ

_SIG_SETMASK = 2

_libc = ctypes.CDLL(None, use_errno=True)


class Engine:
    """A started engine: its pid, which is also its session's and its group's id, and the pipes it prints to."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr


def become_subreaper() -> None:
    """Make processes that the engine leaves behind children of this one, so that none escapes by losing its parent."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(launch: Launch) -> Engine:
    """Start the engine in a session of its own; it dies with this process. Raises OSError when it cannot be run."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    failed_read, failed_write = os.pipe()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run(launch, supervisor, out_write, err_write, failed_write)
    for fd in (out_write, err_write, failed_write):
        os.close(fd)
    # The pipe closes by itself when the exec succeeds.
    failure = os.read(failed_read, 64)
    os.close(failed_read)
    if failure:
        os.waitpid(pid, 0)
        number = int(failure)
        raise OSError(number, os.strerror(number))
    return Engine(pid, out_read, err_read)


def _run(launch: Launch, supervisor: int, stdout: int, stderr: int, failed: int) -> None:
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(127)  # it died before the line above could tie this process to it
        for number in _SIGNALS_TO_RESTORE:
            _libc.signal(number, None)
        # The supervisor blocks SIGTERM until it can handle it; the engine is not to inherit that.
        _libc.sigprocmask(_SIG_SETMASK, ctypes.create_string_buffer(128), None)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.execve(launch.executable, launch.argv, launch.environment)  # noqa: S606
    except OSError as error:
        os.write(failed, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def kill_group(group: int, number: int) -> None:
    """Signal every process of the engine's group; nothing happens when there is none left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def end_all(group: int, timeout_s: float = 5.0) -> None:
    """Kill the group and every other descendant, those that left the group included, and reap them."""
    deadline = time.monotonic() + timeout_s
    kill_group(group, _SIGKILL)
    while time.monotonic() < deadline:
        for pid in _children():
            try:
                os.kill(pid, _SIGKILL)
            except ProcessLookupError:
                continue
        if not _reap():
            return
        time.sleep(0.005)


def _reap() -> bool:
    """Reap every child that has ended; False when there is no child left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    own = os.getpid()
    try:
        with open(f"/proc/self/task/{own}/children") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without that file
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) == own]  # noqa: PTH208


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return int(file.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
