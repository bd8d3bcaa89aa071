"""What a sweep looks for in the folders of logs: those that no deployment owns any more, and old or large ones.

Blocking. A folder without owner is marked when it is first met, and removed when the mark has reached its age: so the
grace is counted over restarts, and a deployment that was merely not known yet loses nothing.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from orchestration.service.logs.errors import LogStoreError
from orchestration.service.logs.locking import folder_lock
from orchestration.service.logs.segments import list_segments, read_header, replace_file, segment_path
from orchestration.service.logs.writing import Limits

_MARK = "ownerless"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be done, by the names of the folders."""

    over: list[str] = field(default_factory=list[str])
    """Their deployments are gone for longer than the grace."""
    due: list[str] = field(default_factory=list[str])
    """Something in them may be too old or too much."""


def survey(root: Path, names: list[str], known: AbstractSet[str], limits: Limits, now: float, grace_s: float) -> Survey:
    """Look at the folders, and mark or unmark them. One that cannot be looked at is logged and left out."""
    found = Survey()
    for name in names:
        folder = root / name
        try:
            if name not in known:
                if ownerless_for(folder, now) >= grace_s:
                    found.over.append(name)
                continue
            has_owner(folder)
            if is_due(folder, limits, now):
                found.due.append(name)
        except (LogStoreError, OSError) as error:
            log.warning("log_unreadable", folder=str(folder), error=str(error))
    return found


def folders(root: Path) -> list[str]:
    """The names of all folders, in order; none when there is no root yet. Raises `OSError`."""
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def ownerless_for(folder: Path, now: float) -> float:
    """Mark the folder unless it is marked, and tell the seconds since the mark was made. Raises `OSError`."""
    mark = folder / _MARK
    try:
        since = float(mark.read_text())
    except (FileNotFoundError, ValueError):  # none yet, or one that a loss of power left empty
        with folder_lock(folder):
            replace_file(mark, repr(now).encode())
        return 0.0
    return now - since


def has_owner(folder: Path) -> None:
    """Take a mark away. Raises `OSError`."""
    (folder / _MARK).unlink(missing_ok=True)


def is_due(folder: Path, limits: Limits, now: float) -> bool:
    """Whether something may have to be dropped: seen without reading the log. Raises `OSError` and `LogStoreError`."""
    segments = list_segments(folder)
    if not segments:
        return False
    paths = [segment_path(folder, first) for first in segments]
    if sum(path.stat().st_size for path in paths) > limits.max_bytes:
        return True
    return limits.outlived(read_header(paths[0]).opened, now)
