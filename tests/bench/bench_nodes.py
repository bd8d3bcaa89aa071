"""How soon what ran on a lost node is asked for elsewhere: from the node's last heartbeat on."""

from __future__ import annotations

from orchestration.store.records import NodeState
from tests.bench.measuring import quantile
from tests.bench.results import Row, Target
from tests.bench.servers import Servers
from tests.support.cluster import Cluster, running_cluster

_TIMES = 9
_INTERVAL_S = 1.0
_LEASE_S = 3 * _INTERVAL_S
"""The gateway's default: three intervals. A tenth of the default interval, since the rest is waiting."""


async def rows(servers: Servers) -> list[Row]:
    """Against the lease, before whose end nothing may be done."""
    folder = servers.folder / "nodes"
    folder.mkdir()
    async with running_cluster(folder, interval_s=_INTERVAL_S) as cluster:
        await cluster.add(["one", "two", "three"])
        await cluster.deploy(1)
        await cluster.until(lambda: len(cluster.places()) == 1)
        waits = [await _lose(cluster) for _ in range(_TIMES)]
    slowest = quantile(waits, 1.0)
    return [
        Row(
            figure="last heartbeat of a node until the replacement is asked for, slowest",
            value=slowest,
            unit="s",
            peer="the node's lease",
            peer_value=_LEASE_S,
            ratio=slowest / _LEASE_S,
            target=Target("<=", _LEASE_S + 1, "value"),
        )
    ]


async def _lose(cluster: Cluster) -> float:
    """Seconds from the last heartbeat of the replica's node until another instance was asked for."""
    (node,) = cluster.places()
    before = len(cluster.provider.created)
    cluster.silent.add(node)
    await cluster.until(lambda: len(cluster.provider.created) > before)
    asked_at = cluster.provider.created[before][0]
    waited = asked_at - cluster.last_heartbeat[node]
    cluster.silent.discard(node)
    await cluster.until(lambda: cluster.state(node) is NodeState.READY and len(cluster.places()) == 1)
    return waited
