"""Replicas leave their nodes: at once when a node is gone, within the update budget when it is being drained."""

from __future__ import annotations

from collections.abc import Iterable

from orchestration.service.controllers.health import HealthMonitor
from orchestration.service.controllers.transitions import UNPLACED, Transitions
from orchestration.service.logs.collector import LogCollector
from orchestration.store.index import Index
from orchestration.store.records import Node, NodeState, Replica, ReplicaState


class Leaver:
    """Gives up what ran on a node that is gone.

    Nobody there can be asked whether the instance still runs, so that nothing is waited for: the row forgets the
    instance, and the reaper ends it should the node come back with it.
    """

    def __init__(self, transitions: Transitions, health: HealthMonitor, collector: LogCollector) -> None:
        self._transitions = transitions
        self._health = health
        self._collector = collector

    async def leave(self, replica: Replica, node: Node) -> float | None:
        """Take the replica off the node; gives the seconds after which its next step is due, None when it is gone.

        It was the node that failed and not the attempt: none is counted, and the next may be made at once.
        """
        self._health.forget(replica.id)
        await self._collector.stop(replica.instance_name)
        text = f"node {node.hostname or node.provider_instance_id} is {node.state}"
        if replica.state is ReplicaState.TERMINATING:
            await self._transitions.remove(replica, f"is gone with its place: {text}")
            return None
        if replica.state in {ReplicaState.FAILED, ReplicaState.TERMINATED}:  # what is told of it stays true
            await self._transitions.note(replica, **UNPLACED)
            return 0.0
        await self._transitions.change(
            replica,
            "REPLICA_LOST",
            f"attempt {replica.attempt} is lost: {text}; another place is looked for",
            kind="WARNING",
            state=ReplicaState.PENDING,
            reason="NODE_LOST",
            message=text,
            endpoint="",
            retry_at=0.0,
            **UNPLACED,
        )
        return 0.0


_RUNNING = {ReplicaState.PROVISIONING, ReplicaState.STARTING, ReplicaState.READY, ReplicaState.UNHEALTHY}


def leaving(index: Index, replicas: Iterable[Replica]) -> frozenset[str]:
    """Ids of the replicas whose node is being drained: they run on until their update budget lets them be replaced.

    One that does not run any more has nothing to move: its next attempt, if there is one, is placed elsewhere anyhow.
    """
    return frozenset(
        replica.id
        for replica in replicas
        if replica.node_id
        and replica.state in _RUNNING
        and (node := index.get(Node, replica.node_id)) is not None
        and node.state is NodeState.DRAINING
    )
