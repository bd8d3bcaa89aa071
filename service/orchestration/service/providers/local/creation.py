"""Creating an instance: at most one process for one name, whatever is interrupted and whoever else tries."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from orchestration.service.providers.base import (
    InstanceConflictError,
    InstanceRejectedError,
    InstanceSpec,
    ProviderContext,
    ProviderError,
)
from orchestration.service.providers.local import environment, gpus, ports, processes
from orchestration.service.providers.local.instances import View, look
from orchestration.service.providers.local.launcher import launch
from orchestration.service.providers.local.records import (
    InstanceFolder,
    SpecRecord,
    allocation_lock,
    folders,
    valid_name,
)
from orchestration.service.providers.local.settings import LocalSettings
from orchestration.service.providers.local.shim.launch import Launch

log = structlog.get_logger(__name__)

_WAIT_FOR_OTHER_S = 30.0


class Creator:
    """Creates instances below one data folder. Its methods block, and may be called from any thread."""

    def __init__(self, context: ProviderContext, settings: LocalSettings, inventory: gpus.GpuInventory) -> None:
        self._root: Path = context.data_dir
        self._owner = context.owner
        self._clock = context.clock
        self._settings = settings
        self._inventory = inventory

    def create(self, spec: InstanceSpec, on_start: Callable[[str, int], None]) -> View:
        """The instance of this name, started now unless it is there. ``on_start``: its name and supervisor's pid."""
        self._check(spec)
        try:
            return self._create(InstanceFolder(self._root, spec.name), spec, on_start)
        except OSError as error:  # a full disk, no more processes: nothing of the instance runs
            raise ProviderError("START_FAILED", f"instance {spec.name}: {error}", retryable=True) from error

    def _create(self, folder: InstanceFolder, spec: InstanceSpec, on_start: Callable[[str, int], None]) -> View:
        deadline = time.monotonic() + _WAIT_FOR_OTHER_S
        while time.monotonic() < deadline:
            lock = folder.lock(create=True)
            if lock is not None:
                try:
                    return self._create_locked(folder, lock, spec, on_start)
                finally:
                    os.close(lock)
            if (view := self._existing(folder)) is not None:
                return view
            time.sleep(0.01)  # another creator is between its lock and its engine
        raise ProviderError(
            "CREATE_IN_PROGRESS", f"instance {spec.name} is being created by another process", retryable=True
        )

    def taken_gpus(self) -> frozenset[str]:
        """UUIDs of the GPUs that live instances were given."""
        return frozenset(gpu for view in self._live() if view.spec for gpu in view.spec.gpu_ids)

    def _check(self, spec: InstanceSpec) -> None:
        if not valid_name(spec.name):
            raise InstanceRejectedError(
                "INVALID_NAME",
                f"name {spec.name!r} must be 1 to 128 letters, digits, dots, dashes or underscores, "
                "with a letter or digit first",
            )
        if spec.owner != self._owner:
            raise InstanceRejectedError(
                "WRONG_OWNER", f"owner {spec.owner!r} is not this installation's, which is {self._owner!r}"
            )
        if not 0 <= spec.port <= 65535:
            raise InstanceRejectedError("INVALID_PORT", f"port {spec.port} is not between 0 and 65535")
        if any("\0" in text for text in (*spec.command, *spec.env, *spec.env.values(), spec.model)):
            raise InstanceRejectedError("INVALID_COMMAND", "command, env and model must not hold NUL characters")
        wrong = next((key for key in spec.env if not key or "=" in key), None)
        if wrong is not None:
            raise InstanceRejectedError("INVALID_VARIABLE", f"env: {wrong!r} cannot be a variable's name")

    def _create_locked(
        self, folder: InstanceFolder, lock: int, spec: InstanceSpec, on_start: Callable[[str, int], None]
    ) -> View:
        if (view := self._existing(folder)) is not None:
            return view
        if folder.spec() is not None:
            # A creator died after its intent and before its supervisor had recorded anything.
            killed = processes.sweep(self._owner, spec.name)
            log.warning("an interrupted creation is done again", instance=spec.name, killed=killed)
        try:
            record, order = self._prepare(folder, spec)
            tags = {processes.OWNER_TAG: spec.owner, processes.INSTANCE_TAG: spec.name}
            pid = launch(folder.path, lock, tags, order)
        except (ProviderError, OSError):
            folder.remove(self._clock())
            raise
        on_start(spec.name, pid)
        log.info("instance started", instance=spec.name, endpoint=record.endpoint, gpus=record.gpu_ids, supervisor=pid)
        started = look(folder)
        if started is None:
            raise ProviderError(
                "INSTANCE_REMOVED", f"instance {spec.name} was removed while it started", retryable=True
            )
        return started

    def _existing(self, folder: InstanceFolder) -> View | None:
        """The instance, unless its creation is still under way or was interrupted."""
        view = look(folder)
        if view is None or not (view.state or view.corrupt or view.deleting):
            return None
        if not view.owned_by(self._owner):
            raise InstanceRejectedError("NAME_TAKEN", f"instance {folder.name} belongs to another installation")
        return view

    def _prepare(self, folder: InstanceFolder, spec: InstanceSpec) -> tuple[SpecRecord, Launch]:
        """Give the instance its port and GPUs, and put the intent on disk."""
        base = environment.inherited(os.environ, self._settings.inherit_env)
        executable = find_executable(spec, spec.env.get("PATH", base["PATH"]))
        host = self._settings.host
        with allocation_lock(self._root):
            live = [view for view in self._live() if view.folder.name != folder.name]
            port = self._port(spec.port, live)
            taken = frozenset(gpu for view in live if view.spec for gpu in view.spec.gpu_ids)
            gpu_ids = gpus.choose(
                self._inventory.read() if spec.gpu_count else (),
                taken,
                count=spec.gpu_count,
                types=spec.gpu_types,
                engine=spec.engine,
            )
            variables = environment.engine_environment(spec, base, host=host, port=port, gpu_ids=gpu_ids)
            record = _record(spec, port, f"http://{self._settings.endpoint_host}:{port}", gpu_ids, self._clock())
            folder.write(record)
        argv = [environment.fill(word, host=host, port=port, model=spec.model) for word in spec.command]
        return record, Launch(
            executable=os.fsencode(executable),
            argv=tuple(os.fsencode(word) for word in argv),
            environment={os.fsencode(key): os.fsencode(value) for key, value in variables.items()},
            stop_grace_s=spec.stop_grace_s,
            log_segment_bytes=self._settings.log_segment_bytes,
            log_segments=self._settings.log_segments,
        )

    def _port(self, wanted: int, live: list[View]) -> int:
        if wanted == 0:
            return ports.free_port(self._settings.host, frozenset(view.spec.port for view in live if view.spec))
        holder = next((view for view in live if view.spec and view.spec.port == wanted), None)
        if holder is not None and holder.deleting:
            raise ProviderError(
                "PORT_IN_USE",
                f"port {wanted} is in use by instance {holder.folder.name}, which is stopping",
                retryable=True,
                retry_after_s=1.0,
            )
        if holder is not None:
            raise InstanceConflictError("PORT_IN_USE", f"port {wanted} is in use by instance {holder.folder.name}")
        ports.require_free(self._settings.host, wanted)
        return wanted

    def _live(self) -> list[View]:
        return [view for folder in folders(self._root) if (view := look(folder)) is not None and view.live]


def find_executable(spec: InstanceSpec, path: str) -> str:
    """The absolute path of the engine's program. Raises `InstanceRejectedError` when there is none that can be run."""
    if not spec.command:
        raise InstanceRejectedError("ENGINE_NOT_FOUND", f"engine {spec.engine}: no command; set configuration.command")
    program = spec.command[0]
    found = shutil.which(program, path=path)
    if found is None:
        hint = f"{spec.install_hint}, or " if spec.install_hint else ""
        raise InstanceRejectedError(
            "ENGINE_NOT_FOUND",
            f"engine {spec.engine}: command not found: {program}; {hint}set configuration.command",
        )
    return str(Path(found).absolute())


def _record(spec: InstanceSpec, port: int, endpoint: str, gpu_ids: tuple[str, ...], now: float) -> SpecRecord:
    return SpecRecord(
        name=spec.name,
        owner=spec.owner,
        deployment_id=spec.deployment_id,
        replica_id=spec.replica_id,
        engine=spec.engine,
        model=spec.model,
        port=port,
        endpoint=endpoint,
        gpu_ids=gpu_ids,
        stop_grace_s=spec.stop_grace_s,
        created_at=now,
    )
