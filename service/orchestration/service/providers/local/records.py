"""What lies on disk about an instance, and the folder it lies in.

``spec.json`` is the intent, on disk before a process exists. ``state.json`` is written by the supervisor. The file
``deleting`` says that the instance is to end and be forgotten. The lock on the folder is held by whoever creates or
removes the instance, and handed by the creator to the supervisor, which holds it to its end. What is forgotten lies in
the trash for a minute: the lines that it printed last are copied from there.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestration.service.providers.local.shim.statefile import STATE_FILE, replace_file, sync_directory

SPEC_FILE = "spec.json"
DELETING_FILE = "deleting"
TRASH_KEPT_S = 60.0
"""How long the log of a forgotten instance can still be read."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class SpecRecord(BaseModel):
    """The instance as it was asked for, and what was given to it. Environments are left out: they may hold secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    owner: str
    deployment_id: str
    replica_id: str
    engine: str
    model: str
    port: int
    endpoint: str
    gpu_ids: tuple[str, ...]
    stop_grace_s: float
    created_at: float


class StateRecord(BaseModel):
    """What the supervisor, or the one who found it gone, knows of the processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Literal["running", "exited", "failed"]
    boot_id: str = ""
    supervisor_pid: int = 0
    supervisor_start: int | None = None
    engine_pid: int = 0
    engine_start: int | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    oom_killed: bool = False
    stopped: bool = False
    reason: str = ""
    message: str = ""


_Record = TypeVar("_Record", bound=BaseModel)


class CorruptRecordError(Exception):
    """A record on disk cannot be read as what it should be; the message names the file."""


def valid_name(name: str) -> bool:
    """Whether a name can be an instance's: it is also a folder's."""
    return _NAME.fullmatch(name) is not None


class InstanceFolder:
    """The folder of one instance, which need not exist."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.path = root / "instances" / name
        self._trash = root / "trash" / name

    def exists(self) -> bool:
        return self.path.is_dir()

    def lock(self, *, create: bool = False) -> int | None:
        """Take the lock and return its descriptor, which holds it until closed; None when another holds it.

        Raises FileNotFoundError when there is no folder and none is to be made.
        """
        while True:
            if create:
                self.path.mkdir(mode=0o700, exist_ok=True)
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                if create:
                    continue  # removed since the line above
                raise
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            if self._is_still(fd):
                return fd
            os.close(fd)  # removed between open and lock: this is the lock of a folder that is no more

    def locked(self) -> bool:
        """Whether a supervisor lives, or someone is creating or removing the instance just now."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def spec(self) -> SpecRecord | None:
        """The intent; None when none was recorded. Raises `CorruptRecordError`."""
        return _read(self.path / SPEC_FILE, SpecRecord)

    def state(self) -> StateRecord | None:
        """The last recorded state; None when there is none yet. Raises `CorruptRecordError`."""
        return _read(self.path / STATE_FILE, StateRecord)

    def write(self, record: SpecRecord | StateRecord) -> None:
        """Put a record on disk, whole or not at all."""
        file = SPEC_FILE if isinstance(record, SpecRecord) else STATE_FILE
        replace_file(str(self.path / file), record.model_dump_json().encode())

    def deleting(self) -> bool:
        return (self.path / DELETING_FILE).exists()

    def mark_deleting(self) -> None:
        """Record durably that the instance is to end. Raises FileNotFoundError when there is none."""
        (self.path / DELETING_FILE).touch()
        sync_directory(str(self.path))

    def remove(self, now: float) -> None:
        """Forget the instance in one step; the caller holds the lock. `empty_trash` takes care of the rest."""
        grave = self._trash / f"{int(now * 1e9):020}.{uuid.uuid4().hex}"
        while self.path.exists():
            self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # emptied since the line above
                self.path.rename(grave)
        sync_directory(str(self.path.parent))

    def resting_place(self) -> Path:
        """Where the instance's log lies: in its folder, or in what is left of the one that was forgotten last."""
        if self.exists() or not self._trash.exists():
            return self.path
        return max(self._trash.iterdir(), key=lambda entry: entry.name, default=self.path)

    def _is_still(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False


def prepare_root(root: Path) -> None:
    """Make the folders that instances lie in."""
    (root / "instances").mkdir(mode=0o700, parents=True, exist_ok=True)


def empty_trash(root: Path, now: float) -> None:
    """Remove what has lain in the trash for long enough, also what a removal that was interrupted left there.

    ``now`` is in Unix seconds, by the clock that was told to `InstanceFolder.remove`.
    """
    for grave in (root / "trash").glob("*/*"):
        removed_at, _, _ = grave.name.partition(".")
        # The first release had no level of names there, and removed at once: these are the files of an instance.
        if not removed_at.isdecimal() or abs(now - int(removed_at) / 1e9) > TRASH_KEPT_S:
            if grave.is_dir():
                shutil.rmtree(grave, ignore_errors=True)
            else:
                grave.unlink(missing_ok=True)
    for name in (root / "trash").glob("*"):
        with suppress(OSError):  # not empty
            name.rmdir()


def folders(root: Path) -> Iterator[InstanceFolder]:
    """Every instance's folder, in no order."""
    with os.scandir(root / "instances") as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return (InstanceFolder(root, name) for name in names)


@contextmanager
def allocation_lock(root: Path) -> Generator[None]:
    """Held while ports and GPUs are chosen, so that no two creators, in whatever process, choose the same."""
    fd = os.open(root / "allocation.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _read(path: Path, kind: type[_Record]) -> _Record | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise CorruptRecordError(f"{path} cannot be read: {where}: {first['msg']}") from error
