"""Which place a replica gets: the best of the first of its deployment's pools that has room."""

from __future__ import annotations

from collections.abc import Callable

from orchestration.service.domain.placement import Candidate, PlaceKey, candidates
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
        for pool_id in (deployment.pool_id, *deployment.fallback_pool_ids):
            if pool_id != replica.pool_id:
                found = await self._look(tx, deployment, pool_id)
                if any(item.feasible and not self._is_refused(item, replica.id) for item in found):
                    return True
        return False

    def _is_refused(self, item: Candidate, replica_id: str) -> bool:
        left_at = self._away.get(replica_id, {}).get(item.pool_id)
        if left_at is not None and self._clock() - left_at < AWAY_S:
            return True
        return item.key in self._full.get(replica_id, ())

    async def choose(self, tx: Transaction, deployment: Deployment, replica_id: str) -> Candidate:
        """The best place of the first pool that has one; else the refusal, with what every pool said.

        Places that refused the replica before are taken when there is no other, and then all are tried again.
        """
        second_choice: Candidate | None = None
        refusals: list[Candidate] = []
        for pool_id in (deployment.pool_id, *deployment.fallback_pool_ids):
            found = await self._look(tx, deployment, pool_id)
            feasible = [item for item in found if item.feasible]
            for item in feasible:
                if not self._is_refused(item, replica_id):
                    return item
            second_choice = second_choice or next(iter(feasible), None)
            refusals.append(found[0])
        if second_choice is not None:
            self.forget(replica_id)
            return second_choice
        message = "; ".join(dict.fromkeys(item.message for item in refusals))
        return Candidate(pool_id=refusals[0].pool_id, reason=refusals[0].reason, message=message)

    async def _look(self, tx: Transaction, deployment: Deployment, pool_id: str) -> list[Candidate]:
        pool = await tx.get(Pool, pool_id)
        if pool is None:
            text = f"pool {pool_id!r} does not exist"
            return [Candidate(pool_id=pool_id, reason="POOL_NOT_FOUND", message=text)]
        return candidates(deployment, await self._views.read(tx, pool))
