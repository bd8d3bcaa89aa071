"""Nodes for the inventory: an optional part of a provider whose clusters tell what they are made of.

Of a provider that has `NodeLister.list_nodes` beside what every provider has, the gateway keeps the nodes of its pools
from what it tells. Where replicas run stays the provider's own affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class ClusterNodeState(StrEnum):
    """What a cluster says of one of its nodes."""

    READY = "READY"
    """It takes replicas."""
    CLOSED = "CLOSED"
    """It is well and takes no new ones: cordoned, tainted, given no work."""
    TROUBLED = "TROUBLED"
    """The cluster hears of it, and it is not well."""
    DEAD = "DEAD"
    """The cluster has lost it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNode:
    """One node, as its cluster tells it now. All numbers are 0 or more, and finite."""

    node_id: str
    """What the cluster calls it: the same for as long as it is the same node, and no other's in the cluster."""
    state: ClusterNodeState = ClusterNodeState.READY
    message: str = ""
    """Why it is not READY, in the cluster's words; may be empty."""
    joins: bool = True
    """Whether a node that is not in the inventory yet is taken in. False for one that is not meant for replicas, such
    as a control plane's; it is kept, with its state, where it was taken in before."""
    hostname: str = ""
    region: str = ""
    gpu_type: str = ""
    gpu_total: int = 0
    gpu_used: int = 0
    """GPUs that anything holds, as far as the provider can see."""
    vcpu_total: float = 0.0
    vcpu_used: float = 0.0
    ram_gb_total: float = 0.0
    ram_gb_used: float = 0.0
    price_per_hour: float = 0.0
    """Of one GPU; of a replica where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNodes:
    """What one cluster answered."""

    cluster: str
    """Its name among those of the provider; it is part of its nodes' ids in the inventory."""
    nodes: Sequence[ClusterNode] = ()
    """All of them, whatever their state: one that is missing is taken for gone."""
    asked_at: float = 0.0
    """When it was asked, by the gateway's clock (`ProviderContext.clock`); 0.0: for this answer, just now."""
    error: str = ""
    """Why it did not tell them; its nodes then stay as they are. Empty: it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeScope:
    """What of a pool says which nodes are its own."""

    provider_pool_id: str = ""
    provider_credential_name: str = ""


@runtime_checkable
class NodeLister(Protocol):
    """What a provider has besides, to have its nodes in the inventory."""

    async def list_nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        """The nodes that replicas of such a pool may come to run on, by cluster.

        Asked every `nodes_interval_s` seconds for each scope that pools have. A cluster that is not in the answer any
        more is none of the pool's: its nodes are TERMINATED. Raises `ProviderError` when nothing can be told of any:
        everything then stays as it is.
        """
        ...
