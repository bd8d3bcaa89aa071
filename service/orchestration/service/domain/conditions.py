"""The aspects of a deployment, in the manner of Kubernetes' conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.service.domain.rollback import explain_rollback
from orchestration.service.domain.status import explain, gave_up, is_complete, serving
from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState


@dataclass(frozen=True, slots=True)
class Aspect:
    """One condition."""

    type: str
    holds: bool
    reason: str
    message: str
    since: float
    """Unix seconds of the last change that could have turned it."""


def aspects(deployment: Deployment, replicas: Sequence[Replica]) -> tuple[Aspect, ...]:
    """Available, Progressing and Placed, and RolledBack when the last update was."""
    since = max((replica.state_changed_at for replica in replicas), default=deployment.updated_at)
    return (
        _available(deployment, replicas, since),
        _progressing(deployment, replicas, since),
        _placed(replicas, since),
        *_rolled_back(deployment),
    )


def _available(deployment: Deployment, replicas: Sequence[Replica], since: float) -> Aspect:
    wanted = deployment.replicas if deployment.desired is DesiredState.RUNNING else 0
    ready = len(serving(replicas))
    message = f"{ready} of {wanted} replicas are ready"
    if wanted and ready >= wanted - deployment.max_unavailable and ready:
        return Aspect("Available", True, "MINIMUM_REPLICAS_READY", message, since)
    return Aspect("Available", False, "MINIMUM_REPLICAS_NOT_READY", message, since)


def _progressing(deployment: Deployment, replicas: Sequence[Replica], since: float) -> Aspect:
    if deployment.desired is DesiredState.STOPPED:
        reason, message = ("TERMINATING", "replicas are being ended") if replicas else ("STOPPED", "nothing is wanted")
        return Aspect("Progressing", bool(replicas), reason, message, since)
    if is_complete(deployment, replicas):
        return Aspect("Progressing", False, "COMPLETE", f"generation {deployment.generation} is complete", since)
    if replicas and all(gave_up(replica) for replica in replicas):
        return Aspect("Progressing", False, "ATTEMPTS_EXHAUSTED", explain(replicas), since)
    # What a provider cannot do now for a replica that has a place, such as to pay for it.
    held_up = (item.reason for item in replicas if item.state is ReplicaState.PROVISIONING and item.reason)
    reason = next(held_up, "RECONCILING")
    return Aspect("Progressing", True, reason, explain(replicas) or "replicas are being started", since)


def _placed(replicas: Sequence[Replica], since: float) -> Aspect:
    waiting = [replica for replica in replicas if replica.state is ReplicaState.PENDING and replica.reason]
    if waiting:
        return Aspect("Placed", False, waiting[0].reason, waiting[0].message, since)
    return Aspect("Placed", True, "PLACED", "every replica has a place", since)


def _rolled_back(deployment: Deployment) -> tuple[Aspect, ...]:
    message = explain_rollback(deployment)
    return (Aspect("RolledBack", True, deployment.failed_reason, message, deployment.failed_at),) if message else ()
