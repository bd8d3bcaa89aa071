"""Which replicas to make and which to end, as one pure function of what is wanted and of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState

_WORTH = (
    ReplicaState.TERMINATED,
    ReplicaState.FAILED,
    ReplicaState.UNHEALTHY,
    ReplicaState.PENDING,
    ReplicaState.PROVISIONING,
    ReplicaState.STARTING,
    ReplicaState.READY,
)
"""States in the order in which replicas of them are given up."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The next step towards what is wanted; both empty when there is nothing to do now."""

    create: tuple[int, ...]
    """Ordinals of new replicas of the current generation."""
    terminate: tuple[Replica, ...]


def _least_wanted(replica: Replica) -> tuple[int, float, int]:
    """Order in which replicas are given up: unhealthy ones first, then those not ready yet; of equals the newest."""
    return (_WORTH.index(replica.state), -replica.created_at, -replica.ordinal)


def plan(deployment: Deployment, replicas: Sequence[Replica], moving: frozenset[str] = frozenset()) -> Rollout:
    """The replicas to make and to end now, within the update budget.

    `moving` holds ids of replicas, in any state, that must leave the node they run on: they are replaced like those of
    an older generation. Replicas that are TERMINATING still hold their place while others are replaced, so that with
    ``max_surge`` 0 a new one waits for it.
    """
    live = [replica for replica in replicas if replica.state is not ReplicaState.TERMINATING]
    if deployment.desired is DesiredState.STOPPED:
        return Rollout((), tuple(live))
    new = [replica for replica in live if not _is_replaced(replica, deployment, moving)]
    old = [replica for replica in live if _is_replaced(replica, deployment, moving)]
    surplus = sorted(new, key=_least_wanted)[: max(0, len(new) - deployment.replicas)]
    ended = [*surplus, *_replaceable(deployment, old, live)]
    missing = deployment.replicas - len(new)
    if any(_is_replaced(replica, deployment, moving) for replica in replicas):
        missing = min(missing, max(0, deployment.replicas + deployment.max_surge - len(replicas)))
    return Rollout(_free_ordinals(deployment, live, missing), tuple(ended))


def _is_replaced(replica: Replica, deployment: Deployment, moving: frozenset[str]) -> bool:
    return replica.generation != deployment.generation or replica.id in moving


def _replaceable(deployment: Deployment, old: Sequence[Replica], live: Sequence[Replica]) -> list[Replica]:
    """Replicas to be replaced that may go now: all that do not serve, and as many that do as the budget bears."""
    idle = [replica for replica in old if replica.state is not ReplicaState.READY]
    ready = [replica for replica in old if replica.state is ReplicaState.READY]
    serving = sum(replica.state is ReplicaState.READY for replica in live)
    spare = max(0, serving - max(0, deployment.replicas - deployment.max_unavailable))
    return [*idle, *sorted(ready, key=_least_wanted)[:spare]]


def _free_ordinals(deployment: Deployment, live: Sequence[Replica], count: int) -> tuple[int, ...]:
    """The lowest that no replica of the generation has."""
    taken = {replica.ordinal for replica in live if replica.generation == deployment.generation}
    ordinals: list[int] = []
    ordinal = 0
    while len(ordinals) < count:
        if ordinal not in taken:
            ordinals.append(ordinal)
        ordinal += 1
    return tuple(ordinals)
