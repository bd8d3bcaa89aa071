"""Databases of a known size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestration.service.controllers.shards import NODES, REAPER, SHARDS
from orchestration.service.settings import Settings
from orchestration.store.records import Deployment, Lease, Node, Pool, Replica, ReplicaState
from orchestration.store.store import Store
from tests.support import stores

PROVIDER = "kubernetes"
"""Not this machine: the gateway keeps no nodes of its own in such a pool."""
_TTL_S: float = Settings.model_fields["lease_ttl_s"].default
_RENEW_S = _TTL_S / 5
_BATCH = 1000


async def seed(data_dir: Path, size: int) -> None:
    """A gateway's folder with so many deployments, each with a ready replica on a node of its own."""
    await asyncio.to_thread(data_dir.mkdir, parents=True)
    async with await Store.open(stores.sqlite_url(data_dir / "orchestration.db")) as store:
        async with store.write(actor="bench") as tx:
            pool = await tx.insert(stores.pool(name="bench", provider=PROVIDER))
        for first in range(0, size, _BATCH):
            async with store.write(actor="bench") as tx:
                for number in range(first, min(first + _BATCH, size)):
                    node = await tx.insert(_node(pool, number))
                    deployment = await tx.insert(_deployment(pool, number))
                    await tx.insert(_replica(deployment, node))


@asynccontextmanager
async def leases_held(data_dir: Path) -> AsyncGenerator[None]:
    """All work is another gateway's for the time of the block: one that is started in it serves, and converges nothing.

    So the replicas need no instances, and nothing but requests costs CPU.
    """
    async with await Store.open(stores.sqlite_url(data_dir / "orchestration.db")) as store:
        await _renew(store)
        renewing = asyncio.create_task(_keep_renewing(store))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)


async def _keep_renewing(store: Store) -> None:
    while True:
        await asyncio.sleep(_RENEW_S)
        await _renew(store)


async def _renew(store: Store) -> None:
    async with store.write(actor="bench") as tx:
        for name in (*(f"replicas/{number}" for number in range(SHARDS)), NODES, REAPER):
            held = await tx.lease(name)
            generation = 1 if held is None else held.generation + 1
            # Each has an owner of its own: of a share that another has too much of, this one would ask again and again.
            lease = Lease(
                name=name, owner=f"other-{name}", token=name, generation=generation, expires_at=time.time() + _TTL_S
            )
            tx.set_lease(name, lease)


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
