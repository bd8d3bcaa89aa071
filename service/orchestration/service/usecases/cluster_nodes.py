"""What is to be written so that a pool's nodes are those that its clusters tell of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from orchestration.service.ids import new_id
from orchestration.service.providers.inventory import ClusterNode, ClusterNodes, ClusterNodeState
from orchestration.service.providers.plain_text import plain
from orchestration.store.records import Node, NodeState, Pool
from orchestration.store.transaction import Transaction

RETENTION_S = 24 * 3600.0
"""How long a node that is lost or gone is kept, in seconds."""
GONE_AT = "gone_at"
"""Key of the node's telemetry, which holds nothing else as no agent speaks for it: since when it is lost or gone."""
_STATES = {
    ClusterNodeState.READY: NodeState.READY,
    ClusterNodeState.CLOSED: NodeState.DRAINING,
    ClusterNodeState.TROUBLED: NodeState.UNHEALTHY,
}
_GONE = {NodeState.LOST, NodeState.TERMINATED}
_MOST_GPUS = 2**31 - 1
"""Of a node, as the API has them."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a cluster told of a node."""

    cluster: str
    node: ClusterNode
    at: float
    """When the cluster was asked, in Unix seconds."""

    @property
    def liveness(self) -> dict[str, Any]:
        """What changes all the time; nothing of a node that its cluster has not heard of."""
        if self.node.state is ClusterNodeState.DEAD:
            return {}
        return {
            "last_heartbeat_at": self.at,
            "gpu_reported": min(self.node.gpu_used, _MOST_GPUS),
            "vcpu_allocated": self.node.vcpu_used,
            "ram_gb_allocated": self.node.ram_gb_used,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChange:
    """What is to become of one node of a pool."""

    instance_id: str
    node: Node | None
    """The row as it is; None: there is none yet."""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What it is to be; none: the row is to go."""
    reason: str
    text: str

    async def write(self, tx: Transaction, pool: Pool) -> None:
        """Write it. The node is to be as it was found in the same transaction."""
        if self.node is None:
            made = Node(id=new_id(), pool_id=pool.id, provider=pool.provider, provider_instance_id=self.instance_id)
            node = await tx.insert(replace(made, **self.fields))
        elif self.fields:
            node = await tx.update(replace(self.node, **self.fields))
        else:
            node = self.node
            await tx.delete(node)
        warning = node.state in {NodeState.UNHEALTHY, *_GONE}
        kind = "WARNING" if warning else "NORMAL"
        if self.reason:
            tx.event(kind="node", subject_id=node.id, type=kind, reason=self.reason, message=self.text)


def told_nodes(pool: Pool, listing: Iterable[ClusterNodes]) -> dict[str, Told]:
    """What the clusters tell, by the ids that their nodes have in the inventory: the same at every call."""
    return {
        f"{one.cluster}/{quote(plain(node.node_id), safe='')}/{pool.id}": Told(one.cluster, node, one.asked_at)
        for one in listing
        for node in one.nodes
    }


def changes(
    pool: Pool, known: Iterable[Node], listing: Sequence[ClusterNodes], told: Mapping[str, Told], now: float
) -> list[NodeChange]:
    """Everything that is not as it should be. ``told``: `told_nodes` of the listing."""
    rows = {node.provider_instance_id: node for node in known}
    found: list[NodeChange] = []
    for instance_id, item in told.items():
        row = rows.get(instance_id)
        change = _of_told(row, item.node, now) if row else _joining(pool, instance_id, item)
        if change is not None:
            found.append(change)
    answered = {one.cluster for one in listing if not one.error}
    silent = {one.cluster for one in listing if one.error}
    for instance_id, row in rows.items():
        cluster = instance_id.rsplit("/", 2)[0]
        if row.managed and instance_id not in told and cluster not in silent:
            change = _of_missing(row, now, pool_has_cluster=cluster in answered)
            if change is not None:
                found.append(change)
    return found


def _joining(pool: Pool, instance_id: str, told: Told) -> NodeChange | None:
    if told.node.state is ClusterNodeState.DEAD or not told.node.joins:
        return None
    fields = _described(told.node) | told.liveness
    text = f"node {told.node.node_id} of {told.cluster} joined pool {pool.name!r}"
    return NodeChange(instance_id=instance_id, node=None, fields=fields, reason="NODE_REGISTERED", text=text)


def _of_told(row: Node, node: ClusterNode, now: float) -> NodeChange | None:
    if node.state is ClusterNodeState.DEAD:
        why = f": {node.message}" if node.message else ""
        return _gone(row, NodeState.LOST, f"its cluster has lost it{why}", now)
    fields = {name: value for name, value in _described(node).items() if getattr(row, name) != value}
    if row.telemetry:
        fields["telemetry"] = {}
    if not fields:
        return None
    reason, text = "", ""
    if "state" in fields:
        reason, text = f"NODE_{fields['state']}", f"{row.state} -> {fields['state']}"
        text = f"{text}: {node.message}" if node.message else text
    return NodeChange(instance_id=row.provider_instance_id, node=row, fields=fields, reason=reason, text=text)


def _of_missing(row: Node, now: float, *, pool_has_cluster: bool) -> NodeChange | None:
    if pool_has_cluster:
        return _gone(row, NodeState.LOST, "its cluster does not tell of it any more", now)
    return _gone(row, NodeState.TERMINATED, "the pool does not mean its cluster any more", now)


def _gone(row: Node, state: NodeState, text: str, now: float) -> NodeChange | None:
    """The node as lost or gone; after a while its row goes."""
    key = row.provider_instance_id
    if row.state is not NodeState.TERMINATED and row.state is not state:
        fields = {"managed": True, "state": state, "reported_state": state, "telemetry": {GONE_AT: now}}
        return NodeChange(instance_id=key, node=row, fields=fields, reason=f"NODE_{state}", text=text)
    if now - row.telemetry.get(GONE_AT, row.last_heartbeat_at) < RETENTION_S:
        return None
    text = f"it was {row.state} for {RETENTION_S / 3600:g} hours"
    return NodeChange(instance_id=key, node=row, reason="NODE_REMOVED", text=text)


def _described(node: ClusterNode) -> dict[str, Any]:
    """What is written only when it changes."""
    state = _STATES[node.state]
    return {
        "managed": True,
        "state": state,
        "reported_state": state,
        "gpu_type": plain(node.gpu_type),
        "gpu_total": min(node.gpu_total, _MOST_GPUS),
        "vcpu_total": node.vcpu_total,
        "ram_gb_total": node.ram_gb_total,
        "price_per_hour": node.price_per_hour,
        "hostname": plain(node.hostname),
        "region": plain(node.region),
    }
