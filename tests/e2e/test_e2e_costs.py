"""What a deployment cost, kept over the death of its engine and of the gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from orchestration.store.store import Store
from tests.support.gateway import Api, GatewayProcess, end_engines, eventually
from tests.support.stores import sqlite_url

A_DOLLAR_A_SECOND = 3600.0


async def kill_engine(api: Api, deployment_id: str) -> None:
    """End the engine's process from outside, and wait for the next attempt to be ready."""
    endpoint = (await api.status(deployment_id))["endpoint"]
    port = int(endpoint.rpartition(":")[2])
    for process in psutil.process_iter():
        try:
            if str(port) in process.cmdline() and "-S" in process.cmdline():
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue

    async def again() -> bool:
        found = await api.status(deployment_id)
        return bool(found["status"] == "RUNNING" and found["replica_statuses"][0]["restarts"] == 1)

    await eventually(again, within_s=30)


@pytest.mark.slow
async def test_cost_so_far_is_the_sum_of_the_intervals_over_kills_of_engine_and_gateway(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    gateway = GatewayProcess(data_dir, local_price_per_hour=A_DOLLAR_A_SECOND)
    try:
        async with gateway.api() as api:
            deployment_id = await api.deploy(await api.make_pool())
            await api.reach(deployment_id, "RUNNING")
            await kill_engine(api, deployment_id)
            before = (await api.status(deployment_id))["cost_so_far"]
            await gateway.kill()
        await asyncio.sleep(1.0)  # the engine goes on, and so does its price
        async with gateway.api() as api:
            assert (await api.status(deployment_id))["cost_so_far"] >= before + 1.0
            await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment_id})
            stopped = await api.reach(deployment_id, "STOPPED")
            await gateway.kill()
        async with await Store.open(sqlite_url(data_dir / "orchestration.db")) as store:
            intervals = await store.list_usage(deployment_id)
    finally:
        end_engines(data_dir)
    assert len(intervals) == 2, "one for each attempt"
    assert all(item.ended_at is not None for item in intervals)
    lasted = sum((item.ended_at or 0.0) - item.started_at for item in intervals)
    assert stopped["cost_so_far"] == pytest.approx(lasted)
    assert stopped["cost_so_far"] >= before + 1.0
