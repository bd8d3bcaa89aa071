"""The first half of a replica's life: a place is reserved, the provider is asked, and the engine is waited for."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.service.controllers.transitions import Transitions
from orchestration.service.domain.backoff import Backoff
from orchestration.service.domain.placement import Candidate, candidates
from orchestration.service.engines.artifacts import plain
from orchestration.service.engines.base import EnginePlan
from orchestration.service.engines.local_command import resolve_local_command
from orchestration.service.providers.base import (
    CapacityError,
    Instance,
    InstanceRejectedError,
    InstanceSpec,
    ProviderError,
)
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.deployment_specs import engine_plan
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.records import Deployment, Pool, Replica, ReplicaState
from orchestration.store.transaction import Transaction

WAIT_FOR_ROOM_S = 15.0
"""How long a replica without a place waits when nothing that it waits for is heard of."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An attempt that can never succeed, however often it is made."""

    reason: str
    message: str


def instance_name(replica: Replica, attempt: int) -> str:
    """The deterministic name of an attempt: replica ids are never used twice."""
    return f"r-{replica.id}-{attempt}"


class Starter:
    """Places replicas and asks providers to start them."""

    def __init__(
        self, transitions: Transitions, views: PoolViews, providers: ProviderRegistry, owner: str, backoff: Backoff
    ) -> None:
        self._transitions = transitions
        self._views = views
        self._providers = providers
        self._owner = owner
        self._backoff = backoff
        self._refused: dict[str, int] = {}
        """Refusals in a row by replica."""
        self._full: dict[str, set[str]] = {}
        """By replica, the pools whose provider had no room for it though the rows said so."""

    async def place(self, replica: Replica, deployment: Deployment) -> Replica:
        """Reserve a place and write down the instance's name; without a place the row says why."""
        async with self._transitions.place(deployment.id) as tx:
            best = await self._choose(tx, deployment, self._full.get(replica.id, set()))
            if not best.feasible:
                if (replica.state, replica.reason, replica.message) == (
                    ReplicaState.PENDING,
                    best.reason,
                    best.message,
                ):
                    return replica
                return await self._transitions.change_in(
                    tx,
                    replica,
                    "REPLICA_WAITING",
                    f"has no place: {best.message}",
                    kind="WARNING",
                    state=ReplicaState.PENDING,
                    reason=best.reason,
                    message=best.message,
                )
            attempt = replica.attempt + 1
            pool = await tx.get(Pool, best.pool_id)
            assert pool is not None  # it was a candidate in this transaction
            return await self._transitions.change_in(
                tx,
                replica,
                "REPLICA_PLACED",
                f"attempt {attempt} in pool {pool.name!r}",
                state=ReplicaState.PROVISIONING,
                attempt=attempt,
                restarts=replica.restarts + (1 if replica.attempt else 0),
                pool_id=pool.id,
                node_id=best.node_id,
                provider=pool.provider,
                instance_name=instance_name(replica, attempt),
                provider_instance_id="",
                endpoint="",
                gpu_count=deployment.gpu_per_replica,
                price_per_hour=best.price_per_hour,
                reason="",
                message="",
                exit_code=None,
                retry_at=0.0,
                placed_at=self._transitions.clock(),
                started_at=0.0,
                ready_at=0.0,
            )

    def forget(self, replica_id: str) -> None:
        """Drop what is remembered of a replica that is gone."""
        self._refused.pop(replica_id, None)
        self._full.pop(replica_id, None)

    async def _choose(self, tx: Transaction, deployment: Deployment, full: set[str]) -> Candidate:
        """The best candidate of the first pool that has room; else the first refusal of the first pool.

        Pools in `full` are taken when there is no other, and then all are tried again.
        """
        first: Candidate | None = None
        second_choice: Candidate | None = None
        for pool_id in (deployment.pool_id, *deployment.fallback_pool_ids):
            pool = await tx.get(Pool, pool_id)
            if pool is None:
                found = [Candidate(pool_id, "", False, 0.0, 0, "POOL_NOT_FOUND", f"pool {pool_id!r} does not exist")]
            else:
                found = candidates(deployment, await self._views.read(tx, pool))
            if found[0].feasible and pool_id not in full:
                return found[0]
            if found[0].feasible:
                second_choice = second_choice or found[0]
            first = first or found[0]
        if second_choice is not None:
            full.clear()
            return second_choice
        assert first is not None  # a deployment has at least one pool
        return first

    async def provision(self, replica: Replica, deployment: Deployment) -> Replica | Rejected | float:
        """Ask the provider for the instance that the row names.

        Gives the row once the instance exists, why it never can, or the seconds after which to ask again.
        """
        pool = self._views.pool(replica.pool_id)
        if pool is None:
            return Rejected("POOL_NOT_FOUND", f"pool {replica.pool_id!r} does not exist any more")
        plan = engine_plan(deployment)
        try:
            provider = self._providers.get(replica.provider)
            self._transitions.check(deployment.id)
            instance = await provider.create(self._spec(replica, deployment, pool, plan))
        except InstanceRejectedError as error:
            return Rejected(error.reason, error.message)
        except CapacityError as error:
            return await self._release(replica, error)
        except ProviderError as error:
            await self._transitions.note(replica, reason=error.reason, message=error.message)
            return error.retry_after_s or self._wait(replica)
        self.forget(replica.id)
        return await self._started(replica, instance, plan)

    def _wait(self, replica: Replica) -> float:
        self._refused[replica.id] = self._refused.get(replica.id, 0) + 1
        return max(0.1, self._backoff.delay(self._refused[replica.id]))

    async def _release(self, replica: Replica, error: CapacityError) -> float:
        """Give the place back: the provider has less room than the rows say. Nothing ran, so it was no attempt."""
        delay = self._wait(replica)
        self._full.setdefault(replica.id, set()).add(replica.pool_id)
        await self._transitions.change(
            replica,
            "REPLICA_WAITING",
            f"has no place: {error.message}",
            kind="WARNING",
            state=ReplicaState.PENDING,
            reason=error.reason,
            message=error.message,
            attempt=replica.attempt - 1,
            restarts=max(0, replica.restarts - 1),
            pool_id="",
            node_id="",
            instance_name="",
            retry_at=self._transitions.clock() + delay,
        )
        return delay

    async def _started(self, replica: Replica, instance: Instance, plan: EnginePlan) -> Replica:
        where = f" at {instance.endpoint}" if instance.endpoint else ""
        return await self._transitions.change(
            replica,
            "REPLICA_STARTED",
            f"instance {instance.provider_instance_id} was started{where}",
            state=ReplicaState.STARTING,
            provider_instance_id=instance.provider_instance_id,
            endpoint=instance.endpoint,
            health_path=plan.health_path,
            started_at=instance.started_at or self._transitions.clock(),
            reason="",
            message="",
        )

    def _spec(self, replica: Replica, deployment: Deployment, pool: Pool, plan: EnginePlan) -> InstanceSpec:
        local = replica.provider == "local"
        return InstanceSpec(
            name=replica.instance_name,
            owner=self._owner,
            deployment_id=deployment.id,
            replica_id=replica.id,
            engine=deployment.engine,
            command=resolve_local_command(plan.command, deployment.engine) if local else plan.command,
            env={**plan.env, **deployment.env},
            model=plain(deployment.inference_model) if deployment.inference_model else "",
            image=plan.image,
            port=plan.port,
            gpu_count=deployment.gpu_per_replica,
            gpu_types=pool.allowed_gpu_types,
            stop_grace_s=plan.stop_grace_s,
            labels=deployment.labels,
            provider_pool_id=pool.provider_pool_id,
            provider_credential_name=pool.provider_credential_name,
            install_hint=plan.install_hint,
        )
