"""The kubernetes provider keeps the provider protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.kubernetes.harness import KubernetesHarness, kubernetes_harness
from tests.support.provider_conformance import ProviderConformance


class TestKubernetesConformance(ProviderConformance):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[KubernetesHarness]:
        async with kubernetes_harness(tmp_path) as harness:
            yield harness
