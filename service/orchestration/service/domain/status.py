"""What a deployment's status is, as one pure function of what is wanted and of its replicas."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState


class DeploymentStatus(StrEnum):
    """The values of ``Deployment.Status`` in the API; their meaning is told in model_deployments.proto."""

    DEPLOYING = "DEPLOYING"
    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    UPDATING = "UPDATING"
    TERMINATING = "TERMINATING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


def gave_up(replica: Replica) -> bool:
    """Whether the replica failed for good: no further attempt is planned."""
    return replica.state is ReplicaState.FAILED and replica.retry_at == 0.0


def can_roll_back(deployment: Deployment) -> bool:
    """Whether a generation is under way that was not complete yet, with one before it that was."""
    return deployment.stable_generation not in {0, deployment.generation}


def completed(replica: Replica) -> bool:
    """Whether the replica has done its work (a batch) and is not started again."""
    return replica.state is ReplicaState.TERMINATED


def serving(replicas: Sequence[Replica]) -> list[Replica]:
    """The replicas whose engine answers."""
    return [replica for replica in replicas if replica.state is ReplicaState.READY]


def is_complete(deployment: Deployment, replicas: Sequence[Replica]) -> bool:
    """Whether the wanted replicas are there and ready or have done their work, and none is of another generation.

    More than are wanted do not count against it: they are being ended, and nothing is missing meanwhile.
    """
    current = [replica for replica in replicas if replica.generation == deployment.generation]
    good = len(serving(current)) + sum(map(completed, current))
    return len(current) == len(replicas) and good >= deployment.replicas


def deployment_status(deployment: Deployment, replicas: Sequence[Replica]) -> DeploymentStatus:
    """The status of a deployment with these replicas (all that have a row).

    An update whose replicas were given up is not FAILED: it is rolled back.
    """
    if deployment.desired is DesiredState.STOPPED:
        return DeploymentStatus.TERMINATING if replicas else DeploymentStatus.STOPPED
    if is_complete(deployment, replicas):
        done = replicas and all(map(completed, replicas))
        return DeploymentStatus.STOPPED if done else DeploymentStatus.RUNNING
    ready = len(serving(replicas))
    current = [replica for replica in replicas if replica.generation == deployment.generation]
    given_up = 0 if can_roll_back(deployment) else sum(map(gave_up, current))
    if given_up and given_up + sum(map(completed, current)) == len(current) >= deployment.replicas and not ready:
        return DeploymentStatus.FAILED
    if given_up:
        return DeploymentStatus.DEGRADED if ready else DeploymentStatus.DEPLOYING
    if deployment.complete_generation == 0:
        return DeploymentStatus.DEPLOYING
    if deployment.complete_generation < deployment.generation:
        return DeploymentStatus.UPDATING
    return DeploymentStatus.DEGRADED if ready or not _starting_anew(replicas) else DeploymentStatus.DEPLOYING


def _starting_anew(replicas: Sequence[Replica]) -> bool:
    """Whether nothing has been ready since the deployment was started: no replica has ever been."""
    return all(replica.ready_at == 0.0 and replica.failures == replica.restarts == 0 for replica in replicas)


def explain(replicas: Sequence[Replica]) -> str:
    """The sentence that says what is wrong: that of the worst replica; empty when none has anything to say."""
    order = (ReplicaState.FAILED, ReplicaState.UNHEALTHY, ReplicaState.PENDING, ReplicaState.PROVISIONING)
    for state in order:
        for replica in replicas:
            if replica.state is state and replica.message:
                return replica.message
    return ""
