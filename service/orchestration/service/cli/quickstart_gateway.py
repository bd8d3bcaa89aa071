"""The gateway that quickstart runs: a real child process with a log file, and a folder for what it keeps."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.quickstart_needs import HOST

_POLL_S = 0.02
_STOP_S = 15.0
_LAST_LINES = 15


@contextmanager
def workspace(kept: Path | None) -> Generator[Path, None, None]:
    """The folder for the length of a block: the one to keep, or a temporary one that is removed."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="orchestration-quickstart-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def uninterrupted() -> Generator[None, None, None]:
    """Ctrl-C does nothing for the length of a block: stopping everything is not to be stopped half-way."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_on_sigterm() -> None:
    """Being told to end is the same as Ctrl-C: everything is stopped first."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


class GatewayProcess:
    """`orchestration serve` as a child in a process group of its own, so that Ctrl-C reaches only its parent."""

    def __init__(self, folder: Path, grpc_port: int, http_port: int) -> None:
        self.grpc_address = f"{HOST}:{grpc_port}"
        self.log_path = folder / "gateway.log"
        self._http_port = http_port
        arguments = {
            "--grpc-listen": self.grpc_address,
            "--http-listen": f"{HOST}:{http_port}",
            "--data-dir": str(folder),
        }
        self._command = [sys.executable, "-m", "orchestration.service.cli.main", "serve", "--log-format", "json"]
        for flag, value in arguments.items():
            self._command += [flag, value]

    @property
    def http_url(self) -> str:
        """Base URL of its REST API."""
        return f"http://{HOST}:{self._http_port}"

    def __enter__(self) -> GatewayProcess:
        # Settings meant for another gateway, its database among them, must not reach this one.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATION_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once /readyz answers 200. Raises `CliError` with its last log lines when it ends or takes too long."""
        ends = time.monotonic() + timeout_s
        while not self._answers():
            if self._process.poll() is not None:
                raise CliError(f"the gateway ended with code {self._process.returncode}:{self._tail()}")
            if time.monotonic() > ends:
                raise CliError(f"the gateway was not ready in time:{self._tail()}", ExitCode.UNAVAILABLE)
            time.sleep(_POLL_S)

    def wait_end(self) -> None:
        """Return never by itself: raises `CliError` when the gateway ends."""
        code = self._process.wait()
        raise CliError(f"the gateway ended with code {code}:{self._tail()}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._http_port, timeout=1.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _tail(self) -> str:
        with self.log_path.open(encoding="utf-8", errors="replace") as log:
            lines = deque(log, maxlen=_LAST_LINES)
        return "".join(f"\n  {line.rstrip()}" for line in lines) or " it printed nothing"
