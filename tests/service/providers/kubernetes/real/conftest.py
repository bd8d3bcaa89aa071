"""A real control plane for all tests here, and a namespace of it for each; docs/providers/kubernetes.md says how."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes.control_plane import BINARIES, ControlPlane, lacking
from tests.support.kubernetes.real_cluster import RealCluster, RealHarness, real_cluster, real_harness

_ASKED_FOR = any(os.environ.get(name) for name in (BINARIES, "TEST_KUBECONFIG"))
_SAYS_SO = "test_real_control_plane.py"
"""Where nobody asked for any of this, it is skipped once for all."""
collect_ignore = [
    file.name for file in Path(__file__).parent.glob("test_*.py") if file.name != _SAYS_SO and not _ASKED_FOR
]


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    if why := lacking():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
    made = ControlPlane(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()
    shutil.rmtree(folder)


@pytest.fixture
async def real(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[RealCluster]:
    """With four GPUs of one type on one node, and a node without."""
    async with real_cluster(plane, tmp_path, gpus=4) as cluster:
        yield cluster


@pytest.fixture
async def harness(real: RealCluster, tmp_path: Path) -> AsyncIterator[RealHarness]:
    """The provider in that namespace. Only nodes of the test count: others may run at the same time."""
    async with real_harness(real, tmp_path) as made:
        yield made
