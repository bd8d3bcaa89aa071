"""Whether there is a real control plane to be tried: the one test here that is there without."""

from __future__ import annotations

import pytest

from tests.support.kubernetes.real_cluster import RealCluster

pytestmark = pytest.mark.slow


async def test_a_control_plane_is_there(real: RealCluster) -> None:
    version = await real.admin.call("GET", "/version")
    print(f"Kubernetes {version['gitVersion']}, {version['goVersion']}")
    groups = await real.admin.call("GET", "/apis")
    assert "apps" in {group["name"] for group in groups["groups"]}
    nodes = await real.admin.find("nodes")
    assert {f"{real.namespace}-cpu-1", f"{real.namespace}-gpu-1"} <= {node["metadata"]["name"] for node in nodes}
