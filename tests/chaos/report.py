"""What a campaign found, as one table for people and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.chaos.campaign import Tally
from tests.chaos.playing import Outcome

_COLUMNS = (
    "points",
    "places",
    "killed at",
    "states",
    "killed in",
    "kills",
    "accepts",
    "lost",
    "doubled",
    "orphaned",
    "other",
    "slowest",
)


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that was done and found."""

    seed: int
    tallies: list[Tally] = field(default_factory=list[Tally])
    wrong: list[Outcome] = field(default_factory=list[Outcome])
    points_left: int = 0
    """Points for which the time did not suffice."""
    examples: int = 0
    example_kills: int = 0
    example_accepts: int = 0
    example_failure: str = ""
    """What the state machine found."""

    @property
    def failed(self) -> bool:
        """Whether anything was found."""
        return bool(self.wrong or self.example_failure)

    def take(self, tallies: Sequence[Tally], wrong: Sequence[Outcome], left: int) -> None:
        """Add what one process did."""
        known = {tally.scenario: tally for tally in self.tallies}
        for tally in tallies:
            if tally.scenario in known:
                known[tally.scenario].join(tally)
            else:
                self.tallies.append(tally)
        self.wrong += wrong
        self.points_left += left

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        rows = [
            asdict(tally) | {"killed_places": len(tally.killed_places), "killed_states": len(tally.killed_states)}
            for tally in self.tallies
        ]
        return {
            "seed": self.seed,
            "scenarios": rows,
            "total": {name: sum(row[name] for row in rows) for name in _TOTALS},
            "points_left": self.points_left,
            "state_machine": {
                "examples": self.examples,
                "kills": self.example_kills,
                "accepts": self.example_accepts,
                "failure": self.example_failure,
            },
            "wrong": [asdict(outcome) for outcome in self.wrong],
        }

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n")

    def show(self, out: TextIO = sys.stdout) -> None:
        """Print the table, and what was found."""
        rows = [_row(tally) for tally in self.tallies]
        total = Tally(scenario="in all")
        for tally in self.tallies:
            total.join(tally, sum_points=True)
        rows.append(_row(total))
        widths = [max(len(row[n]) for row in [*rows, ("", *_COLUMNS)]) for n in range(len(_COLUMNS) + 1)]
        for row in [("scenario", *_COLUMNS), *rows]:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            print(row[0].ljust(max(widths[0], 8)), *cells, sep="  ", file=out)
        print(f"seed {self.seed}; {self.points_left} points were left for want of time", file=out)
        if self.examples:
            text = f"{self.examples} examples, {self.example_kills} kills, {self.example_accepts} accepts"
            print(f"state machine: {text}, {'FAILED' if self.example_failure else 'nothing found'}", file=out)
        for outcome in self.wrong:
            where = f"{outcome.scenario} killed at {outcome.kill_at}, then at {outcome.second_kill_at}"
            print(f"\nFOUND in {where} ({outcome.folder}):", *outcome.wrong(), sep="\n  ", file=out)
        if self.example_failure:
            print(self.example_failure, file=out)


_TOTALS = ("plays", "kills", "accepts", "lost", "doubled", "orphaned", "other")


def _row(tally: Tally) -> tuple[str, ...]:
    killed = len(tally.killed_places), tally.states, len(tally.killed_states)
    numbers = (tally.points, tally.places, *killed, tally.kills, tally.accepts)
    found = (tally.lost, tally.doubled, tally.orphaned, tally.other)
    return (tally.scenario, *map(str, numbers), *map(str, found), f"{tally.slowest_recovery_s:.1f} s")
