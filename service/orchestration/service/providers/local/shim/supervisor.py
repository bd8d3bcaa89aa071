"""The supervisor's life: start the engine, keep its output, pass on the wish to stop, record its end.

Descriptors it is given: 0 the launch message, 1 where a byte says that ``state.json`` tells how the start went,
2 a file for its own errors, 3 the lock of the instance folder. The lock is held as long as this process lives, which
is how everyone else knows that the instance has a supervisor.
"""

import os
import select
import sys
import time

from . import engine, oom, statefile
from .launch import Launch, receive

LOCK_FD = 3
_REPORT_FD = 1
_TICK_MS = 2000
_READ_BYTES = 65536
_SMALL_READ_BYTES = 8192
_GATHER_S = 0.002
"""Pause after a small read: an engine that prints lines one by one would otherwise have each cost a wake-up."""


def main() -> None:
    """Run one engine to its end."""
    folder = sys.argv[1]
    os.closerange(LOCK_FD + 1, 65536)
    os.set_inheritable(LOCK_FD, False)
    launch = receive(0)
    if launch is None:
        return  # the gateway died before it had asked for anything
    engine.become_subreaper()
    started_at = time.time()
    try:
        started = engine.start(launch)
    except OSError as error:
        _record_failure(folder, launch, error)
        return
    state = statefile.running_state(os.getpid(), started.pid, started_at)
    statefile.replace_file(f"{folder}/{statefile.STATE_FILE}", statefile.encode_plain(state))
    _report()
    Supervisor(folder, launch, started, state).run()


class Supervisor:
    """Watches one running engine."""

    def __init__(
        self, folder: str, launch: Launch, started: engine.Engine, state: dict[str, str | int | float | None]
    ) -> None:
        from .logfile import LOG_FOLDER, LineSplitter, LogWriter  # after the engine runs: this imports json

        self._folder = folder
        self._grace_s = launch.stop_grace_s
        self._engine = started
        self._state = state
        self._log = LogWriter(f"{folder}/{LOG_FOLDER}", launch.log_segment_bytes, launch.log_segments)
        self._streams = {started.stdout: ("stdout", LineSplitter()), started.stderr: ("stderr", LineSplitter())}
        self._poll = select.poll()
        self._stop_asked = False
        self._kill_at: float | None = None
        self._oom = oom.RecentKills(oom.counter_file(os.getpid()))

    def run(self) -> None:
        """Until the engine has ended and its end is on disk."""
        wake = self._catch_signals()
        self._poll.register(wake, select.POLLIN)
        for fd in self._streams:
            self._poll.register(fd, select.POLLIN)
        while (ended := self._engine_end()) is None:
            self._oom.sample()
            read = 0
            for fd, _ in self._poll.poll(self._stop_step()):
                if fd == wake:
                    os.read(wake, 4096)
                else:
                    read += self._pump(fd)
            if 0 < read < _SMALL_READ_BYTES:
                time.sleep(_GATHER_S)
        self._finish(ended)

    def _catch_signals(self) -> int:
        import signal  # after the engine runs: it imports enum

        wake, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

        def on_terminate(number: int, frame: object) -> None:
            self._stop_asked = True

        signal.signal(signal.SIGTERM, on_terminate)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        return wake

    def _stop_step(self) -> int:
        """Do what stopping asks for now; how many milliseconds to sleep at most."""
        if not self._stop_asked:
            return _TICK_MS
        now = time.monotonic()
        if self._kill_at is None:
            engine.kill_group(self._engine.pid, 15)
            self._kill_at = now + self._grace_s
        if now >= self._kill_at:
            engine.kill_group(self._engine.pid, 9)
            return _TICK_MS
        return min(_TICK_MS, int((self._kill_at - now) * 1000) + 1)

    def _pump(self, fd: int) -> int:
        """Keep what can be read; how many bytes that was."""
        stream, splitter = self._streams[fd]
        data = os.read(fd, _READ_BYTES)
        self._log.write(stream, splitter.feed(data) if data else splitter.flush(), time.time())
        if not data:
            self._poll.unregister(fd)
            del self._streams[fd]
            os.close(fd)
        return len(data)

    def _engine_end(self) -> os.waitid_result | None:
        """How the engine ended, or None while it runs; other children that ended are reaped on the way.

        The engine itself stays a zombie, so that its pid, and with it the id of its group, is not given away before
        the group has been killed.
        """
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid == self._engine.pid:
                return ended
            os.waitpid(ended.si_pid, 0)
        return None

    def _finish(self, ended: os.waitid_result) -> None:
        oom_killed = self._oom.seen()
        engine.end_all(self._engine.pid)
        self._drain()
        signaled = ended.si_code != os.CLD_EXITED
        self._state |= {
            "phase": "exited",
            "ended_at": time.time(),
            "exit_code": None if signaled else ended.si_status,
            "signal": ended.si_status if signaled else None,
            "oom_killed": int(signaled and ended.si_status == 9 and self._kill_at is None and oom_killed),
            "stopped": int(self._stop_asked),
        }
        while not self._save():
            time.sleep(1.0)

    def _drain(self) -> None:
        """Read what is left in the pipes; the deadline is for one held open by a process that could not be killed."""
        deadline = time.monotonic() + 1.0
        while self._streams and time.monotonic() < deadline:
            poller = select.poll()
            for fd in self._streams:
                poller.register(fd, select.POLLIN)
            for fd, _ in poller.poll(100):
                self._pump(fd)
        try:
            self._log.close()
        except OSError as error:
            sys.stderr.write(f"log: {error}\n")

    def _save(self) -> bool:
        """Put the last state on disk; a full disk is made room on by giving up the oldest lines."""
        while True:
            try:
                statefile.replace_file(f"{self._folder}/{statefile.STATE_FILE}", statefile.encode_plain(self._state))
                return True
            except FileNotFoundError:
                return True  # the instance was removed by hand: there is nobody to tell
            except OSError as error:
                sys.stderr.write(f"state.json: {error}\n")
                if not self._log.drop_oldest():
                    return False


def _record_failure(folder: str, launch: Launch, error: OSError) -> None:
    import json

    state = {
        "phase": "failed",
        "boot_id": statefile.boot_id(),
        "supervisor_pid": os.getpid(),
        "supervisor_start": statefile.process_start(os.getpid()),
        "reason": "ENGINE_START_FAILED",
        "message": f"{os.fsdecode(launch.executable)} could not be executed: {error.strerror}",
        "ended_at": time.time(),
    }
    statefile.replace_file(f"{folder}/{statefile.STATE_FILE}", json.dumps(state).encode())
    _report()


def _report() -> None:
    try:
        os.write(_REPORT_FD, b"1")
    except BrokenPipeError:
        sys.stderr.write("the gateway is gone; state.json tells the next one\n")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, _REPORT_FD)
    os.dup2(null, 0)
    os.close(null)
