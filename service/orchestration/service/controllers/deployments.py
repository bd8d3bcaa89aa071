"""The deployment controller: makes and ends replica rows, and tells the status when it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestration.service.controllers.guard import Guard
from orchestration.service.domain.rollout import plan
from orchestration.service.domain.status import DeploymentStatus, deployment_status, explain, is_complete
from orchestration.service.ids import new_id
from orchestration.store.index import Index
from orchestration.store.records import Deployment, Replica, ReplicaState
from orchestration.store.transaction import Transaction

ACTOR = "deployment-controller"
_BAD = {DeploymentStatus.DEGRADED, DeploymentStatus.FAILED}


class DeploymentController:
    """Works on one deployment at a time, in one short transaction and only when there is something to do."""

    def __init__(self, index: Index, guard: Guard, clock: Callable[[], float]) -> None:
        self._index = index
        self._guard = guard
        self._clock = clock

    async def reconcile(self, deployment_id: str) -> float | None:
        """Take the next step of the rollout, if there is one."""
        deployment = self._index.get(Deployment, deployment_id)
        if deployment is None or not self._guard.holds(deployment_id):
            return None
        replicas = self._index.find(Replica, deployment_id=deployment_id)
        if not self._has_work(deployment, replicas):
            return None
        async with self._guard.write(deployment_id, ACTOR) as tx:
            current = await tx.get(Deployment, deployment_id)
            if current is not None:
                await self._step(tx, current)
        return None

    def _has_work(self, deployment: Deployment, replicas: list[Replica]) -> bool:
        rollout = plan(deployment, replicas)
        complete = is_complete(deployment, replicas) and deployment.complete_generation != deployment.generation
        told = deployment_status(deployment, replicas) == deployment.observed_status
        return bool(rollout.create or rollout.terminate) or complete or not told

    async def _step(self, tx: Transaction, deployment: Deployment) -> None:
        replicas = await tx.select(Replica, deployment_id=deployment.id)
        rollout = plan(deployment, replicas)
        now = self._clock()
        for replica in rollout.terminate:
            await self._end(tx, replica, now)
        for ordinal in rollout.create:
            await tx.insert(
                Replica(
                    id=new_id(),
                    created_at=now,
                    deployment_id=deployment.id,
                    ordinal=ordinal,
                    generation=deployment.generation,
                    state_changed_at=now,
                )
            )
        if rollout.create:
            ordinals = ", ".join(map(str, rollout.create))
            text = f"replicas {ordinals} of generation {deployment.generation} are to be started"
            tx.event(kind="deployment", subject_id=deployment.id, reason="REPLICAS_CREATED", message=text)
        await self._tell(tx, deployment)

    async def _end(self, tx: Transaction, replica: Replica, now: float) -> None:
        if not replica.instance_name:
            await tx.delete(replica)
            return
        ending = replace(replica, state=ReplicaState.TERMINATING, reason="", message="", state_changed_at=now)
        await tx.update(ending)
        tx.event(
            kind="deployment",
            subject_id=replica.deployment_id,
            reason="REPLICA_TERMINATING",
            message=f"replica {replica.ordinal} is being ended",
            replica_id=replica.id,
            attempt=replica.attempt,
        )

    async def _tell(self, tx: Transaction, deployment: Deployment) -> None:
        """Note a generation that is complete, and a status that is not the one last told."""
        replicas = await tx.select(Replica, deployment_id=deployment.id)
        if is_complete(deployment, replicas):
            deployment = replace(deployment, complete_generation=deployment.generation)
        status = deployment_status(deployment, replicas)
        before = deployment.observed_status
        await tx.update(replace(deployment, observed_status=status))
        if status != before:
            why = explain(replicas)
            text = f"{before or 'new'} -> {status}" + (f": {why}" if why and status in _BAD else "")
            kind = "WARNING" if status in _BAD else "NORMAL"
            reason = f"DEPLOYMENT_{status}"
            tx.event(kind="deployment", subject_id=deployment.id, type=kind, reason=reason, message=text)
