"""A provider on a cluster of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.kubernetes.harness import KubernetesHarness, kubernetes_harness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[KubernetesHarness]:
    """With four GPUs of one type on one node."""
    async with kubernetes_harness(tmp_path, {"price_per_gpu_hour.L4": "0.5"}, gpus=4) as harness:
        yield harness
