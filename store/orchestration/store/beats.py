"""Heartbeats that change nothing but liveness: in memory at once, on disk in a few statements within a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.store.errors import StoreError
from orchestration.store.index import Index
from orchestration.store.liveness import LIVENESS_FIELDS, possible_heartbeat, with_liveness
from orchestration.store.records import Node
from orchestration.store.writer import Writer

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.8
"""With the time of the write, a crash loses at most the heartbeats of one second."""
BATCH = 1000
"""Nodes that are written in one transaction: whoever else wants to write waits for it, some hundredths of a second."""

_LIVENESS = frozenset(LIVENESS_FIELDS)


class Beats:
    """Nodes whose liveness on disk is behind the index."""

    def __init__(self, index: Index, writer: Writer) -> None:
        self._index = index
        self._writer = writer
        self._behind: set[str] = set()
        self._some = asyncio.Event()

    def beat(self, node_id: str, liveness: Mapping[str, Any]) -> None:
        """See ``Store.beat``."""
        if not _LIVENESS.issuperset(liveness):
            raise ValueError(f"not a liveness field: {', '.join(sorted(liveness.keys() - _LIVENESS))}")
        node = self._index.get(Node, node_id)
        if node is None:
            return  # deleted in the same moment; its next heartbeat is told so
        self._index.replace_liveness(with_liveness(node, liveness))
        self._behind.add(node_id)
        self._some.set()

    def correct(self, now: float) -> None:
        """Hold heartbeats from before the clock was set back to be of now: for long, no later one would count."""
        for node in self._index.all(Node):
            heard_at = possible_heartbeat(node.last_heartbeat_at, now)
            if heard_at != node.last_heartbeat_at:
                self.beat(node.id, {"last_heartbeat_at": heard_at})

    async def flush(self) -> None:
        """Write what is behind, in batches between which others may write. What fails stays behind for the next."""
        behind, self._behind = self._behind, set()
        self._some.clear()
        left = sorted(behind)
        try:
            while left:
                await self._write(left[:BATCH])
                del left[:BATCH]
        except BaseException:
            self._behind.update(left)
            self._some.set()
            raise

    async def _write(self, node_ids: Sequence[str]) -> None:
        async with self._writer.write(actor="heartbeats") as tx:
            # Read only now: what came in while this waited for its turn is written too.
            nodes = [self._index.get(Node, node_id) for node_id in node_ids]
            tx.write_liveness([node for node in nodes if node is not None])

    async def run(self) -> None:
        """Flush for ever, no sooner than FLUSH_INTERVAL_S after the first heartbeat of a batch."""
        failing = False
        while True:
            await self._some.wait()
            await asyncio.sleep(FLUSH_INTERVAL_S)
            try:
                await self.flush()
                failing = False
            except StoreError as error:
                if not failing:  # said once for each outage
                    logger.warning("heartbeats could not be written, they are kept and written later: %s", error)
                failing = True

    async def close(self) -> None:
        """Write what is behind, as far as the database lets us."""
        if self._behind:
            with contextlib.suppress(StoreError):
                await self.flush()
