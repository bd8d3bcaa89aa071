"""A real Ray cluster on this machine, in a network namespace of its own; everything of it ends with the namespace."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

PORT = 6390
DASHBOARD = "http://127.0.0.1:8265"
_AGENT_PORTS = (52365, 52465, 52565)
_STORE = "--object-store-memory=80000000"

Command = tuple[list[str], dict[str, str]]
"""A process's command line and environment."""


class RealCluster:
    """A head that runs nothing, and two raylets with a GPU each that is not there."""

    def __init__(self, python: str, folder: Path, token: str) -> None:
        self._ray = [python, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", _STORE]
        self._folder = folder
        self._environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_TMPDIR": str(folder),
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "HOME": str(folder),
        }
        for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):  # three times as slow where every process compiles
            self._environment.pop(name, None)

    def start(self) -> None:
        """Start all three."""
        head = ["--head", f"--port={PORT}", "--num-cpus=0", "--num-gpus=0", f"--temp-dir={self._folder}"]
        self._start(*head, "--dashboard-host=127.0.0.1", f"--dashboard-agent-listen-port={_AGENT_PORTS[0]}")
        for port in _AGENT_PORTS[1:]:
            self.add_raylet(port)

    def add_raylet(self, port: int) -> None:
        """Start another one, whose agent listens on the port."""
        gpu = ["--num-cpus=2", "--num-gpus=1", "--labels=ray.io/accelerator-type=A100"]
        self._start(f"--address=127.0.0.1:{PORT}", *gpu, f"--dashboard-agent-listen-port={port}")

    def _start(self, *options: str) -> None:
        done = subprocess.run(
            [*self._ray, *options], env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"ray start {options}: {done.stdout}{done.stderr}"

    def kill_raylet(self, node_id: str) -> None:
        """End a raylet with SIGKILL; what it ran ends with it."""
        found = _processes(f" --node_id={node_id} ")
        assert len(found) == 1, f"{len(found)} raylets of node {node_id}"
        found[0].kill()

    def pause_dashboard(self) -> list[psutil.Process]:
        """Stop all that answers the API where it is: nobody gets an answer until `resume`."""
        found = _processes("dashboard/dashboard.py") + _processes("ray-dashboard-")
        assert found
        for item in found:
            item.send_signal(signal.SIGSTOP)
        return found

    def kill_dashboard(self) -> list[Command]:
        """End all that answers the API with SIGKILL; what `start_again` needs."""
        main = _processes("dashboard/dashboard.py")
        assert len(main) == 1, main
        killed = [(item.cmdline(), item.environ()) for item in main]
        for item in main + _processes("ray-dashboard-"):
            item.kill()
        return killed

    def start_again(self, killed: list[Command]) -> None:
        """Start the same again, as `ray start` did: Ray itself does not."""
        with (self._folder / "dashboard-again").open("w") as out:
            for command, environment in killed:
                subprocess.Popen(command, env=environment, stdout=out, stderr=out)


def _processes(part: str) -> list[psutil.Process]:
    """Every process with this in its command line."""
    found: list[psutil.Process] = []
    for item in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if part in " ".join(item.cmdline()):
                found.append(item)
    return found
