"""Nodes of a real control plane as the provider tells them for the inventory."""

from __future__ import annotations

import pytest

from orchestration.service.providers.inventory import ClusterNode, ClusterNodeState, NodeLister, NodeScope
from tests.support.kubernetes.real_cluster import RealCluster, RealHarness
from tests.support.provider_processes import until_async

pytestmark = pytest.mark.slow
WITHIN_S = 60.0


async def test_nodes_are_told_with_their_gpus_and_as_cordoned(real: RealCluster, harness: RealHarness) -> None:
    name = f"{real.namespace}-gpu-1"

    async def told() -> dict[str, ClusterNode]:
        assert isinstance(harness.provider, NodeLister)
        (one,) = await harness.provider.list_nodes(NodeScope())
        assert not one.error
        return {node.node_id: node for node in one.nodes}

    await harness.provider.create(harness.spec("one", gpu_count=3, gpu_types=("l4",)))

    async def holds() -> bool:
        return (await told())[name].gpu_used == 3

    await until_async(holds, WITHIN_S)
    node = (await told())[name]
    assert (node.state, node.joins, node.gpu_total) == (ClusterNodeState.READY, True, 4)
    await real.admin.patch("nodes", "", name, {"spec": {"unschedulable": True}})

    async def cordoned() -> bool:
        return (await told())[name].state is ClusterNodeState.CLOSED

    await until_async(cordoned, WITHIN_S)
    assert (await told())[name].joins
    await real.admin.delete("nodes", "", name)

    async def is_gone() -> bool:
        return name not in await told()

    await until_async(is_gone, WITHIN_S)
