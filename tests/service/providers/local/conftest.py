"""Fixtures of the local provider's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.provider_local import LocalHarness, four_gpus, local_harness


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalHarness]:
    """A started local provider on a machine with four GPUs that are not there."""
    async with local_harness(tmp_path, four_gpus()) as harness:
        yield harness
