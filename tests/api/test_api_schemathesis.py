"""Schemathesis, all of its checks, against a gateway with a database and something in it, finds nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.protos import bindings, methods
from tests.support.schemathesis_run import schemathesis_finds

SEED = 20261124


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    plain = [each for method in methods() if not method.client_streaming for each in bindings(method)]
    tested, generated = await _run(tmp_path / "data", seconds=60)
    if tested < len(plain) or generated <= 300:  # the time it is given is all used: a slow machine needs more of it
        tested, generated = await _run(tmp_path / "longer", seconds=300)
    assert tested == len(plain)
    assert generated > 300


async def _run(data_dir: Path, *, seconds: int) -> tuple[int, int]:
    """How many operations were tested, and with how many cases; fails when anything is found."""
    arguments = ("--max-time", str(seconds), "--max-examples", "20", "--seed", str(SEED), "--workers", "2")
    code, output = await schemathesis_finds(data_dir, *arguments)
    print(output)
    assert code == 0, output
    return _figure(r"Tested: (\d+)", output), _figure(r"(\d+) generated", output)


def _figure(pattern: str, output: str) -> int:
    """Zero where it is not told: nothing was done in the time."""
    found = re.search(pattern, output)
    return int(found.group(1)) if found else 0
