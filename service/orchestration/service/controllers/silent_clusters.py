"""Nodes that nobody tells of any more: their cluster is away for long, or no provider speaks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from orchestration.service.controllers.guard import Guard
from orchestration.service.controllers.shards import NODES, ShardLeases
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store

log = structlog.get_logger(__name__)

SILENT_S = 3600.0
"""How long a node is held to be as it was last told, in seconds; longer where it is asked for rarely."""
_ROUNDS = 4
"""Rounds that come to nothing before silence counts: a gateway that has just begun has heard of nobody."""
_ROUND_S = 30.0
"""What a round takes at most beside its interval."""
_PAUSE_S = 60.0
_BATCH = 500
"""Nodes that are written in one transaction: others wait for it."""
_DOUBTED = {NodeState.READY, NodeState.DRAINING}


class SilentClusters:
    """Has nodes UNHEALTHY that were not told of for long; the next answer of their cluster sets them right."""

    def __init__(
        self,
        store: Store,
        shards: ShardLeases,
        providers: ProviderRegistry,
        clock: Callable[[], float],
        *,
        interval_s: float,
        actor: str,
    ) -> None:
        """``interval_s``: pause between two questions to a cluster, in seconds."""
        self._store = store
        self._shards = shards
        self._guard = Guard(store, shards)
        self._providers = providers
        self._clock = clock
        self._grace_s = _ROUNDS * (interval_s + _ROUND_S)
        self._silent_s = max(SILENT_S, self._grace_s)
        self._actor = actor
        self._listens_from = self._last_look = clock()

    async def run(self) -> None:
        """Look every minute, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                log.warning("nodes of silent clusters cannot be marked", exc_info=error)
            await asyncio.sleep(_PAUSE_S)

    async def look(self) -> None:
        """One pass over all nodes that clusters tell of."""
        now, before = self._clock(), self._last_look
        self._last_look = now
        has_lease = self._shards.lease(NODES) is not None
        if not has_lease or now - before > self._grace_s + _PAUSE_S:  # another gateway asks, or this one slept
            self._listens_from = now
        if now - self._listens_from < self._grace_s:
            return
        late = [node.id for node in self._store.index.all(Node) if self._is_silent(node, now)]
        for at in range(0, len(late), _BATCH):
            async with self._guard.write_under(NODES, self._actor) as tx:
                for node_id in late[at : at + _BATCH]:
                    node = await tx.get(Node, node_id)
                    if node is None or not self._is_silent(node, now):
                        continue
                    state = NodeState.UNHEALTHY
                    await tx.update(replace(node, state=state, reported_state=state))
                    since = datetime.fromtimestamp(node.last_heartbeat_at, UTC).isoformat(timespec="seconds")
                    text = f"{node.state} -> {state}: its cluster was not heard of since {since}"
                    tx.event(kind="node", subject_id=node.id, type="WARNING", reason=f"NODE_{state}", message=text)

    def _is_silent(self, node: Node, now: float) -> bool:
        if not node.managed or node.state not in _DOUBTED or now - node.last_heartbeat_at < self._silent_s:
            return False
        # What this machine has is read by the gateway itself, whatever becomes of a reading.
        known = node.provider in self._providers.names
        return not known or self._providers.get(node.provider).capabilities.kind != "local"
