"""A node that is terminated stays so, whatever was on its way meanwhile."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.service.errors import PreconditionError
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.heartbeats import HeartbeatUseCase
from orchestration.store.records import Node, NodeState, Pool
from orchestration.store.store import Store
from orchestration.v1.compute_pools_pb2 import HeartbeatRequest


async def test_a_heartbeat_that_waits_behind_the_termination_does_not_revive_the_node(tmp_path: Path) -> None:
    async with await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db") as store:
        async with store.write(actor="test") as tx:
            await tx.insert(Pool(id="p", name="p", owner_type="user", owner_id="a", provider="fake"))
            node = await tx.insert(Node(id="n", pool_id="p", provider="fake", provider_instance_id="i", incarnation=5))
        heartbeats = HeartbeatUseCase(store, ProviderRegistry({}), time.time, 10.0)
        request = HeartbeatRequest(provider="fake", provider_instance_id="i", state="BUSY", incarnation=5)
        async with store.write(actor="test") as tx:
            late = asyncio.create_task(heartbeats.heartbeat(request))
            await asyncio.sleep(0)  # it has looked at the node, and waits for its turn to write
            await tx.update(replace(node, state=NodeState.TERMINATED))
        with pytest.raises(PreconditionError, match="terminated"):
            await late
        found = store.index.get(Node, "n")
        assert found is not None
        assert found.state is NodeState.TERMINATED
