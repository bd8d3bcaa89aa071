"""Nodes of Ray clusters for the inventory: those that can be given work, with what they have and what is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.inventory import ClusterNode, ClusterNodes, ClusterNodeState, NodeScope
from orchestration.service.providers.ray.answers import Node
from orchestration.service.providers.ray.cluster import Cluster
from orchestration.service.providers.ray.clusters import Clusters
from orchestration.service.providers.ray.rooms import gpu_type, region, resource_id
from orchestration.service.providers.ray.settings import RaySettings
from orchestration.service.providers.recent import Recent

_KEPT_S = 1.0
"""How long an answer is good: pools that mean different nodes of one cluster ask one after the other."""
_GIB = 1024**3


class Inventory:
    """What the clusters are made of."""

    def __init__(self, clusters: Clusters, settings: RaySettings, clock: Callable[[], float]) -> None:
        self._clusters = clusters
        self._looks = {
            cluster.settings.name: Recent(partial(_ask, cluster, settings), _KEPT_S, clock)
            for cluster in self._clusters.all
        }

    async def nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        """The nodes that a pool means, by cluster. Raises `InstanceRejectedError` when it names none that there is."""
        meant = self._clusters.meant(scope.provider_pool_id, scope.provider_credential_name)
        return await asyncio.gather(*(self._of(cluster, only) for cluster, only in meant))

    async def _of(self, cluster: Cluster, only: str) -> ClusterNodes:
        """The nodes of one cluster, or the one of which this is the id as an offer."""
        try:
            found, asked_at = await self._looks[cluster.settings.name].get()
        except ProviderError as error:
            return ClusterNodes(cluster=cluster.settings.title, error=error.message)
        nodes = [node for offer_id, node in found if only in {"", offer_id}]
        return ClusterNodes(cluster=cluster.settings.title, asked_at=asked_at, nodes=nodes)


async def _ask(cluster: Cluster, settings: RaySettings) -> Sequence[tuple[str, ClusterNode]]:
    """The cluster's nodes, each with its id as an offer."""
    nodes, used = await asyncio.gather(cluster.api.nodes(), cluster.api.used())
    return [
        (resource_id(cluster.settings, node), to_node(node, used.get(node.node_id, {}), settings)) for node in nodes
    ]


def to_node(node: Node, used: Mapping[str, float], settings: RaySettings) -> ClusterNode:
    """The node with its numbers; of a dead one Ray tells none."""
    total = node.resources_total
    gpus = int(total.get("GPU", 0))
    state, message = _state(node, settings.cpus_per_replica)
    return ClusterNode(
        node_id=node.node_id,
        state=state,
        message=message,
        joins=state is ClusterNodeState.READY,
        hostname=node.node_name or node.node_ip,
        region=region(node, settings),
        gpu_type=gpu_type(node) if gpus else "",
        gpu_total=gpus,
        gpu_used=round(used.get("GPU", 0.0)),
        vcpu_total=total.get("CPU", 0.0),
        vcpu_used=used.get("CPU", 0.0),
        ram_gb_total=round(total.get("memory", 0.0) / _GIB, 1),
        price_per_hour=settings.price_per_gpu_hour if gpus else 0.0,
    )


def _state(node: Node, cpus: float) -> tuple[ClusterNodeState, str]:
    """What the cluster says of the node, and why. ``cpus``: what a replica reserves of them."""
    if not node.alive:
        return ClusterNodeState.DEAD, node.state_message or ""
    if node.resources_total.get("CPU", 0.0) < cpus:  # a head that is given no work is no place
        return ClusterNodeState.CLOSED, f"it has fewer than the {cpus:g} CPUs that a replica reserves"
    return ClusterNodeState.READY, ""
