"""What this gateway knows of its instances at Nosana, on disk: found again after a restart, and deletions with them.

Nosana itself is the truth; a record says which deployment is meant by a name, and what was asked of it. It can be lost:
what it held is then looked up by name.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def valid_name(name: str) -> bool:
    """Whether an instance can have the name: it is part of paths here, and of names there."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One instance."""

    name: str
    credential: str
    """Name of the credential whose account holds it."""
    deployment_id: str = ""
    replica_id: str = ""
    nosana_id: str = ""
    """Empty: it was asked for, and its answer has not come."""
    market: str = ""
    price_per_hour: float = 0.0
    port: int = 0
    deleting: bool = False
    abandoned: tuple[str, ...] = ()
    """Ids of drafts under this name that Nosana does not let anyone delete. They run nothing and cost nothing."""


class Records:
    """All records of this gateway; reads come from memory, and each change is on disk when it returns."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "instances"
        self._known: dict[str, Record] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read what an earlier process left. A file that cannot be read is set aside, and its instance looked up."""
        self._known = await asyncio.to_thread(self._load)

    def _load(self) -> dict[str, Record]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known: dict[str, Record] = {}
        for path in self._folder.glob("*.json"):
            try:
                told: dict[str, Any] = json.loads(path.read_text())
                told["abandoned"] = tuple(told.get("abandoned", ()))
                record = Record(**told)
            except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
                log.warning("a record cannot be read; its instance is looked up by name", path=str(path), error=error)
                path.replace(path.with_suffix(".unreadable"))
                continue
            known[record.name] = record
        return known

    def get(self, name: str) -> Record | None:
        """The record of a name."""
        return self._known.get(name)

    def all(self) -> list[Record]:
        """Every record."""
        return list(self._known.values())

    async def put(self, record: Record) -> None:
        """Keep it in the place of the earlier one of its name."""
        self._known[record.name] = record
        await self._write(record.name)

    async def drop(self, name: str) -> None:
        """Forget the name."""
        if self._known.pop(name, None) is not None:
            await self._write(name)

    async def _write(self, name: str) -> None:
        """Have the disk say what is known by now, one write after the other."""
        async with self._writing:
            path, record = self._folder / f"{name}.json", self._known.get(name)
            if record is None:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            else:
                await asyncio.to_thread(write_json, path, asdict(record))


def write_json(path: Path, value: object) -> None:
    """Write a file at once or not at all. Blocks."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with part.open("w") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_older(root: Path, before: float) -> None:
    """Remove the folders in a folder that were last changed before then (Unix seconds). Blocks."""
    if not root.exists():
        return
    for entry in root.iterdir():
        if entry.stat().st_mtime < before:
            shutil.rmtree(entry, ignore_errors=True)
