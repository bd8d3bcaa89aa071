"""A provider as small as one can be: replicas are processes of this machine, and a folder each is all that is known.

``NAME/spec.json`` is there once the instance is asked for, ``started`` before its process is, ``pid`` and ``exit`` are
written by the shell that runs the command, ``deleting`` says that it is to end, and ``log`` is what it prints. Whatever
is interrupted, the next call goes on from what lies there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from orchestration.service.providers.base import (
    Capabilities,
    Instance,
    InstanceSpec,
    InstanceState,
    LogRecord,
    Provider,
    ProviderContext,
    Resource,
)

_RUN = 'echo $$ > pid.new && mv pid.new pid; "$@" > log 2>&1; echo $? > exit.new && mv exit.new exit'
_POLL_S = 0.05
_CAPABILITIES = Capabilities(
    kind="cluster",
    log_streaming=True,
    spot=False,
    multi_gpu=False,
    multi_node=False,
    ephemeral=False,
    pricing_model="fixed",
    engines=("custom", "llamacpp"),
)


def create(context: ProviderContext) -> Provider:
    """The entry point. Raises ValueError naming a setting that is wrong; the gateway then does not start."""
    unknown = sorted(set(context.settings) - {"slots"})
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}; there is slots")
    slots = context.settings.get("slots", "4")
    if not slots.isdigit():
        raise ValueError(f"slots is {slots!r}, which is no number")
    return ExampleProvider(context, int(slots))


class ExampleProvider:
    """Holds nothing that is not on the disk, except the children that it has to reap."""

    def __init__(self, context: ProviderContext, slots: int) -> None:
        self._context = context
        self._root = context.data_dir / "instances"
        self._slots = slots
        self._children: list[subprocess.Popen[bytes]] = []
        self._deletions: dict[Path, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        return self._context.name

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def start(self) -> None:
        """Go on with deletions that an earlier process did not finish."""
        self._root.mkdir(exist_ok=True)
        for left in self._root.glob("*.*"):
            shutil.rmtree(left)
        for mark in self._root.glob("*/deleting"):
            self._delete_soon(mark.parent)

    async def close(self) -> None:
        """Instances go on running."""
        tasks = list(self._deletions.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def list_resources(self) -> Sequence[Resource]:
        """One offer, of which each replica takes one."""
        running = sum(item.state in {InstanceState.PENDING, InstanceState.RUNNING} for item in await self.list_owned())
        return [
            Resource(
                provider=self.name,
                provider_resource_id="slot",
                vcpu=1,
                available_count=max(0, self._slots - running),
            )
        ]

    async def create(self, spec: InstanceSpec) -> Instance:
        """No await in it: two calls of one name come one after the other. Real work belongs in a thread."""
        folder = self._folder(spec.name)
        if not folder.exists():
            self._note(folder, spec)
        if not (folder / "started").exists():
            self._run(folder, spec)
        found = self._look(folder)
        assert found is not None
        return found

    def _note(self, folder: Path, spec: InstanceSpec) -> None:
        """Write down what is asked for, whole or not at all."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", spec.port))
            port = probe.getsockname()[1]
        noted = {
            "name": spec.name,
            "deployment_id": spec.deployment_id,
            "replica_id": spec.replica_id,
            "port": port,
            "stop_grace_s": spec.stop_grace_s,
            "created_at": self._context.clock(),
        }
        part = folder.with_suffix(".new")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        (part / "spec.json").write_text(json.dumps(noted))
        part.rename(folder)

    def _run(self, folder: Path, spec: InstanceSpec) -> None:
        port: int = json.loads(_read(folder / "spec.json"))["port"]

        def filled(text: str) -> str:
            given = text.replace("{port}", str(port)).replace("{host}", "127.0.0.1")
            return given.replace("{model}", spec.model)

        own = {"PORT": str(port), "HOST": "127.0.0.1", "MODEL": spec.model, "EXAMPLE_INSTANCE": spec.name}
        env = {"PATH": os.environ["PATH"], **{key: filled(value) for key, value in spec.env.items()}, **own}
        command = ["sh", "-c", _RUN, "sh", *map(filled, spec.command)]
        # Before the process, so that a crash in between starts none rather than two.
        (folder / "started").touch()
        child = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True)
        self._children.append(child)
        # The shell writes the same once it runs: whoever deletes the instance before must know the process, too.
        (folder / "pid.part").write_text(str(child.pid))
        (folder / "pid.part").replace(folder / "pid")

    async def describe(self, name: str) -> Instance | None:
        return self._look(self._folder(name))

    async def list_owned(self) -> Sequence[Instance]:
        folders = [path.parent for path in self._root.glob("*/spec.json") if not path.parent.suffix]
        found = [self._look(folder) for folder in folders]  # one that is deleted meanwhile is none
        return sorted((item for item in found if item is not None), key=lambda item: item.started_at)

    async def delete(self, name: str) -> None:
        folder = self._folder(name)
        if self._look(folder) is not None:
            (folder / "deleting").touch()
            self._delete_soon(folder)

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """A cursor is the number of bytes up to the end of the line."""
        folder = self._folder(name)
        at = int(after) if after.isdigit() else 0
        while (found := self._look(folder)) is not None:
            ended = found.state not in {InstanceState.PENDING, InstanceState.RUNNING}
            log = folder / "log"
            with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
                file.seek(at)
                while line := file.readline():
                    if not line.endswith(b"\n") and not ended:
                        break  # the rest of it is still to come
                    at += len(line)
                    text = line.decode(errors="replace").rstrip("\n")
                    yield LogRecord(time=log.stat().st_mtime, stream="stdout", message=text, cursor=str(at))
            if ended or not follow:
                return
            await asyncio.sleep(_POLL_S)

    def _folder(self, name: str) -> Path:
        """A name may hold anything; a folder's may not."""
        return self._root / hashlib.sha256(f"{self._context.owner}\0{name}".encode()).hexdigest()

    def _look(self, folder: Path) -> Instance | None:
        self._reap()
        noted = _read(folder / "spec.json")
        if not noted:
            return None
        fields: dict[str, Any] = json.loads(noted)
        state, more = self._state(folder)
        return Instance(
            name=fields["name"],
            provider_instance_id=folder.name[:12],
            state=state,
            endpoint=f"http://127.0.0.1:{fields['port']}",
            started_at=fields["created_at"],
            deployment_id=fields["deployment_id"],
            replica_id=fields["replica_id"],
            **more,
        )

    def _state(self, folder: Path) -> tuple[InstanceState, dict[str, Any]]:
        if (folder / "deleting").exists():
            return InstanceState.STOPPING, {}
        if not (folder / "started").exists():
            return InstanceState.PENDING, {}
        if _process(folder) is not None:
            return InstanceState.RUNNING, {}
        code = _read(folder / "exit")  # looked at last: it may be written in between
        if code:
            return InstanceState.EXITED, {"exit_code": int(code), "reason": "EXITED"}
        if any(child.poll() is None for child in self._children) and not (folder / "pid").exists():
            return InstanceState.PENDING, {}
        return InstanceState.FAILED, {"reason": "PROCESS_LOST", "message": "its process is gone, and left no exit code"}

    def _delete_soon(self, folder: Path) -> None:
        if folder not in self._deletions:
            task = asyncio.create_task(self._end(folder))
            self._deletions[folder] = task
            task.add_done_callback(lambda _: self._deletions.pop(folder, None))

    async def _end(self, folder: Path) -> None:
        """SIGTERM, SIGKILL after the grace, and then forget it."""
        fields: dict[str, Any] = json.loads(_read(folder / "spec.json"))
        loop = asyncio.get_running_loop()
        kill_at, number = loop.time() + fields["stop_grace_s"], signal.SIGTERM
        asked: signal.Signals | None = None
        while (process := _process(folder)) is not None:
            if asked is not number:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                asked = number
            number = signal.SIGKILL if loop.time() > kill_at else number
            await asyncio.sleep(_POLL_S)
        self._reap()
        await asyncio.to_thread(_remove, folder)

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]


def _process(folder: Path) -> psutil.Process | None:
    """The shell that runs the command; None when it has ended, or another process has its number by now."""
    try:
        process = psutil.Process(int(_read(folder / "pid")))
        # Not told by its environment, which is empty for a moment while a process becomes another program.
        alive = process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve()
    except (ValueError, psutil.Error):
        return None
    return process if alive else None


def _remove(folder: Path) -> None:
    """Gone at once, and not file by file: its name may be used again while the rest is being removed."""
    gone = folder.with_suffix(f".{time.time_ns()}")
    folder.rename(gone)
    shutil.rmtree(gone)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
