"""How gateways share work: who takes what is free, and who gives up what, so that all come to an equal part and stay.

Each decides for itself, one after the other, from the same rows. Nobody gives anything up once every part differs from
every other by one at the most, so a share that has settled moves only when a gateway comes or goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one gateway does next."""

    take: tuple[str, ...] = ()
    give: tuple[str, ...] = ()
    owed: int = 0
    """Pieces that this gateway lacks and that others will give up."""


def share(me: str, holders: Mapping[str, str], members: Collection[str]) -> Share:
    """``holders``: by piece of work, who holds it, empty where nobody does. ``members``: the gateways that live.

    Every live gateway is to have the floor of an equal part, and none more than its ceiling. What is free goes to those
    below the floor first; only when that does not do, others give up what they have above it.
    """
    everyone = {me, *members}
    floor, rest = divmod(len(holders), len(everyone))
    ceiling = floor + bool(rest)
    held = Counter(holders.values())
    mine = sorted(name for name, holder in holders.items() if holder == me)
    free = sorted(name for name, holder in holders.items() if not holder)
    others_lack = sum(max(0, floor - held[member]) for member in everyone - {me})
    lack = max(0, floor - len(mine))
    take = free[: max(0, lack, min(ceiling - len(mine), len(free) - others_lack))]
    surplus = max(0, len(mine) - ceiling, min(len(mine) - floor, others_lack - len(free)))
    return Share(tuple(take), tuple(mine[len(mine) - surplus :]), lack - min(lack, len(take)))
