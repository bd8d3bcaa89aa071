"""Who waits for what changed: a replica without a place is woken where room may have come, and nowhere else."""

from __future__ import annotations

from orchestration.service.domain.placement import pools_of
from orchestration.service.domain.places import takes_replicas
from orchestration.store.index import Index
from orchestration.store.records import Change, Deployment, Node, Pool, Replica, ReplicaState

_ANYWHERE = ""
"""In place of a pool: which one it was cannot be told."""


class Room:
    """Gathers the pools in which room may have come, of one batch of changes after the other."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._pools: set[str] = set()
        self._held: dict[str, tuple[str, str]] = {}
        """By replica, the pool and the node of its place as last seen; no pool: it held none; no node: it is rented."""
        self._offered: dict[str, tuple[object, ...]] = {}
        """What each node that takes replicas has, as last seen."""

    def seen(self, replica: Replica) -> None:
        """Note where the replica is, for when its row no longer says so."""
        self._held[replica.id] = (replica.pool_id, replica.node_id) if replica.instance_name else ("", "")

    def pool_changed(self, pool_id: str) -> None:
        """Its limits may be others now."""
        self._pools.add(pool_id)

    def node_changed(self, change: Change) -> None:
        """A node is there, or is usable again, or is another machine; one that went brings no room."""
        node = self._index.get(Node, change.id)
        if node is None or not takes_replicas(node.state):
            self._offered.pop(change.id, None)
            return
        has = (node.pool_id, node.gpu_total, node.gpu_type, node.vcpu_total, node.region, node.price_per_hour)
        if self._offered.get(node.id) != has:
            self._offered[node.id] = has
            self._pools.add(node.pool_id)

    def replica_changed(self, change: Change) -> None:
        """The replica gave its place back, or is gone with it."""
        replica = self._index.get(Replica, change.id)
        if replica is not None and not _gave_up_place(replica):
            self.seen(replica)
            return
        held = self._held.pop(change.id, None)
        if replica is not None:
            self.seen(replica)
        if held is None:  # placed and ended between two batches
            deployment = self._index.get(Deployment, replica.deployment_id if replica is not None else change.parent)
            self._pools.update(pools_of(deployment) if deployment is not None else {_ANYWHERE})
        elif held[0]:
            self._pools.update(self._sharing(*held))

    def _sharing(self, pool_id: str, node_id: str) -> set[str]:
        """The pools that such a place may be room for: where offers are rented, all pools of the provider."""
        pool = self._index.get(Pool, pool_id)
        if pool is None or node_id:
            return {pool_id}
        return {other.id for other in self._index.find(Pool, provider=pool.provider)}

    def take(self) -> list[str]:
        """Ids of the replicas that wait for room where some may have come since this was last asked."""
        pools, self._pools = self._pools, set()
        if not pools:
            return []
        waiting = self._index.find(Replica, state=ReplicaState.PENDING)
        concerned = {deployment_id: self._concerned(deployment_id, pools) for deployment_id in _deployments(waiting)}
        return [replica.id for replica in waiting if concerned[replica.deployment_id]]

    def _concerned(self, deployment_id: str, pools: set[str]) -> bool:
        deployment = self._index.get(Deployment, deployment_id)
        return deployment is not None and (_ANYWHERE in pools or not pools.isdisjoint(pools_of(deployment)))


def _deployments(replicas: list[Replica]) -> set[str]:
    return {replica.deployment_id for replica in replicas}


def _gave_up_place(replica: Replica) -> bool:
    # Not one that is PENDING again: the provider itself had no room, and nobody else would fare better.
    return not replica.instance_name and replica.state in {ReplicaState.FAILED, ReplicaState.TERMINATED}
