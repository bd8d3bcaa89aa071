"""The first half of a replica's life: a place is reserved, the provider is asked, and the engine is waited for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from orchestration.service.clock import bounded
from orchestration.service.controllers.choosing import Chooser
from orchestration.service.controllers.transitions import UNPLACED, Transitions
from orchestration.service.controllers.waiting import Waits
from orchestration.service.domain import gpu
from orchestration.service.domain.backoff import Backoff
from orchestration.service.domain.placement import Candidate
from orchestration.service.domain.refusals import EPSILON
from orchestration.service.engines.artifacts import plain
from orchestration.service.engines.base import EngineConfigurationError, EnginePlan
from orchestration.service.engines.local_command import resolve_local_command
from orchestration.service.providers.base import (
    PROVIDER_CLOSED,
    CapacityError,
    Instance,
    InstanceConflictError,
    InstanceSpec,
    ProviderError,
)
from orchestration.service.providers.bounded import ProviderBusyError
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.deployment_specs import engine_plan
from orchestration.service.usecases.pool_views import PoolViews
from orchestration.store.records import Deployment, Pool, PoolState, Replica, ReplicaState
from orchestration.store.transaction import Transaction

WAIT_FOR_ROOM_S = 15.0
"""How long a replica without a place waits when nothing that it waits for is heard of."""
TOO_EXPENSIVE = "PRICE_CAP_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An attempt that is over before anything ran for it."""

    reason: str
    message: str
    for_good: bool = True
    """No further attempt would fare better."""


def instance_name(replica: Replica, attempt: int) -> str:
    """The name of an attempt in one place; neither replica ids nor their rows' revisions are ever used twice.

    An attempt whose place is given back is not counted, and yet its name must not come again: an instance may appear
    under it when a call whose answer was lost takes effect late, and would be taken for that of the next place.
    """
    return f"r-{replica.id}-{attempt}x{replica.revision}"


class Starter:
    """Places replicas and asks providers to start them."""

    def __init__(
        self, transitions: Transitions, views: PoolViews, providers: ProviderRegistry, owner: str, backoff: Backoff
    ) -> None:
        self._transitions = transitions
        self._views = views
        self._providers = providers
        self._owner = owner
        self._waiting = Waits(transitions.clock, backoff)
        self._chooser = Chooser(views, transitions.clock)

    async def place(self, replica: Replica, deployment: Deployment) -> Replica:
        """Reserve a place and write down the instance's name; without a place the row says why."""
        seen = self._chooser.look(deployment, replica.id)
        told = (replica.state, replica.reason, replica.message)
        if not seen.feasible and told == (ReplicaState.PENDING, seen.reason, seen.message):
            return replica  # nothing to write: other callers need not wait for this look
        async with self._transitions.place(deployment.id) as tx:
            best = await self._chooser.choose(tx, deployment, replica.id)
            if not best.feasible:
                return await self._waits(tx, replica, best)
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
                resource_id=best.resource_id,
                pricing_model=best.pricing_model,
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
        self._waiting.forget(replica_id)
        self._chooser.forget(replica_id)

    async def _waits(self, tx: Transaction, replica: Replica, best: Candidate) -> Replica:
        """Say why there is no place; an event only when the reason is another, since numbers change all the time."""
        why: dict[str, Any] = {"state": ReplicaState.PENDING, "reason": best.reason, "message": best.message}
        if (replica.state, replica.reason) == (ReplicaState.PENDING, best.reason):
            return await tx.update(replace(replica, message=best.message))
        text = f"has no place: {best.message}"
        return await self._transitions.change_in(tx, replica, "REPLICA_WAITING", text, kind="WARNING", **why)

    async def provision(self, replica: Replica, deployment: Deployment) -> Replica | Rejected | float:
        """Ask the provider for the instance that the row names.

        Gives the row once the instance exists, why the attempt is over, or the seconds after which to ask again.
        """
        if replica.reason == TOO_EXPENSIVE:  # found before a crash, and not acted on
            return Rejected(replica.reason, replica.message, for_good=False)
        pool = self._views.pool(replica.pool_id)
        if pool is None:
            return Rejected("POOL_NOT_FOUND", f"pool {replica.pool_id!r} does not exist any more")
        pause = self._waiting.pause(replica)
        if pause:  # whatever woke the replica: the provider is not to be asked yet
            return 0.0 if await self._leave(replica, deployment, pool) else self._waiting.next_look(replica)
        asked_at = self._transitions.clock()
        try:
            plan = engine_plan(deployment)
            provider = self._providers.get(replica.provider)
            self._transitions.check(deployment.id)
            instance = await provider.create(self._spec(replica, deployment, pool, plan))
        except EngineConfigurationError as error:  # accepted once, by another version
            return Rejected("ENGINE_CONFIGURATION_INVALID", str(error))
        except InstanceConflictError as error:
            return Rejected(error.reason, error.message, for_good=False)
        except CapacityError as error:
            return await self._release(replica, error)
        except ProviderError as error:
            if not error.retryable and error.reason != PROVIDER_CLOSED:
                return Rejected(error.reason, error.message)
            self._waiting.unanswered(replica, asked_at, error.retry_after_s)
            if await self._leave(replica, deployment, pool):
                return 0.0
            if not isinstance(error, ProviderBusyError):  # it was not asked
                await self._tell(replica, error)
            return self._waiting.next_look(replica)
        outcome = await self._started(replica, instance, plan)
        if isinstance(outcome, Rejected):
            self._chooser.refused(replica)
            self._providers.offers.refresh_soon()
        else:
            self.forget(replica.id)
        return outcome

    async def _tell(self, replica: Replica, error: ProviderError) -> None:
        """Say why the instance cannot be had now; an event only when it is another reason than before."""
        if replica.reason == error.reason:
            await self._transitions.note(replica, message=error.message)
            return
        text = f"cannot be started now: {error.message}"
        fields = {"reason": error.reason, "message": error.message}
        await self._transitions.change(replica, "REPLICA_WAITING", text, kind="WARNING", **fields)

    async def _leave(self, replica: Replica, deployment: Deployment, pool: Pool) -> bool:
        """Give back a place whose provider cannot be asked, for one elsewhere or if the pool takes nothing any more.

        The instance is not there as far as can be told. Its name is never asked for again: should it appear, it is
        reaped.
        """
        if pool.state is PoolState.ACTIVE and pool.enabled:
            if self._waiting.patience(replica) or not deployment.fallback_pool_ids:
                return False
            async with self._transitions.place(deployment.id) as tx:
                if not await self._chooser.elsewhere(tx, deployment, replica):
                    return False
        if await self._is_there(replica):
            return False
        self._chooser.away(replica)
        reason, why = replica.reason or "PROVIDER_UNAVAILABLE", replica.message or f"{replica.provider} does not answer"
        await self._give_back(replica, reason, f"leaves pool {pool.name!r}: {why}")
        return True

    async def _is_there(self, replica: Replica) -> bool:
        try:
            return await self._providers.get(replica.provider).describe(replica.instance_name) is not None
        except ProviderError:
            return False  # one that answers nothing is what is left

    async def _release(self, replica: Replica, error: CapacityError) -> float:
        """Give the place back: the provider has less room than the rows say. Nothing ran, so it was no attempt."""
        delay = self._waiting.refused(replica)
        self._chooser.refused(replica)
        self._providers.offers.refresh_soon()
        text = f"has no place: {error.message}"
        retry_at = self._transitions.clock() + delay
        await self._give_back(replica, error.reason, text, message=error.message, retry_at=retry_at)
        return delay

    async def _give_back(
        self, replica: Replica, reason: str, text: str, *, message: str = "", retry_at: float = 0.0
    ) -> None:
        await self._transitions.change(
            replica,
            "REPLICA_WAITING",
            text,
            kind="WARNING",
            state=ReplicaState.PENDING,
            reason=reason,
            message=message or text,
            attempt=replica.attempt - 1,
            restarts=max(0, replica.restarts - 1),
            **UNPLACED,
            retry_at=retry_at,
        )

    async def _started(self, replica: Replica, instance: Instance, plan: EnginePlan) -> Replica | Rejected:
        """Note the instance and what it really costs, from now on billed; an instance over the cap is not kept."""
        now = self._transitions.clock()
        price = instance.price_per_hour or replica.price_per_hour
        # The provider's clock is another one: it started after the place was reserved, and before now.
        started_at = bounded(instance.started_at or now, earliest=replica.placed_at, latest=now)
        billed: dict[str, Any] = {
            "provider_instance_id": instance.provider_instance_id,
            "price_per_hour": price,
            "billed_from": started_at,
        }
        async with self._transitions.place(replica.deployment_id) as tx:
            text = await self._over_cap(tx, replica, price)
            if text:
                billed |= {"reason": TOO_EXPENSIVE, "message": text}
                await self._transitions.change_in(tx, replica, "REPLICA_TOO_EXPENSIVE", text, kind="WARNING", **billed)
                return Rejected(TOO_EXPENSIVE, text, for_good=False)
            where = f" at {instance.endpoint}" if instance.endpoint else ""
            return await self._transitions.change_in(
                tx,
                replica,
                "REPLICA_STARTED",
                f"instance {instance.provider_instance_id} was started{where}",
                state=ReplicaState.STARTING,
                endpoint=instance.endpoint,
                health_path=plan.health_path,
                models_path=plan.models_path,
                served_model=plan.served_model,
                startup_timeout_s=plan.startup_timeout_s,
                started_at=started_at,
                reason="",
                message="",
                **billed,
            )

    async def _over_cap(self, tx: Transaction, replica: Replica, price: float) -> str:
        """Why the pool cannot bear an instance that costs more than was reserved for it; empty when it can."""
        pool = await tx.get(Pool, replica.pool_id)
        if pool is None or not pool.max_cost_per_hour or price <= replica.price_per_hour + EPSILON:
            return ""
        total = (await self._views.read(tx, pool)).total.price_per_hour - replica.price_per_hour + price
        if total <= pool.max_cost_per_hour + EPSILON:
            return ""
        text = f"its instance costs {price:g}/h, not the {replica.price_per_hour:g}/h that were told: "
        return f"{text}{total:g}/h in all, over max_cost_per_hour {pool.max_cost_per_hour:g} of pool {pool.name!r}"

    def _spec(self, replica: Replica, deployment: Deployment, pool: Pool, plan: EnginePlan) -> InstanceSpec:
        local = replica.provider == "local"
        node = self._views.node(replica.node_id) if replica.node_id else None
        on_node = node is not None and node.gpu_type and deployment.gpu_per_replica
        gpu_types = (node.gpu_type,) if node is not None and on_node else pool.allowed_gpu_types
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
            container_port=plan.container_port,
            health_path=plan.health_path,
            startup_timeout_s=plan.startup_timeout_s,
            gpu_count=deployment.gpu_per_replica,
            gpu_types=tuple(gpu.normalise(kind) for kind in gpu_types),
            stop_grace_s=plan.stop_grace_s,
            labels=deployment.labels,
            provider_pool_id=pool.provider_pool_id,
            provider_credential_name=pool.provider_credential_name,
            org_id=deployment.org_id,
            node=node.provider_instance_id if node is not None and not node.managed else "",
            resource_id=replica.resource_id,
            pricing_model=replica.pricing_model,
            regions=pool.region_constraint,
            over_nodes=plan.over_nodes,
            install_hint=plan.install_hint,
        )
