"""The replica controller: one step of one replica at a time, decided by the state in its row."""

from __future__ import annotations

from collections.abc import Callable

from orchestration.service.controllers.failing import Ender
from orchestration.service.controllers.health import HealthMonitor
from orchestration.service.controllers.leaving import Leaver
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.controllers.starting import WAIT_FOR_ROOM_S, Rejected, Starter
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.engines.base import EnginePlan
from orchestration.service.logs.collector import LogCollector
from orchestration.service.providers.base import Instance, InstanceState
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.deployment_specs import engine_plan
from orchestration.store.index import Index
from orchestration.store.records import Deployment, Node, NodeState, Replica, ReplicaState

DESCRIBE_INTERVAL_S = 1.0
"""How often a running instance is looked at: a process that ended is noticed within this time."""
_FIRST_PROBE_S = 0.05
_SLOWEST_PROBE_S = 2.0
_LOST = {NodeState.LOST, NodeState.FAILED, NodeState.TERMINATED}


class ReplicaController:
    """Moves replicas through their states."""

    def __init__(
        self,
        index: Index,
        shards: ShardLeases,
        transitions: Transitions,
        starter: Starter,
        ender: Ender,
        leaver: Leaver,
        health: HealthMonitor,
        collector: LogCollector,
        providers: ProviderRegistry,
        *,
        probe_failures: int,
    ) -> None:
        self._index = index
        self._shards = shards
        self._transitions = transitions
        self._starter = starter
        self._ender = ender
        self._leaver = leaver
        self._health = health
        self._collector = collector
        self._providers = providers
        self._probe_failures = probe_failures
        self._clock: Callable[[], float] = transitions.clock

    async def step(self, replica_id: str) -> float | None:
        """Take the replica one step on; gives the seconds after which to look again."""
        replica = self._index.get(Replica, replica_id)
        if replica is None:
            self._health.forget(replica_id)
            self._starter.forget(replica_id)
            return None
        deployment = self._index.get(Deployment, replica.deployment_id)
        if deployment is None:
            return None
        if self._shards.lease_for(replica.deployment_id) is None:
            await self._let_go(replica)
            return None
        node = self._lost_node(replica)
        if node is not None:
            return await self._leaver.leave(replica, node)
        match replica.state:
            case ReplicaState.PENDING:
                return await self._start(replica, deployment)
            case ReplicaState.PROVISIONING:
                return await self._provision(replica, deployment)
            case ReplicaState.STARTING | ReplicaState.READY | ReplicaState.UNHEALTHY:
                return await self._watch(replica, deployment)
            case ReplicaState.FAILED:
                return await self._retry(replica, deployment)
            case ReplicaState.TERMINATING | ReplicaState.TERMINATED:
                return await self._ender.finish(replica)

    async def _let_go(self, replica: Replica) -> None:
        """Leave the replica to the gateway that holds its lease: what is remembered of it would be out of date."""
        self._health.forget(replica.id)
        self._starter.forget(replica.id)
        await self._collector.stop(replica.instance_name)

    def _lost_node(self, replica: Replica) -> Node | None:
        """The node that holds the replica's instance, when it is gone."""
        node = self._index.get(Node, replica.node_id) if replica.instance_name and replica.node_id else None
        # On a machine that the gateway itself keeps, the instance tells more than an inventory that has changed.
        return node if node is not None and node.state in _LOST and not node.managed else None

    async def _start(self, replica: Replica, deployment: Deployment) -> float | None:
        """Place and provision, unless the rollout is about to replace the replica, or it is not time yet."""
        if replica.generation != deployment.generation:
            return None
        wait = replica.retry_at - self._clock()
        if wait > 0:
            return wait
        placed = await self._starter.place(replica, deployment)
        if placed.state is not ReplicaState.PROVISIONING:
            return WAIT_FOR_ROOM_S
        return await self._provision(placed, deployment)

    async def _provision(self, replica: Replica, deployment: Deployment) -> float | None:
        if replica.generation != deployment.generation:
            return None
        self._health.forget(replica.id)
        outcome = await self._starter.provision(replica, deployment)
        match outcome:
            case Rejected():
                await self._ender.attempt_failed(
                    replica, deployment, outcome.reason, outcome.message, for_good=outcome.for_good
                )
                return 0.0
            case Replica():
                self._follow(outcome)
                return _FIRST_PROBE_S
            case _:
                return outcome

    def _follow(self, replica: Replica) -> None:
        provider = self._providers.get(replica.provider)
        self._collector.start(provider, replica.instance_name, replica.deployment_id, replica.id)

    async def _watch(self, replica: Replica, deployment: Deployment) -> float | None:
        """Look at the instance, then at the engine in it."""
        self._follow(replica)
        instance = await self._providers.get(replica.provider).describe(replica.instance_name)
        if instance is None:
            await self._fail(replica, deployment, "INSTANCE_LOST", "its instance is gone")
            return 0.0
        if instance.state in {InstanceState.EXITED, InstanceState.FAILED, InstanceState.STOPPING}:
            text = instance.message or _how_it_ended(instance)
            await self._fail(replica, deployment, instance.reason or "EXITED", text, instance.exit_code)
            return 0.0
        if instance.endpoint and instance.endpoint != replica.endpoint:
            replica = await self._transitions.note(replica, endpoint=instance.endpoint)
        return await self._probe(replica, deployment, engine_plan(deployment))

    async def _fail(
        self, replica: Replica, deployment: Deployment, reason: str, text: str, exit_code: int | None = None
    ) -> None:
        self._health.forget(replica.id)
        await self._ender.attempt_failed(replica, deployment, reason, text, exit_code=exit_code)

    async def _probe(self, replica: Replica, deployment: Deployment, plan: EnginePlan) -> float | None:
        now = self._clock()
        if replica.state is ReplicaState.READY and not self._health.due(replica.id, now):
            return DESCRIBE_INTERVAL_S
        if not replica.endpoint:
            return await self._not_ready(replica, deployment, plan, "it has no endpoint yet")
        result = await self._health.ask(replica.id, replica.endpoint, replica.health_path, now)
        if result.ready:
            if replica.state is not ReplicaState.READY:
                await self._ready(replica)
            return DESCRIBE_INTERVAL_S
        if replica.state is ReplicaState.STARTING:
            return await self._not_ready(replica, deployment, plan, result.message)
        return await self._not_alive(replica, deployment, result.message)

    async def _ready(self, replica: Replica) -> None:
        now = self._clock()
        back = replica.state is ReplicaState.UNHEALTHY
        text = "answers again" if back else f"is ready {now - replica.started_at:.1f} s after its start"
        ready_at = replica.ready_at if back else now
        await self._transitions.change(
            replica, "REPLICA_READY", text, state=ReplicaState.READY, ready_at=ready_at, reason="", message=""
        )

    async def _not_ready(self, replica: Replica, deployment: Deployment, plan: EnginePlan, message: str) -> float:
        elapsed = self._clock() - replica.started_at
        if elapsed > plan.startup_timeout_s:
            text = f"the engine was not ready within {plan.startup_timeout_s:g} s: {message}"
            await self._fail(replica, deployment, "STARTUP_TIMEOUT", text)
            return 0.0
        return min(_SLOWEST_PROBE_S, max(_FIRST_PROBE_S, elapsed / 10))

    async def _not_alive(self, replica: Replica, deployment: Deployment, message: str) -> float:
        failures = self._health.failures(replica.id)
        if replica.state is ReplicaState.READY and failures >= self._probe_failures:
            text = f"no longer answers: {message}"
            await self._transitions.change(
                replica,
                "REPLICA_UNHEALTHY",
                text,
                kind="WARNING",
                state=ReplicaState.UNHEALTHY,
                reason="PROBE_FAILED",
                message=text,
            )
        elif failures >= 2 * self._probe_failures:
            await self._fail(replica, deployment, "LIVENESS_FAILED", f"has not answered {failures} probes: {message}")
            return 0.0
        return DESCRIBE_INTERVAL_S

    async def _retry(self, replica: Replica, deployment: Deployment) -> float | None:
        """Clear what the failed attempt left, and try again when it is time."""
        if replica.instance_name:
            cleared = await self._ender.clear(replica)
            if not isinstance(cleared, Replica):
                return cleared
            replica = cleared
        if replica.retry_at == 0.0:
            return None
        return await self._start(replica, deployment)


def _how_it_ended(instance: Instance) -> str:
    if instance.signal:
        return f"the engine was ended by signal {instance.signal}"
    return f"the engine exited with code {instance.exit_code}"
