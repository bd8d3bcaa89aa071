"""A job of the fake cluster: a real process, with Ray's way of starting, logging and ending it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.ray.nodes import FakeNode

FIELDS = {
    "entrypoint",
    "submission_id",
    "runtime_env",
    "metadata",
    "entrypoint_num_cpus",
    "entrypoint_num_gpus",
    "entrypoint_memory",
    "entrypoint_resources",
    "entrypoint_label_selector",
}
WAITS = "Job has not started yet. It may be waiting for resources (CPUs, GPUs, memory) to become available."
_TERMINAL = {"STOPPED", "SUCCEEDED", "FAILED"}


class FakeJob:
    """One submitted job."""

    def __init__(self, body: dict[str, Any], log: Path, head: str) -> None:
        self.body = body
        self.name = str(body["submission_id"])
        self.log = log
        self.head = head
        self.status = "PENDING"
        self.message = WAITS
        self.error_type: str | None = None
        self.exit_code: int | None = None
        self.node: FakeNode | None = None
        self.start_time = int(time.time() * 1000)
        self.held_until = 0.0
        self.stop_asked = asyncio.Event()
        self.died = asyncio.Event()
        self.vanished = False
        """It died, and nobody has noticed yet."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def ended(self) -> bool:
        """Whether it is in a final state."""
        return self.status in _TERMINAL

    @property
    def wanted(self) -> dict[str, float]:
        """What it asks for of a node."""
        asked = {"CPU": self.body.get("entrypoint_num_cpus"), "GPU": self.body.get("entrypoint_num_gpus")}
        asked["memory"] = self.body.get("entrypoint_memory")
        return {kind: float(amount) for kind, amount in asked.items() if amount}

    @property
    def selector(self) -> dict[str, str]:
        """The labels that its node must have."""
        return dict(self.body.get("entrypoint_label_selector") or {})

    async def run(self, node: FakeNode) -> None:
        """Run it to its end."""
        self.node = node
        self.status, self.message = "RUNNING", "Job is currently running."
        with self.log.open("a") as out:
            self._process = await asyncio.create_subprocess_shell(
                str(self.body["entrypoint"]),
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=self._environment(),
            )
            # What Ray has written before lies in a buffer until now.
            out.write(f"Running entrypoint for job {self.name}: {self.body['entrypoint']}\n")
        ending = [
            asyncio.create_task(item) for item in (self._process.wait(), self.stop_asked.wait(), self.died.wait())
        ]
        try:
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            await self._end(self._process)
        finally:
            for task in ending:
                task.cancel()
            self.kill()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if self.vanished:
            return
        if self.died.is_set():
            self.kill()
            await process.wait()
            self._finish("FAILED", "Job supervisor actor died: The actor died because its node has died.")
            self.error_type = "JOB_SUPERVISOR_ACTOR_DIED"
        elif self.stop_asked.is_set():
            await self._stop(process)
            self._finish("STOPPED", "Job was intentionally stopped.")
        elif process.returncode == 0:
            self._finish("SUCCEEDED", "Job finished successfully.")
            self.exit_code = 0
        else:
            self._finish("FAILED", f"Job entrypoint command failed with exit code {process.returncode}, last ...")
            self.error_type, self.exit_code = "JOB_ENTRYPOINT_COMMAND_ERROR", process.returncode

    def _finish(self, status: str, message: str) -> None:
        self.status, self.message = status, message

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        found = self._processes()
        for item in found:
            with suppress(psutil.NoSuchProcess):
                item.send_signal(signal.SIGTERM)
        wait_s = int(self.body["runtime_env"]["env_vars"].get("RAY_JOB_STOP_WAIT_TIME_S", 3))
        deadline = time.monotonic() + wait_s
        while any(alive(item) for item in found):
            if time.monotonic() > deadline:
                self.kill()
                break
            await asyncio.sleep(0.02)
        await process.wait()

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        try:
            leader = psutil.Process(self._process.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End its whole group, as Ray's watcher does when the supervisor is gone."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        given: dict[str, str] = self.body.get("runtime_env", {}).get("env_vars", {})
        expanded = {key: os.path.expandvars(value) for key, value in given.items()}
        gpus = int(self.wanted.get("GPU", 0))
        seen = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))} if gpus else {}
        config = {"runtime_env": self.body.get("runtime_env"), "metadata": self.body.get("metadata")}
        own = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(config), "RAY_ADDRESS": self.head, "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **expanded, **seen, **own}

    def view(self) -> dict[str, Any]:
        """As the API tells it."""
        node = self.node
        return {
            "type": "SUBMISSION",
            "job_id": None,
            "submission_id": self.name,
            "driver_info": None,
            "status": self.status,
            "entrypoint": self.body["entrypoint"],
            "message": self.message,
            "error_type": self.error_type,
            "start_time": self.start_time,
            "end_time": None,
            "metadata": self.body.get("metadata"),
            "runtime_env": self.body.get("runtime_env"),
            "driver_agent_http_address": "http://127.0.0.1:52365" if node else None,
            "driver_node_id": node.node_id if node else None,
            "driver_exit_code": self.exit_code,
        }


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
