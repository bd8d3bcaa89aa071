"""Changes of one replica's row, each with the event that says so, in one guarded transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestration.service.controllers.guard import Guard
from orchestration.store.records import Replica
from orchestration.store.transaction import Transaction

ACTOR = "replica-controller"


class Transitions:
    """Writes replicas. Every method raises `StaleRecordError` when the row changed since it was read."""

    def __init__(self, guard: Guard, clock: Callable[[], float]) -> None:
        self._guard = guard
        self.clock = clock

    async def change(
        self, replica: Replica, what: str, text: str, /, *, kind: str = "NORMAL", **fields: Any
    ) -> Replica:
        """Change fields of the row and append the event; gives the row as it is then."""
        async with self._guard.write(replica.deployment_id, ACTOR) as tx:
            return await self.change_in(tx, replica, what, text, kind=kind, **fields)

    async def change_in(
        self, tx: Transaction, replica: Replica, what: str, text: str, /, *, kind: str = "NORMAL", **fields: Any
    ) -> Replica:
        """The same within a transaction that is open already."""
        if "state" in fields and fields["state"] is not replica.state:
            fields["state_changed_at"] = self.clock()
        changed = await tx.update(replace(replica, **fields))
        tx.event(
            kind="deployment",
            subject_id=replica.deployment_id,
            type=kind,
            reason=what,
            message=f"replica {replica.ordinal}: {text}",
            replica_id=replica.id,
            attempt=changed.attempt,
        )
        return changed

    async def note(self, replica: Replica, **fields: Any) -> Replica:
        """Change fields that are no event of their own; no write when nothing differs."""
        changed = replace(replica, **fields)
        if changed == replica:
            return replica
        async with self._guard.write(replica.deployment_id, ACTOR) as tx:
            return await tx.update(changed)

    async def remove(self, replica: Replica, text: str) -> None:
        """Delete the row of a replica that is gone."""
        async with self._guard.write(replica.deployment_id, ACTOR) as tx:
            await tx.delete(replica)
            tx.event(
                kind="deployment",
                subject_id=replica.deployment_id,
                reason="REPLICA_TERMINATED",
                message=f"replica {replica.ordinal}: {text}",
                replica_id=replica.id,
                attempt=replica.attempt,
            )

    def check(self, deployment_id: str) -> None:
        """Raise `LeaseLostError` when the deployment is not this gateway's to work on any more."""
        self._guard.check(deployment_id)

    def place(self, deployment_id: str) -> Any:
        """A guarded transaction for placement, which reads and reserves in one."""
        return self._guard.write(deployment_id, ACTOR)
