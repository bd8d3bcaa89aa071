"""Which places of a pool a replica is held against: of several machines together, those that split it best."""

from __future__ import annotations

from collections import defaultdict

from orchestration.service.domain.places import Demand, Place, PoolView, reach_of
from orchestration.service.domain.refusals import Refusal, place_never

_Seen = tuple[Place, Refusal | None]


def looked_at(deployment: Demand, view: PoolView) -> list[_Seen]:
    """The places, each with why it can never hold a replica of the deployment.

    Machines together are for replicas of exactly their size. Of those of one kind one is looked at, and whether it is
    full makes no other one better: an engine that runs with four GPUs on each of three nodes may not with six on two.
    """
    found: list[_Seen] = []
    splits: dict[tuple[str, ...], list[_Seen]] = defaultdict(list)
    for place in view.places:
        if place.nodes == 1:
            found.append((place, place_never(deployment, view, place)))
        elif place.gpu_total == deployment.gpu_per_replica:
            kind = (place.slug, place.gpu_type, place.region, place.pricing_model, place.way)
            splits[kind].append((place, place_never(deployment, view, place)))
    if not splits:
        return found
    able = reach_of(deployment)

    def preference(seen: _Seen) -> tuple[bool, bool, int]:
        place, refusal = seen
        return (refusal is not None, *able.preference(place.nodes, place.gpus_each))

    return found + [min(seen, key=preference) for seen in splits.values()]
