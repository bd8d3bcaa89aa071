"""The kubernetes provider keeps the provider protocol on a real control plane."""

from __future__ import annotations

import pytest

from tests.support.provider_conformance import ProviderConformance

pytestmark = pytest.mark.slow


class TestRealKubernetesConformance(ProviderConformance):
    """With the fixture ``harness`` of this folder."""
