"""A thousand open watches and a thousand tails: no database connection is held, and all hear of what happens."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from orchestration.service import app
from orchestration.store.store import Store
from orchestration.v1 import model_deployments_pb2 as pb
from orchestration.v1.model_deployments_pb2_grpc import ModelDeploymentServiceStub
from tests.support.gateway import Api, eventually, running_gateway

STREAMS = 1_000
CHANNELS = 4
"""Connections that the streams share."""
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
OWN = 2
"""Connections of the gateway itself: that of its writer, and the one by which it hears of other processes."""
Kind = pb.WatchDeploymentsResponse


class Told:
    """When each watcher was told what."""

    def __init__(self) -> None:
        self.synced = 0
        self.added: list[float] = []

    async def watch(self, stub: Any) -> None:
        call = stub.WatchDeployments(pb.WatchDeploymentsRequest())
        in_snapshot = True
        try:
            async for message in call:
                if message.type == Kind.SYNCED:
                    in_snapshot = False
                    self.synced += 1
                elif message.type == Kind.ADDED and not in_snapshot:
                    self.added.append(time.perf_counter())
        finally:
            call.cancel()


async def tail(stub: Any, deployment_id: str, heard: list[int]) -> None:
    call = stub.TailDeploymentLogs(pb.TailDeploymentLogsRequest(deployment_id=deployment_id))
    try:
        async for entry in call:
            if entry.message == "spoken":
                heard[0] += 1
    finally:
        call.cancel()


@pytest.mark.slow
async def test_a_thousand_watches_and_tails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Store] = []

    class SeenStore(Store):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            opened.append(self)

    monkeypatch.setattr(app, "Store", SeenStore)
    async with running_gateway(tmp_path) as api:
        (store,) = opened
        pool: Any = store.database.engine.pool
        deployment_id = await api.deploy(await api.make_pool(), "--say", "spoken")
        await api.reach(deployment_id, "RUNNING")
        channels = [grpc.aio.insecure_channel(api.grpc_address, OWN_CONNECTION) for _ in range(CHANNELS)]
        stubs = [ModelDeploymentServiceStub(channel) for channel in channels]
        before_mb = _rss_mb()
        told, heard = Told(), [0]
        tasks = [asyncio.create_task(told.watch(stubs[n % CHANNELS])) for n in range(STREAMS)]
        tasks += [asyncio.create_task(tail(stubs[n % CHANNELS], deployment_id, heard)) for n in range(STREAMS)]

        async def all_open() -> bool:
            return told.synced == STREAMS and heard[0] == STREAMS

        await eventually(all_open, within_s=90, why=lambda: f"{told.synced} watches, {heard[0]} tails")
        await _none_is_held(pool)
        grown_mb = _rss_mb() - before_mb
        await _all_hear(api, told)
        await _none_is_held(pool)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in channels:
            await channel.close()
        print(f"{2 * STREAMS} streams: {grown_mb:.0f} MB, server and clients together")
        await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
        await api.reach(deployment_id, "STOPPED")


async def _none_is_held(pool: Any) -> None:
    """Only the gateway's own connections are out; one that a read has borrowed for a moment comes back."""

    async def only_own() -> bool:
        return int(pool.checkedout()) <= OWN

    await eventually(only_own, within_s=20, why=lambda: f"open streams hold connections: {pool.status()}")


async def _all_hear(api: Api, told: Told) -> None:
    """A deployment is accepted while all streams are open, and every watcher is told."""
    pool_id = (await api.rest.ok("GET", "/v1/pools"))["pools"][0]["pool_id"]
    begin = time.perf_counter()
    await api.deploy(pool_id, replicas=0)
    accepted_s = time.perf_counter() - begin

    async def heard() -> bool:
        return len(told.added) == STREAMS

    await eventually(heard, within_s=30, why=lambda: f"{len(told.added)} of {STREAMS} heard")
    await asyncio.sleep(0.2)
    assert len(told.added) == STREAMS, "somebody was told twice"
    after = sorted(at - begin for at in told.added)
    print(
        f"accepted in {accepted_s * 1000:.0f} ms; told after {statistics.median(after) * 1000:.0f} ms in the median, "
        f"the last of {STREAMS} after {after[-1] * 1000:.0f} ms"
    )


def _rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6
