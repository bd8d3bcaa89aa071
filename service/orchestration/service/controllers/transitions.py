"""Changes of one replica's row, each with the event that says so, in one guarded transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestration.service.controllers.guard import Guard
from orchestration.service.usecases.usage import delete_replica, write_replica
from orchestration.store.records import Replica, ReplicaState
from orchestration.store.transaction import Transaction

ACTOR = "replica-controller"
UNPLACED: Mapping[str, Any] = {
    "instance_name": "",
    "provider_instance_id": "",
    "pool_id": "",
    "node_id": "",
    "resource_id": "",
    "pricing_model": "",
    "price_per_hour": 0.0,
}
"""What the row of a replica says that holds no place."""


class Transitions:
    """Writes replicas, and with them what they cost.

    Every method raises `StaleRecordError` when the row changed since it was read.
    """

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
        waits = fields.get("state", replica.state) in {ReplicaState.PENDING, ReplicaState.PROVISIONING}
        fields["waits_since"] = (replica.waits_since or self.clock()) if waits else 0.0
        changed = await write_replica(tx, replica, replace(replica, **fields), self.clock())
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
            return await write_replica(tx, replica, changed, self.clock())

    async def remove(self, replica: Replica, text: str) -> None:
        """Delete the row of a replica that is gone."""
        async with self._guard.write(replica.deployment_id, ACTOR) as tx:
            await delete_replica(tx, replica, self.clock())
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
