"""Generations of a deployment: what makes a new one, when one has failed, and what it is rolled back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestration.service.domain.status import can_roll_back, completed, gave_up, is_complete, serving
from orchestration.store.records import Deployment, DesiredState, Json, Replica, ReplicaState

MADE_OF = ("model_id", "gpu_per_replica", "engine", "configuration", "inference_model", "env")
"""What a replica is made of: a change of these makes a new generation."""
_ORIGINS = ("model_version", "requested_engine", "requested_inference_model", "requested_configuration")
"""Where those come from; goes with them when a generation is rolled back."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a generation is not going to be complete."""

    replica: Replica
    """The replica that shows it."""
    reason: str
    message: str


def template(deployment: Deployment) -> dict[str, Json]:
    """What the deployment's replicas are made of, by field."""
    return {name: getattr(deployment, name) for name in (*MADE_OF, *_ORIGINS)}


def differs(deployment: Deployment, other: Mapping[str, Json]) -> bool:
    """Whether a replica of the deployment is made of something else than the template says."""
    return any(getattr(deployment, name) != other[name] for name in MADE_OF)


def renewed(wanted: Deployment) -> Deployment:
    """`wanted`, changed in what its replicas are made of, as a new generation.

    When it is what was last complete, it is known to be good, and the replicas that run it are taken over.
    """
    generation = wanted.generation + 1
    known = bool(wanted.stable_template) and not differs(wanted, wanted.stable_template)
    stable = generation if known else wanted.stable_generation
    return without_failure(replace(wanted, generation=generation, stable_generation=stable))


def without_failure(deployment: Deployment) -> Deployment:
    """The deployment, telling no more of an update that was rolled back."""
    return replace(deployment, failed_generation=0, failed_reason="", failed_message="", failed_at=0.0)


def noted(deployment: Deployment, replicas: Sequence[Replica]) -> Deployment:
    """The deployment, noting a generation that is complete; one that worked is what to go back to from then on.

    That none is wanted is complete too, and proves nothing.
    """
    if deployment.desired is DesiredState.STOPPED or not is_complete(deployment, replicas):
        return deployment
    deployment = replace(deployment, complete_generation=deployment.generation)
    if not serving(replicas) and not any(map(completed, replicas)):
        return deployment
    return replace(deployment, stable_generation=deployment.generation, stable_template=template(deployment))


def failure(
    deployment: Deployment, replicas: Sequence[Replica], now: float, deadline_s: float, since: float = 0.0
) -> Failure | None:
    """Why the generation under way is to be rolled back; None when it is not.

    A replica of it was given up, or waits for an instance for longer than `deadline_s`; waiting counts from `since` at
    the earliest. An engine that is merely slow is bounded by its startup timeout and attempts.
    """
    if deployment.desired is DesiredState.STOPPED or not can_roll_back(deployment):
        return None
    current = [replica for replica in replicas if replica.generation == deployment.generation]
    for replica in current:
        if gave_up(replica):
            return Failure(replica, replica.reason, replica.message)
    for replica in current:
        waited = now - max(_waits_since(replica), since)
        if _waits(replica) and waited >= deadline_s:
            what = "found no place" if replica.state is ReplicaState.PENDING else "could not be started"
            text = f"replica {replica.ordinal} {what} for {waited:.0f} s: {replica.message}"
            return Failure(replica, "PROGRESS_DEADLINE_EXCEEDED", text)
    return None


def next_look_s(
    deployment: Deployment, replicas: Sequence[Replica], now: float, deadline_s: float, since: float = 0.0
) -> float | None:
    """Seconds until a replica that waits for an instance has waited too long; None when none can."""
    if deployment.desired is DesiredState.STOPPED or not can_roll_back(deployment):
        return None
    waiting = [item for item in replicas if item.generation == deployment.generation and _waits(item)]
    return min((max(0.0, max(_waits_since(item), since) + deadline_s - now) for item in waiting), default=None)


def _waits(replica: Replica) -> bool:
    """Whether placement has looked for a place for it and found none, or its provider cannot start it there."""
    return replica.state in {ReplicaState.PENDING, ReplicaState.PROVISIONING} and replica.reason != ""


def _waits_since(replica: Replica) -> float:
    """A place that was given back, since the provider had no room or did not answer, was no end of the wait."""
    if replica.waits_since:
        return replica.waits_since
    return replica.state_changed_at if replica.attempt else replica.created_at


def rolled_back(deployment: Deployment, why: Failure, now: float) -> Deployment:
    """The deployment as a new generation of what was last complete, with the reason kept.

    A caller's older etag no longer fits it. It is not rolled back again: there is nothing better to go to.
    """
    generation = deployment.generation + 1
    return replace(
        deployment,
        **deployment.stable_template,  # type: ignore[arg-type]
        generation=generation,
        stable_generation=generation,
        failed_generation=deployment.generation,
        failed_reason=why.reason,
        failed_message=why.message,
        failed_at=now,
        version=deployment.version + 1,
    )


def taken_over(before: Deployment, after: Deployment, replicas: Sequence[Replica]) -> list[Replica]:
    """The replicas that run what the new generation runs, made part of it as they are.

    `before` and `after` are the deployment before and after its generation grew. Those that were given up are left to
    be replaced.
    """
    if after.stable_generation != after.generation or before.generation == after.generation:
        return []
    return [
        replace(replica, generation=after.generation)
        for replica in replicas
        if replica.generation == before.stable_generation
        and replica.state is not ReplicaState.TERMINATING
        and not gave_up(replica)
    ]


def explain_rollback(deployment: Deployment) -> str:
    """The sentence that says which update was rolled back and why; empty when none was."""
    if not deployment.failed_generation:
        return ""
    return f"generation {deployment.failed_generation} was rolled back: {deployment.failed_message}"
