"""What `make bench` says: rows, their table, and their JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
LATEST = Path(__file__).with_name("results") / "latest.json"
_SOURCES = ("api", "gateway", "service", "store")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure shall be.

    Most judge the ratio, which two machines agree on; the few that judge the value itself hold on a machine with two
    cores.
    """

    sign: Literal["<=", ">="]
    bound: float
    judges: Literal["ratio", "value"] = "ratio"

    def met_by(self, row: Row) -> bool:
        """Whether the row is on the right side of the bound."""
        figure = row.ratio if self.judges == "ratio" else row.value
        return figure <= self.bound if self.sign == "<=" else figure >= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure beside the limit or the peer that was measured in the same run."""

    figure: str
    value: float
    unit: str
    peer: str
    """What stands beside it."""
    peer_value: float
    """In the figure's unit."""
    ratio: float
    """Value to peer as it was in the same round, the median of the rounds."""
    target: Target | None = None
    """None: what the figure shall be was never decided."""

    @property
    def verdict(self) -> str:
        """Yes, no, or nothing."""
        return "" if self.target is None else "yes" if self.target.met_by(self) else "no"


def print_table(rows: Sequence[Row]) -> None:
    """One line for each figure."""
    table = Table("figure", "value", "limit or peer", "its value", "ratio", "target", "met")
    for row in rows:
        target = row.target
        judged = "" if target is None else f"{target.sign} {target.bound:g}"
        judged += "" if target is None or target.judges == "ratio" else f" {row.unit}"
        cells = (_shown(row.value, row.unit), row.peer, _shown(row.peer_value, row.unit), f"{row.ratio:.2f}", judged)
        table.add_row(row.figure, *cells, row.verdict)
    Console(width=150).print(table)


def _shown(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def circumstances() -> dict[str, object]:
    """What is measured, and where: the commit and the date, but nothing that tells which machine it is."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "sources_modified": bool(_git("status", "--porcelain", "--", *_SOURCES)),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def write_json(about: dict[str, object], rows: Sequence[Row], path: Path = LATEST) -> None:
    """Keep the rows, with what `circumstances` told before they were measured."""
    document = {**about, "rows": [_as_json(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def _as_json(row: Row) -> dict[str, object]:
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(row).items()}
    return {**rounded, "met": None if row.target is None else row.target.met_by(row)}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
