"""The Ray provider keeps the provider protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.provider_conformance import ProviderConformance
from tests.support.ray.harness import RayHarness, ray_harness

HOLD_S = 1.5
"""About as long as Ray takes to start a job: an instance that was just made has no endpoint yet."""


class TestRayConformance(ProviderConformance):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[RayHarness]:
        async with ray_harness(tmp_path, {"token": "t0ken"}, token="t0ken", hold_s=HOLD_S) as harness:
            yield harness
