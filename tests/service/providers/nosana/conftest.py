"""One fake Nosana for all tests here; each has an account of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.fake_nosana_process import NosanaHarness, NosanaProcess, nosana_harness


@pytest.fixture(scope="session")
def fake() -> Iterator[NosanaProcess]:
    with NosanaProcess() as process:
        yield process


@pytest.fixture
async def harness(fake: NosanaProcess, tmp_path: Path) -> AsyncIterator[NosanaHarness]:
    async with nosana_harness(fake, tmp_path) as harness:
        yield harness
