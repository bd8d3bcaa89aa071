"""All controllers together: what wakes them, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from orchestration.service.controllers.cluster_nodes import ClusterNodeController
from orchestration.service.controllers.deployments import DeploymentController
from orchestration.service.controllers.nodes import NodeController
from orchestration.service.controllers.queue import WorkQueue
from orchestration.service.controllers.reaper import Reaper
from orchestration.service.controllers.replicas import ReplicaController
from orchestration.service.controllers.room import Room
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.domain.backoff import Backoff
from orchestration.service.logs.store import LogStore
from orchestration.store.index import Index
from orchestration.store.records import Change, Deployment, Node, Pool, Replica, ReplicaState

log = structlog.get_logger(__name__)

_DEPLOYMENT_WORKERS = 64
_REPLICA_WORKERS = 256
"""Twice what the calls to one provider can take, all of them hanging (`bounded.CallLimits.at_once`)."""


class ControllerManager:
    """Runs the controllers: woken by the change feed, and by a slow pass over everything."""

    def __init__(
        self,
        index: Index,
        logs: LogStore,
        deployments: DeploymentController,
        replicas: ReplicaController,
        nodes: NodeController,
        cluster_nodes: ClusterNodeController,
        reaper: Reaper,
        *,
        resync_s: float,
        log_purge_grace_s: float,
    ) -> None:
        self._index = index
        self._logs = logs
        self._nodes = nodes
        self._cluster_nodes = cluster_nodes
        self._reaper = reaper
        self._resync_s = resync_s
        self._log_purge_grace_s = log_purge_grace_s
        self._deployments = WorkQueue(
            "deployment", deployments.reconcile, workers=_DEPLOYMENT_WORKERS, backoff=Backoff(0.1, 30.0)
        )
        self._replicas = WorkQueue("replica", replicas.step, workers=_REPLICA_WORKERS, backoff=Backoff(0.1, 30.0))
        self._deployment_of: dict[str, str] = {}
        self._room = Room(index)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, shards: ShardLeases) -> None:
        """Start everything; the work begins when the leases are held."""
        loops = {
            "shard leases": shards.run(self.wake_all),
            "controller feed": self._listen(),
            "controller resync": self._resync(),
            "log sweep": self._sweep_logs(),
            "node controller": self._nodes.run(),
            "inventory": self._nodes.run_inventory(),
            "cluster nodes": self._cluster_nodes.run(),
            "reaper": self._reaper.run(),
            "pool removal": self._reaper.run_pools(),
        }
        self._tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]

    def wake_all(self) -> None:
        """Look at every deployment and every replica."""
        for deployment in self._index.all(Deployment):
            self._deployments.add(deployment.id)
        for replica in self._index.all(Replica):
            self._deployment_of[replica.id] = replica.deployment_id
            self._room.seen(replica)
            self._replicas.add(replica.id)

    async def _resync(self) -> None:
        while True:
            self.wake_all()
            await asyncio.sleep(self._resync_s)

    async def _sweep_logs(self) -> None:
        """Remove logs that no deployment owns any more, and what is too old. Each gateway does so on its own disk."""
        while True:
            try:
                await self._logs.sweep(
                    lambda deployment_id: self._index.get(Deployment, deployment_id) is not None,
                    grace_s=self._log_purge_grace_s,
                )
            except Exception as error:
                log.warning("logs could not be swept; the next pass tries again", exc_info=error)
            await asyncio.sleep(self._resync_s)

    async def _listen(self) -> None:
        with self._index.subscribe() as subscription:
            async for batch in subscription:
                try:
                    await self._wake(batch)
                except Exception as error:
                    log.error("changes could not be handed on; the next pass finds them", exc_info=error)

    async def _wake(self, batch: Iterable[Change]) -> None:
        returned = False
        for change in batch:
            match change.kind:
                case Deployment.kind:
                    self._deployment_changed(change)
                case Replica.kind:
                    returned |= self._replica_changed(change)
                case Node.kind:
                    self._node_changed(change.id)
                    self._room.node_changed(change)
                    returned = True
                case Pool.kind:
                    self._room.pool_changed(change.id)
                    self._cluster_nodes.look_soon()
                    returned = True
                case _:
                    pass
        for replica_id in self._room.take():
            self._replicas.add(replica_id)
        if returned:
            self._reaper.look_at_pools()

    def _node_changed(self, node_id: str) -> None:
        """Wake what runs on the node: it may be lost, to be left, or another machine under the same name by now."""
        for replica in self._index.find(Replica, node_id=node_id):
            self._replicas.add(replica.id)
            self._deployments.add(replica.deployment_id)

    def _deployment_changed(self, change: Change) -> None:
        if change.tombstone:
            self._logs.release(change.id)
            return
        self._deployments.add(change.id)
        for replica in self._index.find(Replica, deployment_id=change.id):
            self._replicas.add(replica.id)

    def _replica_changed(self, change: Change) -> bool:
        """Wake the replica and its deployment; True when it gave its place back."""
        replica = self._index.get(Replica, change.id)
        self._replicas.add(change.id)
        self._room.replica_changed(change)
        if replica is None:
            deployment_id = self._deployment_of.pop(change.id, "")
            if deployment_id:
                self._deployments.add(deployment_id)
            return True
        self._deployment_of[replica.id] = replica.deployment_id
        self._deployments.add(replica.deployment_id)
        return not replica.instance_name and replica.state in {ReplicaState.FAILED, ReplicaState.TERMINATED}

    async def close(self) -> None:
        """Stop all work; what is under way is taken up again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._deployments.close()
        await self._replicas.close()
