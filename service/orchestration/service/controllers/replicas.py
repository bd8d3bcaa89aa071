"""The replica controller: one step of one replica at a time, decided by the state in its row."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from orchestration.service.controllers.failing import Ender
from orchestration.service.controllers.leaving import Leaver
from orchestration.service.controllers.probing import FIRST_PROBE_S, Prober
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.controllers.starting import WAIT_FOR_ROOM_S, Rejected, Starter
from orchestration.service.controllers.transitions import Transitions
from orchestration.service.domain.times import corrected_times
from orchestration.service.logs.collector import LogCollector
from orchestration.service.providers.base import Instance, InstanceState, ProviderError
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.store.index import Index
from orchestration.store.records import Deployment, Node, NodeState, Replica, ReplicaState

log = structlog.get_logger(__name__)

_PROVIDER_RETRY_S = 2.0
"""Pause before a provider that could not answer is asked again, unless it says when."""
DESCRIBE_LOCAL_S = 1.0
"""How often a process of this machine is looked at: that it ended is noticed within this time."""
DESCRIBE_REMOTE_S = 5.0
"""The same of an instance elsewhere, where each look is a request that may be limited, or cost."""
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
        prober: Prober,
        collector: LogCollector,
        providers: ProviderRegistry,
    ) -> None:
        self._index = index
        self._shards = shards
        self._transitions = transitions
        self._starter = starter
        self._ender = ender
        self._leaver = leaver
        self._prober = prober
        self._collector = collector
        self._providers = providers
        self._clock: Callable[[], float] = transitions.clock
        self._held: dict[str, tuple[str, str]] = {}
        """By replica, the provider and the name of the instance that its row names, for when the row is gone."""
        self._described: dict[str, tuple[str, float]] = {}
        """By replica, the instance that was last seen to run, and when."""

    async def step(self, replica_id: str) -> float | None:
        """Take the replica one step on; gives the seconds after which to look again."""
        replica = self._index.get(Replica, replica_id)
        try:
            if replica is None:
                await self._forget(replica_id)
                return None
            deployment = self._index.get(Deployment, replica.deployment_id)
            if deployment is None:
                return None
            if self._shards.lease_for(replica.deployment_id) is None:
                await self._let_go(replica)
                return None
            return await self._next(replica, deployment)
        except ProviderError as error:
            # Nothing is given up for it: what runs goes on running, and the work goes on when it answers again.
            delay = error.retry_after_s or _PROVIDER_RETRY_S
            log.warning("the provider does not answer", replica_id=replica_id, error=error.message, retry_in_s=delay)
            return delay

    async def _forget(self, replica_id: str) -> None:
        """The row is gone; if it went with its instance still there, as with a purge, that instance goes too."""
        provider_name, instance_name = self._held.get(replica_id, ("", ""))
        if instance_name:
            await self._collector.stop(instance_name)
            await self._providers.get(provider_name).delete(instance_name)
        self._held.pop(replica_id, None)
        self._drop(replica_id)

    def _drop(self, replica_id: str) -> None:
        """Forget what is only true while this gateway works on the replica."""
        self._described.pop(replica_id, None)
        self._prober.forget(replica_id)
        self._starter.forget(replica_id)
        self._ender.forget(replica_id)

    async def _next(self, replica: Replica, deployment: Deployment) -> float | None:
        node = self._lost_node(replica)
        if node is not None:
            self._held.pop(replica.id, None)
            return await self._leaver.leave(replica, node)
        if replica.instance_name:
            self._held[replica.id] = (replica.provider, replica.instance_name)
        replica = await self._with_possible_times(replica)
        match replica.state:
            case ReplicaState.PENDING:
                return await self._start(replica, deployment)
            case ReplicaState.PROVISIONING:
                return await self._provision(replica, deployment)
            case ReplicaState.STARTING | ReplicaState.READY | ReplicaState.UNHEALTHY:
                return await self._watch(replica, deployment)
            case ReplicaState.FAILED | ReplicaState.TERMINATED:
                return await self._retry(replica, deployment)
            case ReplicaState.TERMINATING:
                return await self._end(replica)

    async def _end(self, replica: Replica) -> float | None:
        delay = await self._ender.finish(replica)
        if delay is None:
            self._held.pop(replica.id, None)
        return delay

    async def _let_go(self, replica: Replica) -> None:
        """Leave the replica to the gateway that holds its lease: what is remembered of it would be out of date."""
        _, followed = self._held.pop(replica.id, ("", ""))
        self._drop(replica.id)
        for name in {followed, replica.instance_name}:  # by now the row may name a later attempt's instance
            await self._collector.stop(name)

    def _lost_node(self, replica: Replica) -> Node | None:
        """The node that holds the replica's instance, when it is gone."""
        node = self._index.get(Node, replica.node_id) if replica.instance_name and replica.node_id else None
        # On a machine that the gateway itself keeps, the instance tells more than an inventory that has changed.
        return node if node is not None and node.state in _LOST and not node.managed else None

    async def _with_possible_times(self, replica: Replica) -> Replica:
        """The replica, without times from before the clock was set back: waits would last as long as that was far."""
        late = corrected_times(replica, self._clock(), longest_pause_s=self._ender.longest_pause_s)
        return await self._transitions.note(replica, **late) if late else replica

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
        self._held[replica.id] = (replica.provider, replica.instance_name)
        self._prober.forget(replica.id)
        outcome = await self._starter.provision(replica, deployment)
        match outcome:
            case Rejected(reason=reason, message=message, for_good=for_good):
                await self._ender.attempt_failed(replica, deployment, reason, message, for_good=for_good)
                return 0.0
            case Replica():
                self._follow(outcome)
                return FIRST_PROBE_S
            case _:
                return outcome

    def _follow(self, replica: Replica) -> None:
        provider = self._providers.get(replica.provider)
        self._collector.start(provider, replica.instance_name, replica.deployment_id, replica.id)

    async def _watch(self, replica: Replica, deployment: Deployment) -> float | None:
        """Look at the instance, if it is time to, then at the engine in it."""
        self._follow(replica)
        if self._seen_lately(replica):
            return await self._prober.probe(replica, deployment)
        try:
            instance = await self._providers.get(replica.provider).describe(replica.instance_name)
        except ProviderError:
            await self._prober.probe(replica, deployment, may_fail=False)
            raise
        if instance is None:
            return await self._prober.fail(replica, deployment, "INSTANCE_LOST", "its instance is gone")
        match instance.state:
            case InstanceState.EXITED | InstanceState.FAILED | InstanceState.STOPPING:
                return await self._ended(replica, deployment, instance)
            case InstanceState.PENDING:
                text = "the provider has not started its instance" + (
                    f": {instance.message}" if instance.message else ""
                )
                return await self._prober.not_ready(replica, deployment, text, reason="INSTANCE_NOT_STARTED")
            case InstanceState.RUNNING:
                self._described[replica.id] = (replica.instance_name, self._clock())
                return await self._prober.probe(await self._note(replica, instance), deployment)

    def _seen_lately(self, replica: Replica) -> bool:
        """Whether the instance need not be described: of one that is still starting, more becomes known."""
        name, seen_at = self._described.get(replica.id, ("", 0.0))
        local = self._providers.get(replica.provider).capabilities.kind == "local"
        interval_s = DESCRIBE_LOCAL_S if local else DESCRIBE_REMOTE_S
        lately = name == replica.instance_name and 0 <= self._clock() - seen_at < interval_s
        return lately and (replica.state is not ReplicaState.STARTING or (replica.endpoint != "" and not local))

    async def _ended(self, replica: Replica, deployment: Deployment, instance: Instance) -> float:
        reason, text = _how_it_ended(instance)
        if instance.exit_code == 0 and _has_done_its_work(deployment):
            self._prober.forget(replica.id)
            await self._ender.completed(replica, text)
            return 0.0
        return await self._prober.fail(replica, deployment, reason, text, instance.exit_code)

    async def _note(self, replica: Replica, instance: Instance) -> Replica:
        """What became known of the instance since it was asked for: where it answers, and when it began to run."""
        changes: dict[str, object] = {}
        if instance.endpoint and instance.endpoint != replica.endpoint:
            changes["endpoint"] = instance.endpoint
        # A time yet to come is of another clock: taken for now at each look, it would put the time-out off for ever.
        if replica.state is ReplicaState.STARTING and replica.started_at < instance.started_at <= self._clock():
            changes["started_at"] = instance.started_at
        return await self._transitions.note(replica, **changes)

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


def _has_done_its_work(deployment: Deployment) -> bool:
    """Whether an engine that exits with 0 is meant to."""
    return deployment.workload_type == "batch" and deployment.restart_condition != "ALWAYS"


def _how_it_ended(instance: Instance) -> tuple[str, str]:
    """Reason and sentence."""
    if instance.state is InstanceState.STOPPING:
        return "INSTANCE_STOPPED", instance.message or "its instance is being ended, and not by this gateway"
    reason = instance.reason or "EXITED"
    if instance.message:
        return reason, instance.message
    if instance.signal:
        return reason, f"the engine was ended by signal {instance.signal}"
    if instance.exit_code is not None:
        return reason, f"the engine exited with code {instance.exit_code}"
    return reason, "the engine has ended, and its provider does not say how"
