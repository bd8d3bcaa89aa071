"""Which place a replica gets: the best of the first of its deployment's pools that has room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile

from orchestration.service.domain.placement import Candidate, PlaceKey, candidates, pools_of
from orchestration.service.domain.places import DemandKey, PoolView, demand_key
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.records import Deployment, Pool, Replica
from orchestration.store.transaction import Transaction

AWAY_S = 120.0
"""How long other pools come before one whose provider could not be asked."""


class Chooser:
    """Chooses from the rows, and remembers where a provider had no room although they said so, or was away."""

    def __init__(self, views: PoolViews, clock: Callable[[], float]) -> None:
        self._views = views
        self._clock = clock
        self._full: dict[str, set[PlaceKey]] = {}
        """By replica, the places that were refused to it since it last ran."""
        self._away: dict[str, dict[str, float]] = {}
        """By replica, the pools that it left since their provider could not be asked, and when that was."""
        self._known: dict[str, tuple[PoolView, dict[DemandKey, Sequence[Candidate]]]] = {}
        """By pool, what was found in the view of it that was last seen."""

    def refused(self, replica: Replica) -> None:
        """The provider did not give the replica the place that its row names: others are tried first."""
        key = (replica.pool_id, replica.node_id, replica.resource_id, replica.pricing_model)
        self._full.setdefault(replica.id, set()).add(key)

    def away(self, replica: Replica) -> None:
        """The provider of the replica's pool cannot be asked: other pools are tried first for a while."""
        self._away.setdefault(replica.id, {})[replica.pool_id] = self._clock()

    def forget(self, replica_id: str) -> None:
        """Drop what is remembered of a replica that runs, or is gone."""
        self._full.pop(replica_id, None)
        self._away.pop(replica_id, None)

    async def elsewhere(self, tx: Transaction, deployment: Deployment, replica: Replica) -> bool:
        """Whether another pool than the replica's has a place that is worth leaving its own for."""
        for pool_id in pools_of(deployment):
            if pool_id != replica.pool_id:
                found = await self._look(tx, deployment, pool_id)
                if any(item.feasible and not self._is_refused(replica.id, item) for item in found):
                    return True
        return False

    def _is_refused(self, replica_id: str, item: Candidate) -> bool:
        left_at = self._away.get(replica_id, {}).get(item.pool_id)
        if left_at is not None and self._clock() - left_at < AWAY_S:
            return True
        return item.key in self._full.get(replica_id, ())

    def look(self, deployment: Deployment, replica_id: str) -> Candidate:
        """As `choose`, by what the index shows: without a transaction, and nothing is held by it."""
        found = [self._found(deployment, pool_id, self._views.look(pool_id)) for pool_id in pools_of(deployment)]
        best, _ = _best(found, partial(self._is_refused, replica_id))
        return best

    async def choose(self, tx: Transaction, deployment: Deployment, replica_id: str) -> Candidate:
        """The best place of the first pool that has one; else the refusal, with what every pool said.

        Places that refused the replica before are taken when there is no other, and then all are tried again.
        """
        is_refused = partial(self._is_refused, replica_id)
        found: list[Sequence[Candidate]] = []
        for pool_id in pools_of(deployment):
            found.append(await self._look(tx, deployment, pool_id))
            best, is_first_choice = _best(found, is_refused)
            if is_first_choice:
                return best
        best, _ = _best(found, is_refused)
        if best.feasible:
            self.forget(replica_id)
        return best

    async def _look(self, tx: Transaction, deployment: Deployment, pool_id: str) -> Sequence[Candidate]:
        pool = await tx.get(Pool, pool_id)
        view = await self._views.read(tx, pool) if pool is not None else None
        return self._found(deployment, pool_id, view)

    def _found(self, deployment: Deployment, pool_id: str, view: PoolView | None) -> Sequence[Candidate]:
        """The pool's candidates; found once for all deployments that are placed alike, while its view is the same."""
        if view is None:
            self._known.pop(pool_id, None)
            text = f"pool {pool_id!r} does not exist"
            return [Candidate(pool_id=pool_id, reason="POOL_NOT_FOUND", message=text)]
        known = self._known.get(pool_id)
        if known is None or known[0] is not view:
            known = self._known[pool_id] = (view, {})
        key = demand_key(deployment)
        if key not in known[1]:
            known[1][key] = candidates(deployment, view)
        return known[1][key]


def _best(found: Sequence[Sequence[Candidate]], is_refused: Callable[[Candidate], bool]) -> tuple[Candidate, bool]:
    """The best place of pools in their order, and whether it is none of those that were refused before."""
    second_choice: Candidate | None = None
    for pool in found:
        for item in takewhile(lambda item: item.feasible, pool):
            if not is_refused(item):
                return item, True
            second_choice = second_choice or item
    if second_choice is not None:
        return second_choice, False
    message = "; ".join(dict.fromkeys(pool[0].message for pool in found))
    return Candidate(pool_id=found[0][0].pool_id, reason=found[0][0].reason, message=message), False
