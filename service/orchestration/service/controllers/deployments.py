"""The deployment controller: makes and ends replica rows, rolls back what fails, tells the status when it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestration.service.controllers.guard import Guard
from orchestration.service.domain import rollback
from orchestration.service.domain.rollout import plan
from orchestration.service.domain.status import DeploymentStatus, deployment_status, explain
from orchestration.service.ids import new_id
from orchestration.store.index import Index
from orchestration.store.records import Deployment, Replica, ReplicaState
from orchestration.store.transaction import Transaction

ACTOR = "deployment-controller"
_BAD = {DeploymentStatus.DEGRADED, DeploymentStatus.FAILED}
Moving = Callable[[Sequence[Replica]], frozenset[str]]
"""Of a deployment's replicas: the ids of those, in any state, that must leave the node they run on."""


def none_moves(_replicas: Sequence[Replica]) -> frozenset[str]:
    """Every replica may stay where it is."""
    return frozenset()


class DeploymentController:
    """Works on one deployment at a time, in one short transaction and only when there is something to do."""

    def __init__(
        self,
        index: Index,
        guard: Guard,
        clock: Callable[[], float],
        *,
        progress_deadline_s: float,
        moving: Moving = none_moves,
    ) -> None:
        self._index = index
        self._guard = guard
        self._clock = clock
        self._progress_deadline_s = progress_deadline_s
        self._moving = moving
        self._since = clock()
        """Waiting from before this time does not count: nobody was there to look for places."""

    async def reconcile(self, deployment_id: str) -> float | None:
        """Take the next step of the rollout, if there is one; gives the seconds after which to look again."""
        deployment = self._index.get(Deployment, deployment_id)
        if deployment is None or not self._guard.holds(deployment_id):
            return None
        replicas = self._index.find(Replica, deployment_id=deployment_id)
        if not self._has_work(deployment, replicas):
            return rollback.next_look_s(deployment, replicas, self._clock(), self._progress_deadline_s, self._since)
        async with self._guard.write(deployment_id, ACTOR) as tx:
            current = await tx.get(Deployment, deployment_id)
            if current is not None:
                await self._step(tx, current)
        return None

    def _has_work(self, deployment: Deployment, replicas: list[Replica]) -> bool:
        rollout = plan(deployment, replicas, self._moving(replicas))
        noted = _noted(deployment, replicas)
        return bool(rollout.create or rollout.terminate or self._failure(deployment, replicas)) or noted != deployment

    def _failure(self, deployment: Deployment, replicas: Sequence[Replica]) -> rollback.Failure | None:
        return rollback.failure(deployment, replicas, self._clock(), self._progress_deadline_s, self._since)

    async def _step(self, tx: Transaction, deployment: Deployment) -> None:
        replicas = await tx.select(Replica, deployment_id=deployment.id)
        why = self._failure(deployment, replicas)
        if why is not None:
            deployment = await self._roll_back(tx, deployment, replicas, why)
            replicas = await tx.select(Replica, deployment_id=deployment.id)
        rollout = plan(deployment, replicas, self._moving(replicas))
        now = self._clock()
        for replica in rollout.terminate:
            await self._end(tx, replica, now)
        if rollout.create:
            await self._create(tx, deployment, rollout.create, now)
        await self._tell(tx, deployment)

    async def _roll_back(
        self, tx: Transaction, deployment: Deployment, replicas: Sequence[Replica], why: rollback.Failure
    ) -> Deployment:
        """Go back to what was last complete; the replicas that still run it are kept as they are."""
        after = await tx.update(rollback.rolled_back(deployment, why, self._clock()))
        kept = rollback.taken_over(deployment, after, replicas)
        for replica in kept:
            await tx.update(replica)
        text = (
            f"generation {deployment.generation} failed at replica {why.replica.ordinal}: {why.message}; "
            f"generation {after.generation} runs again what generation {deployment.stable_generation} ran, "
            f"with {len(kept)} of its replicas kept"
        )
        tx.event(
            kind="deployment",
            subject_id=deployment.id,
            type="WARNING",
            reason="DEPLOYMENT_ROLLED_BACK",
            message=text,
            replica_id=why.replica.id,
            attempt=why.replica.attempt,
        )
        return after

    async def _create(self, tx: Transaction, deployment: Deployment, ordinals: Sequence[int], now: float) -> None:
        for ordinal in ordinals:
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
        noted = await tx.update(_noted(deployment, replicas))
        status, before = noted.observed_status, deployment.observed_status
        if status != before:
            why = explain(replicas)
            text = f"{before or 'new'} -> {status}" + (f": {why}" if why and status in _BAD else "")
            kind = "WARNING" if status in _BAD else "NORMAL"
            reason = f"DEPLOYMENT_{status}"
            tx.event(kind="deployment", subject_id=deployment.id, type=kind, reason=reason, message=text)


def _noted(deployment: Deployment, replicas: Sequence[Replica]) -> Deployment:
    """The deployment with what its rows show: whether its generation is complete, and its status."""
    deployment = rollback.noted(deployment, replicas)
    return replace(deployment, observed_status=deployment_status(deployment, replicas))
