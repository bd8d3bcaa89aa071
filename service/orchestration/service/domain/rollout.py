"""Which replicas to make and which to end, as one pure function of what is wanted and of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState


@dataclass(frozen=True, slots=True)
class Rollout:
    """The next step towards what is wanted; both empty when there is nothing to do now."""

    create: tuple[int, ...]
    """Ordinals of new replicas of the current generation."""
    terminate: tuple[Replica, ...]


def _least_wanted(replica: Replica) -> tuple[bool, float, int]:
    """Order in which replicas are given up: those not ready first, then the newest."""
    return (replica.state is ReplicaState.READY, -replica.created_at, -replica.ordinal)


def plan(deployment: Deployment, replicas: Sequence[Replica]) -> Rollout:
    """The replicas to make and to end now, within the update budget.

    Replicas that are TERMINATING still hold their place, so that with ``max_surge`` 0 a new one waits for it.
    """
    live = [replica for replica in replicas if replica.state is not ReplicaState.TERMINATING]
    if deployment.desired is DesiredState.STOPPED:
        return Rollout((), tuple(live))
    new = [replica for replica in live if replica.generation == deployment.generation]
    old = [replica for replica in live if replica.generation != deployment.generation]
    surplus = sorted(new, key=_least_wanted)[: max(0, len(new) - deployment.replicas)]
    ended = [*surplus, *_replaceable(deployment, old, live)]
    missing = deployment.replicas - len(new)
    if any(replica.generation != deployment.generation for replica in replicas):
        missing = min(missing, max(0, deployment.replicas + deployment.max_surge - len(replicas)))
    return Rollout(_free_ordinals(new, missing), tuple(ended))


def _replaceable(deployment: Deployment, old: Sequence[Replica], live: Sequence[Replica]) -> list[Replica]:
    """Older replicas that may go now: all that do not serve, and as many that do as the budget bears."""
    idle = [replica for replica in old if replica.state is not ReplicaState.READY]
    ready = [replica for replica in old if replica.state is ReplicaState.READY]
    serving = sum(replica.state is ReplicaState.READY for replica in live)
    spare = max(0, serving - max(0, deployment.replicas - deployment.max_unavailable))
    return [*idle, *sorted(ready, key=_least_wanted)[:spare]]


def _free_ordinals(new: Sequence[Replica], count: int) -> tuple[int, ...]:
    taken = {replica.ordinal for replica in new}
    ordinals: list[int] = []
    ordinal = 0
    while len(ordinals) < count:
        if ordinal not in taken:
            ordinals.append(ordinal)
        ordinal += 1
    return tuple(ordinals)
