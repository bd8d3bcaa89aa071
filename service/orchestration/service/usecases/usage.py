"""What replicas cost: a usage interval for each instance, written with the step that begins or ends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestration.store.records import Deployment, Replica, UsageInterval
from orchestration.store.transaction import Transaction

_HOUR_S = 3600.0


def cost(price_per_hour: float, started_at: float, ended_at: float) -> float:
    """US dollars; nothing where the clock went back."""
    return price_per_hour * max(0.0, ended_at - started_at) / _HOUR_S


def running_cost(replicas: Iterable[Replica], now: float) -> float:
    """What the open intervals of the replicas have come to, in US dollars."""
    total = 0.0
    for item in replicas:  # a list of deployments asks for each of them: a generator takes three times as long
        if item.billed_from:
            total += cost(item.price_per_hour, item.billed_from, now)
    return total


async def write_replica(tx: Transaction, before: Replica, after: Replica, now: float) -> Replica:
    """Update a replica's row, opening its usage interval when it is billed from now on, ending it with its instance."""
    if before.billed_from and after.instance_name != before.instance_name:
        written = await tx.update(replace(after, billed_from=0.0))
        await _accrue(tx, before.deployment_id, end_usage(tx, before, now))
        return written
    written = await tx.update(after)
    if written.billed_from and not before.billed_from:
        tx.use(_interval(written))
    return written


async def delete_replica(tx: Transaction, replica: Replica, now: float) -> None:
    """Delete a replica's row, ending its usage interval if one is open."""
    await tx.delete(replica)
    if replica.billed_from:
        await _accrue(tx, replica.deployment_id, end_usage(tx, replica, now))


def end_usage(tx: Transaction, replica: Replica, now: float) -> float:
    """End the open interval; gives what it came to, which the caller adds to the deployment. 0.0 when none is open."""
    if not replica.billed_from:
        return 0.0
    tx.use(replace(_interval(replica), ended_at=max(now, replica.billed_from)))
    return cost(replica.price_per_hour, replica.billed_from, now)


def _interval(replica: Replica) -> UsageInterval:
    return UsageInterval(
        instance_name=replica.instance_name,
        deployment_id=replica.deployment_id,
        replica_id=replica.id,
        pool_id=replica.pool_id,
        price_per_hour=replica.price_per_hour,
        started_at=replica.billed_from,
    )


async def _accrue(tx: Transaction, deployment_id: str, amount: float) -> None:
    deployment = await tx.get(Deployment, deployment_id)
    if deployment is not None and amount:
        await tx.update(replace(deployment, accrued_cost=deployment.accrued_cost + amount))
