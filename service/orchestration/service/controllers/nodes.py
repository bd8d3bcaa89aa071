"""The node controller: late nodes are suspect, silent ones lost, and a mass silence is held to be our own fault."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import NODES, ShardLeases
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store.errors import StoreError
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

ACTOR = "node-controller"
_HEARD = {NodeState.READY, NodeState.BUSY, NodeState.DRAINING, NodeState.UNHEALTHY, NodeState.PROVISIONING}
_TICKS = 4
"""Looks in one heartbeat interval at the least; one more comes when the next node's time is up."""
_SHORTEST_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTiming:
    """When a silent node is held to be what."""

    interval_s: float = 10.0
    suspect_after: float = 1.5
    """In intervals."""
    lost_after: float = 3.0
    """In intervals."""
    brake_fraction: float = 0.55
    brake_minimum: int = 3


class NodeController:
    """Watches over the leases that heartbeats keep."""

    def __init__(
        self,
        store: Store,
        shards: ShardLeases,
        managed: ManagedNodes,
        timing: NodeTiming,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._shards = shards
        self._guard = Guard(store, shards)
        self._managed = managed
        self._timing = timing
        self._clock = clock
        self._grace_from = clock()
        """Silence before this time does not count: this gateway was not listening, or cannot tell."""
        self._braked_at: dict[str, float] = {}
        """By pool, when its nodes were last given a new lease."""
        self._last_look = clock()

    async def run(self) -> None:
        """Look several times in a heartbeat interval, and when a node's time is up, until cancelled."""
        while True:
            pause = self._timing.interval_s / _TICKS
            try:
                pause = await self.look()
            except Exception as error:
                log.warning("nodes cannot be looked at", exc_info=error)
            await asyncio.sleep(pause)

    async def run_inventory(self) -> None:
        """Keep the nodes of this machine's providers true, until cancelled. Apart: it reads disks and drivers."""
        while True:
            try:
                if self._shards.lease(NODES) is not None:
                    await self._managed.refresh()
            except Exception as error:
                log.warning("this machine's inventory cannot be read", exc_info=error)
            await asyncio.sleep(self._timing.interval_s / _TICKS)

    async def look(self) -> float:
        """One pass over all nodes that agents speak for; the seconds after which the next is due."""
        longest = self._timing.interval_s / _TICKS
        now = self._clock()
        if now - self._last_look > self._timing.interval_s:
            # This process slept or its clock jumped: heartbeats may have been sent and not heard.
            self._grace_from = now
        self._last_look = now
        if self._shards.lease(NODES) is None:
            self._grace_from = now
            return longest
        by_pool: dict[str, list[Node]] = defaultdict(list)
        for node in self._store.index.all(Node):
            if not node.managed and node.state in _HEARD:
                by_pool[node.pool_id].append(node)
        self._braked_at = {pool_id: at for pool_id, at in self._braked_at.items() if pool_id in by_pool}
        for pool_id, nodes in by_pool.items():
            await self._judge(pool_id, nodes, now)
        return min(longest, self._next_due([node for nodes in by_pool.values() for node in nodes]))

    def _next_due(self, nodes: list[Node]) -> float:
        """Seconds until the first of the nodes becomes suspect or lost; infinite when none is going to."""
        now, timing = self._clock(), self._timing
        due = (
            (limit - self._silence(node, now)) * timing.interval_s
            for node in nodes
            for limit in (timing.suspect_after, timing.lost_after)
        )
        return max(_SHORTEST_PAUSE_S, min((left for left in due if left > 0), default=float("inf")))

    def _silence(self, node: Node, now: float) -> float:
        """Intervals since the node was last heard of."""
        heard = max(node.last_heartbeat_at, self._grace_from, self._braked_at.get(node.pool_id, 0.0))
        return (now - heard) / self._timing.interval_s

    async def _judge(self, pool_id: str, nodes: list[Node], now: float) -> None:
        late = [node for node in nodes if self._silence(node, now) >= self._timing.suspect_after]
        lost = [node for node in late if self._silence(node, now) >= self._timing.lost_after]
        if len(late) >= self._timing.brake_minimum and len(late) >= self._timing.brake_fraction * len(nodes):
            if lost:
                await self._brake(pool_id, late, len(nodes), now)
            lost = []
        gone = {node.id for node in lost}
        suspect = [node for node in late if node.id not in gone and node.state is not NodeState.UNHEALTHY]
        await self._mark(suspect, NodeState.UNHEALTHY, "its heartbeats are late", now)
        await self._mark(lost, NodeState.LOST, "has not been heard of for its lease", now)

    async def _brake(self, pool_id: str, late: list[Node], total: int, now: float) -> None:
        """Lose nothing: so many nodes at once is more likely a fault on this side. The pool's all get a new lease.

        They stay suspect, so that nothing new goes there until they are heard of.
        """
        before = self._braked_at.get(pool_id, 0.0)
        self._braked_at[pool_id] = now
        if all(node.last_heartbeat_at < before for node in late):
            return  # the same silence still, which was told of
        text = f"{len(late)} of {total} nodes went silent at once; none is held to be lost, all get a new lease"
        log.warning("eviction brake", pool_id=pool_id, silent=len(late), total=total)
        async with self._guard.write_under(NODES, ACTOR) as tx:
            tx.event(kind="pool", subject_id=pool_id, type="WARNING", reason="EVICTION_BRAKE", message=text)

    async def _mark(self, nodes: Sequence[Node], state: NodeState, text: str, now: float) -> None:
        """Mark nodes, all in one commit: that of a thousand must not take the time of a thousand."""
        if not nodes:
            return
        try:
            async with self._guard.write_under(NODES, ACTOR) as tx:
                for node in nodes:
                    current = await tx.get(Node, node.id)
                    if current is None or current.state not in _HEARD or not self._is_late(current, now):
                        continue  # heard of since, or gone
                    reported = current.reported_state or current.state
                    await tx.update(replace(current, state=state, reported_state=reported))
                    tx.event(kind="node", subject_id=node.id, type="WARNING", reason=f"NODE_{state}", message=text)
        except StoreError as error:
            log.warning("nodes cannot be marked", nodes=[node.id for node in nodes], state=state, error=str(error))

    def _is_late(self, node: Node, now: float) -> bool:
        """Whether it is; within the brake its new lease does not make it one that was heard of."""
        heard = max(node.last_heartbeat_at, self._grace_from)
        return (now - heard) / self._timing.interval_s >= self._timing.suspect_after
