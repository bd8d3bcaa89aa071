"""Caps hold under concurrency: two gateways place in parallel on one database, and nothing is given away twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestration.store.records import Node, Pool, Replica, ReplicaState
from tests.support import stores
from tests.support.placing import Cloud, Placing, add_deployment, placing

NODES = 4
GPUS = 4
ROUNDS = 6
NODE_POOL = {
    "max_cost_per_hour": 6.0,
    "max_nodes": 3,
    "scheduling_policy_json": '{"strategy": "spread", "max_replicas_per_node": 3}',
}
OFFER_POOL = {"max_cost_per_hour": 7.5, "max_nodes": 6}


def check_nodes(pool: Pool, nodes: list[Node], replicas: list[Replica]) -> None:
    by_node: dict[str, list[Replica]] = defaultdict(list)
    for replica in replicas:
        by_node[replica.node_id].append(replica)
    assert sum(replica.price_per_hour for replica in replicas) <= pool.max_cost_per_hour + 1e-9
    assert len(by_node) <= pool.max_nodes
    for node in nodes:
        held = by_node[node.id]
        assert sum(replica.gpu_count for replica in held) <= node.gpu_total
        assert len(held) <= 3


def check_offers(pool: Pool, cloud: Cloud, replicas: list[Replica]) -> None:
    assert sum(replica.price_per_hour for replica in replicas) <= pool.max_cost_per_hour + 1e-9
    assert len(replicas) <= pool.max_nodes
    taken = Counter(replica.resource_id for replica in replicas)
    for offer in cloud.offers:
        assert taken[offer.provider_resource_id] <= offer.available_count


async def turn(parts: Placing, replica_id: str, chance: random.Random) -> None:
    """What a gateway does with a replica next: place it, start it, or lose and clear it."""
    replica = parts.replica(replica_id)
    if replica.state is ReplicaState.PENDING or (replica.state is ReplicaState.FAILED and not replica.instance_name):
        await parts.place(replica_id)
    elif replica.state is ReplicaState.PROVISIONING:
        await parts.provision(replica_id)
    elif chance.random() < 0.5:
        await parts.lose(replica_id)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_cap_is_ever_exceeded_by_two_gateways_that_place_at_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    nodes, market = Cloud("nodes", nodes=True), Cloud("market")
    market.offer("m1", 1.0, count=3)
    market.offer("m2", 1.5, count=4)
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(placing(tmp_path, nodes, market, name=name)) for name in "ab"]
        store = gateways[0].store
        node_pool = await stores.add_pool(store, provider="nodes", **NODE_POOL)
        offer_pool = await stores.add_pool(store, provider="market", **OFFER_POOL)
        async with store.write(actor="test") as tx:
            for number in range(NODES):
                described = {"gpu_total": GPUS, "gpu_type": "A100", "price_per_hour": 0.5 + 0.25 * number}
                await tx.insert(stores.node(node_pool.id, provider="nodes", **described))
        pools = ((node_pool.id, offer_pool.id), (offer_pool.id,), (node_pool.id,))
        owned: list[tuple[Placing, str]] = []
        for number in range(6):
            ids = await add_deployment(store, *pools[number % 3], replicas=5, gpu_per_replica=1 + number % 2)
            owned += [(gateways[number % 2], replica_id) for replica_id in ids]
        await stores.eventually(lambda: all(parts.store.index.get(Replica, item) for parts, item in owned))
        placed = 0
        for _ in range(ROUNDS):
            chance.shuffle(owned)
            await asyncio.gather(*(turn(parts, replica_id, chance) for parts, replica_id in owned))
            async with store.write(actor="test") as tx:
                rows = [row for row in await tx.select(Replica) if row.instance_name]
                in_nodes = [row for row in rows if row.pool_id == node_pool.id]
                check_nodes(node_pool, await tx.select(Node, pool_id=node_pool.id), in_nodes)
                check_offers(offer_pool, market, [row for row in rows if row.pool_id == offer_pool.id])
            placed = max(placed, len(rows))
        assert placed >= 8, "hardly anything was placed: nothing was shown"
