"""What callers hear while the database cannot be written, and what is kept of it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from orchestration.service.providers.base import Capabilities
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.rpc.errors import failure_of
from orchestration.service.usecases.heartbeats import HeartbeatUseCase
from orchestration.store.errors import StoreUnavailableError
from orchestration.store.records import Node, NodeState
from orchestration.store.store import Store
from orchestration.v1 import compute_pools_pb2 as pb
from tests.support.fake_provider import FakeProvider
from tests.support.stores import add_pool, eventually, node, sqlite_url

FAR = Capabilities(
    kind="marketplace",
    log_streaming=False,
    spot=False,
    multi_gpu=True,
    multi_node=False,
    ephemeral=False,
    pricing_model="fixed",
    engines=("custom",),
)


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        ("DATABASE_LOCKED", 2),
        ("DATABASE_SLOW", 2),
        ("DATABASE_UNREACHABLE", 5),
        ("DATABASE_GONE", 15),
        ("DISK_FULL", 30),
        ("DATABASE_READ_ONLY", 30),
    ],
)
def test_a_caller_is_told_when_to_try_again(reason: str, seconds: int) -> None:
    failure = failure_of(StoreUnavailableError(reason, "why"))
    assert failure is not None
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    (info,) = [detail for detail in failure.details if isinstance(detail, error_details_pb2.ErrorInfo)]
    (retry,) = [detail for detail in failure.details if isinstance(detail, error_details_pb2.RetryInfo)]
    assert (info.reason, retry.retry_delay.seconds) == (reason, seconds)


async def test_a_heartbeat_that_cannot_be_written_was_heard_all_the_same(tmp_path: Path) -> None:
    """Else the node would be held to be lost when the database is back: its agent did what it could."""
    path = tmp_path / "store.db"
    provider = FakeProvider("far", FAR)
    async with await Store.open(sqlite_url(path), busy_timeout_s=0.2) as store:
        heartbeats = HeartbeatUseCase(store, ProviderRegistry({"far": provider}), time.time, 10.0)
        pool = await add_pool(store, provider="far")
        async with store.write(actor="test") as tx:
            known = await tx.insert(node(pool.id, provider="far", state=NodeState.READY, last_heartbeat_at=1.0))
        request = pb.HeartbeatRequest(
            provider="far", provider_instance_id=known.provider_instance_id, expose_url="http://new", gpu_allocated=0
        )
        holder = sqlite3.connect(path, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError):
                await heartbeats.heartbeat(request)
        finally:
            holder.close()
        found = store.index.get(Node, known.id)
        assert found is not None
        assert found.last_heartbeat_at > time.time() - 60
        assert found.expose_url == "", "what could not be written is not shown"
        await eventually(lambda: store.write_failure is None)
        await heartbeats.heartbeat(request)
        found = store.index.get(Node, known.id)
        assert found is not None
        assert found.expose_url == "http://new"
