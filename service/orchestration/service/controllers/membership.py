"""One look of a gateway at all leases, in one transaction: who lives, what is this gateway's part, and what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.service.domain.sharing import Share, share
from orchestration.store.leases import LeaseSession
from orchestration.store.records import Lease

MEMBER = "member/"
"""Prefix of the leases that gateways keep on their own names."""
RENEWALS = 3
"""Renewals in a lease's life."""
_MARGIN_S = 0.02
"""How long after the end of another's lease it is looked at."""
_SETTLE_S = 0.25
"""Pause between looks at what others are about to give up."""
_REMEMBERED_LIVES = 10.0
"""A gateway that is gone is forgotten after so many lives of its lease."""


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to hold."""

    shared: Sequence[str]
    """Leases of which each gateway takes an equal part."""
    single: Sequence[str]
    """Leases that stay with whoever has them."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look came to."""

    held: dict[str, Lease]
    """Leases on work, by name."""
    given: tuple[str, ...]
    renewed: bool
    """Whether all that is held has a whole life before it."""
    others: frozenset[str]
    """The other gateways that live."""
    next_s: float
    """Seconds after which to look again."""


class Membership:
    """A gateway among those that share a database."""

    def __init__(self, owner: str, life_s: float, work: Work) -> None:
        self._owner = owner
        self._life_s = life_s
        self._work = work
        self._name = MEMBER + owner

    async def look(self, session: LeaseSession, *, renew: bool = False) -> Look:
        """Renew what is due, or all of it, and take and give up what this gateway's part is short of or above."""
        rows = await session.find("")
        mine = {lease.name: lease for lease in rows if lease.owner == self._owner}
        theirs = [lease for lease in rows if lease.owner not in ("", self._owner)]
        live = [lease for lease in theirs if not session.is_free(lease)]
        self._forget(session, [lease for lease in theirs if lease not in live])
        part = self._part(mine, live)
        given = part.give
        for name in given:
            await session.release(mine.pop(name))
        due = renew or self._is_due(mine.get(self._name), session.now)
        if due:
            mine = {name: renewed for name, lease in mine.items() if (renewed := await session.renew(lease))}
        for name in (self._name, *part.take, *self._work.single):
            if name not in mine and (taken := await session.take(name)):
                mine[name] = taken
        others = frozenset(lease.owner for lease in live)
        member = mine.pop(self._name)
        looks = [self._until_due_s(member, session.now), *(session.left_s(lease) + _MARGIN_S for lease in live)]
        next_s = max(_MARGIN_S, min(looks + [_SETTLE_S] * bool(part.owed)))
        return Look(mine, given, due, others, next_s)

    async def leave(self, session: LeaseSession) -> None:
        """Give everything up."""
        for lease in await session.find(""):
            if lease.owner == self._owner:
                await session.release(lease)
        session.forget(self._name)

    def _part(self, mine: dict[str, Lease], live: list[Lease]) -> Share:
        holders = dict.fromkeys(self._work.shared, "")
        holders |= {lease.name: lease.owner for lease in (*mine.values(), *live) if lease.name in holders}
        return share(self._owner, holders, {lease.owner for lease in live})

    def _is_due(self, member: Lease | None, now: float) -> bool:
        """Whether it is time to renew, all at once; a lease that lives longer than it can is of a clock set back."""
        return member is None or self._until_due_s(member, now) <= 0 or member.expires_at - now > self._life_s

    def _until_due_s(self, member: Lease, now: float) -> float:
        return member.expires_at - now - self._life_s * (1 - 1 / RENEWALS)

    def _forget(self, session: LeaseSession, free: list[Lease]) -> None:
        long_ago = session.now - _REMEMBERED_LIVES * self._life_s
        for lease in free:
            if lease.name.startswith(MEMBER) and (lease.expires_at <= long_ago or session.is_dead(lease.owner)):
                session.forget(lease.name)
