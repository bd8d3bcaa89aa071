"""Databases of a known size."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from orchestration.service.controllers.shards import NODES, REAPER, SHARDS
from orchestration.store.records import Deployment, Lease, Node, Pool, Replica, ReplicaState
from orchestration.store.store import Store
from tests.support import stores

PROVIDER = "kubernetes"
"""Not this machine: the gateway keeps no nodes of its own in such a pool."""
_DAY_S = 86_400.0
_BATCH = 1000


async def seed(data_dir: Path, size: int) -> None:
    """A gateway's folder with so many deployments, each with a ready replica on a node of its own.

    The leases are another gateway's: this one serves everything and converges nothing, so that the replicas need no
    instances.
    """
    await asyncio.to_thread(data_dir.mkdir, parents=True)
    async with await Store.open(stores.sqlite_url(data_dir / "orchestration.db")) as store:
        async with store.write(actor="bench") as tx:
            pool = await tx.insert(stores.pool(name="bench", provider=PROVIDER))
            for name in (*(f"replicas/{number}" for number in range(SHARDS)), NODES, REAPER):
                expires_at = time.time() + _DAY_S
                tx.set_lease(name, Lease(name=name, owner="other", token=name, generation=1, expires_at=expires_at))
        for first in range(0, size, _BATCH):
            async with store.write(actor="bench") as tx:
                for number in range(first, min(first + _BATCH, size)):
                    node = await tx.insert(_node(pool, number))
                    deployment = await tx.insert(_deployment(pool, number))
                    await tx.insert(_replica(deployment, node))


def _node(pool: Pool, number: int) -> Node:
    return stores.node(
        pool.id,
        provider=PROVIDER,
        provider_instance_id=f"node-{number}",
        hostname=f"node-{number}.example.org",
        gpu_type="NVIDIA A100",
        gpu_total=8,
        reported_state="READY",
        incarnation=1,
        last_heartbeat_at=time.time(),
    )


def _deployment(pool: Pool, number: int) -> Deployment:
    return stores.deployment(
        pool.id,
        model_name=f"llama-{number}",
        model_version="v1",
        configuration={"max_model_len": 8192, "dtype": "bfloat16", "gpu_memory_utilization": 0.9},
        env={"HF_HOME": "/models"},
        labels={"team": "search", "stage": "production"},
        updated_at=time.time(),
        observed_status="RUNNING",
        complete_generation=1,
    )


def _replica(deployment: Deployment, node: Node) -> Replica:
    now = time.time()
    return stores.replica(
        deployment.id,
        state=ReplicaState.READY,
        pool_id=deployment.pool_id,
        node_id=node.id,
        provider=PROVIDER,
        attempt=1,
        instance_name=f"{deployment.id}-0-1",
        provider_instance_id=f"{deployment.id}-0-1",
        endpoint="http://10.0.0.1:8000",
        gpu_count=1,
        placed_at=now,
        started_at=now,
        ready_at=now,
        state_changed_at=now,
    )
