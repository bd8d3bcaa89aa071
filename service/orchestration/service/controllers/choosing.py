"""Which place a replica gets: the best of the first of its deployment's pools that has room."""

from __future__ import annotations

from orchestration.service.domain.placement import Candidate, PlaceKey, candidates
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.records import Deployment, Pool, Replica
from orchestration.store.transaction import Transaction


class Chooser:
    """Chooses from the rows, and remembers where a provider had no room although they said so."""

    def __init__(self, views: PoolViews) -> None:
        self._views = views
        self._full: dict[str, set[PlaceKey]] = {}
        """By replica, the places that were refused to it since it last ran."""

    def refused(self, replica: Replica) -> None:
        """The provider did not give the replica the place that its row names: others are tried first."""
        key = (replica.pool_id, replica.node_id, replica.resource_id, replica.pricing_model)
        self._full.setdefault(replica.id, set()).add(key)

    def forget(self, replica_id: str) -> None:
        """Drop what is remembered of a replica that runs, or is gone."""
        self._full.pop(replica_id, None)

    async def choose(self, tx: Transaction, deployment: Deployment, replica_id: str) -> Candidate:
        """The best place of the first pool that has one; else the refusal, with what every pool said.

        Places that refused the replica before are taken when there is no other, and then all are tried again.
        """
        full = self._full.get(replica_id, set())
        second_choice: Candidate | None = None
        refusals: list[Candidate] = []
        for pool_id in (deployment.pool_id, *deployment.fallback_pool_ids):
            found = await self._look(tx, deployment, pool_id)
            feasible = [item for item in found if item.feasible]
            for item in feasible:
                if item.key not in full:
                    return item
            second_choice = second_choice or next(iter(feasible), None)
            refusals.append(found[0])
        if second_choice is not None:
            full.clear()
            return second_choice
        message = "; ".join(dict.fromkeys(item.message for item in refusals))
        return Candidate(pool_id=refusals[0].pool_id, reason=refusals[0].reason, message=message)

    async def _look(self, tx: Transaction, deployment: Deployment, pool_id: str) -> list[Candidate]:
        pool = await tx.get(Pool, pool_id)
        if pool is None:
            text = f"pool {pool_id!r} does not exist"
            return [Candidate(pool_id=pool_id, reason="POOL_NOT_FOUND", message=text)]
        return candidates(deployment, await self._views.read(tx, pool))
