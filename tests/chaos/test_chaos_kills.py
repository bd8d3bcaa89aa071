"""The control plane is killed at points drawn from everything that it does, and by a state machine at any time.

A sample of what ``python -m tests.chaos`` does at length. Each runs as a process of its own, whose clocks skip ahead.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]


def pull_the_plug(json_path: Path, *arguments: str) -> dict[str, Any]:
    """Run the command; gives its figures. Fails with what it found."""
    command = [sys.executable, "-m", "tests.chaos", "--json", str(json_path), *arguments]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    figures: dict[str, Any] = json.loads(json_path.read_text())
    return figures


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_nothing_is_lost_doubled_or_orphaned_wherever_the_control_plane_is_killed(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    arguments = ["--seconds", "1200", "--seed", str(seed), "--jobs", "1", "--sample", "5", "--plays", "15"]
    figures = pull_the_plug(tmp_path / "figures.json", *arguments, "--examples", "0")
    total = figures["total"]
    assert total["plays"] == 15
    assert total["kills"] >= 10, "most of the points must have been reached"
    assert total["accepts"] >= 15
    assert (total["lost"], total["doubled"], total["orphaned"], total["other"]) == (0, 0, 0, 0)
    assert all(row["points"] > 100 for row in figures["scenarios"])


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_whatever_is_asked_for_in_whatever_order_ends_as_it_was_promised(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    arguments = ["--seconds", "1200", "--seed", str(seed), "--jobs", "1", "--plays", "0", "--examples", "8"]
    machine = (pull_the_plug(tmp_path / "figures.json", *arguments))["state_machine"]
    assert machine["failure"] == ""
    assert machine["examples"] == 8
    assert machine["kills"] > 0
    assert machine["accepts"] > 0
