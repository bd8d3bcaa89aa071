"""The Nosana provider keeps the provider protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fake_nosana_process import NosanaHarness, NosanaProcess, nosana_harness
from tests.support.provider_conformance import ProviderConformance


class TestNosanaConformance(ProviderConformance):
    @pytest.fixture
    async def harness(self, fake: NosanaProcess, tmp_path: Path) -> AsyncIterator[NosanaHarness]:
        async with nosana_harness(fake, tmp_path) as harness:
            yield harness
