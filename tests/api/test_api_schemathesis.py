"""Schemathesis, all of its checks, against a gateway with a database and something in it, finds nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.protos import bindings, methods
from tests.support.schemathesis_run import schemathesis_finds

SEED = 20261124


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    arguments = ("--max-time", "60", "--max-examples", "20", "--seed", str(SEED), "--workers", "2")
    code, output = await schemathesis_finds(tmp_path / "data", *arguments)
    assert code == 0, output
    tested = re.search(r"Tested: (\d+)", output)
    generated = re.search(r"(\d+) generated", output)
    assert tested is not None, output
    assert generated is not None, output
    plain = [each for method in methods() if not method.client_streaming for each in bindings(method)]
    assert int(tested.group(1)) == len(plain)
    assert int(generated.group(1)) > 300
