"""The view of each pool that was last made, good as long as nothing that placement looks at is another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter, is_not

from orchestration.service.domain.places import PoolView
from orchestration.store.records import Node, Pool, Record, Replica

_SIZE = 256
"""Pools of which the view is kept."""
_OF_NODE = attrgetter(
    "id",
    "state",
    "managed",
    "gpu_type",
    "gpu_total",
    "gpu_reported",
    "vcpu_total",
    "region",
    "price_per_hour",
    "hostname",
    "provider_instance_id",
)
_OF_REPLICA = attrgetter(
    "id",
    "instance_name",
    "pool_id",
    "node_id",
    "gpu_count",
    "price_per_hour",
    "resource_id",
    "pricing_model",
    "billed_from",
)
"""What a view is made of: heartbeats, and the steps of a replica that runs, change records all the time, not these."""
_Key = tuple[Pool, *tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class _Kept:
    key: _Key
    nodes: Sequence[Node]
    replicas: Sequence[Replica]
    view: PoolView


class PoolMemo:
    """Views by pool. Records never change, so that those that are the very same need no look."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def find(self, key: _Key, nodes: Sequence[Node], replicas: Sequence[Replica]) -> PoolView | None:
        """The pool's view when it would be made of the same; None when it has to be made. ``key``: pool, and more."""
        kept = self._kept.get(key[0].id)
        if kept is None or kept.key != key or not _same(kept.replicas, replicas, _OF_REPLICA):
            return None
        if not _same(kept.nodes, nodes, _OF_NODE):
            return None
        self.keep(key, nodes, replicas, kept.view)
        return kept.view

    def keep(self, key: _Key, nodes: Sequence[Node], replicas: Sequence[Replica], view: PoolView) -> PoolView:
        """Keep the view that was made of these."""
        self._kept.pop(key[0].id, None)
        if len(self._kept) >= _SIZE:
            del self._kept[next(iter(self._kept))]
        self._kept[key[0].id] = _Kept(key, nodes, replicas, view)
        return view


def _same(before: Sequence[Record], now: Sequence[Record], what: attrgetter[tuple[object, ...]]) -> bool:
    if len(before) != len(now):
        return False
    others = [at for at, other in enumerate(map(is_not, before, now)) if other]
    return all(what(before[at]) == what(now[at]) for at in others)
