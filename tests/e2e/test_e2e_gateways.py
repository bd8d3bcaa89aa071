"""Two gateways, as processes, on one database: they share the work, and each takes over what the other leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from orchestration.service.controllers.shards import SHARDS, shard_name
from tests.support.gateway import FAST, Api, GatewayProcess, end_engines, eventually
from tests.support.provider_processes import engines

TTL_S = float(FAST["lease_ttl_s"])


class Pair:
    """Two gateways on one data folder, and clients for both."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.processes = [GatewayProcess(self.data_dir, name, probe_timeout_s=60) for name in ("first", "second")]
        self.apis: list[Api] = []
        self.hold = folder / "answer-now"
        """Engines of `deploy` are not ready before this file exists."""

    async def start(self, stack: AsyncExitStack, *numbers: int) -> None:
        """Start gateways at the same moment."""
        starting = [stack.enter_async_context(self.processes[number].api()) for number in numbers]
        self.apis += await asyncio.gather(*starting)

    def owners(self) -> dict[str, int]:
        """By lease, the number of the gateway that holds it, as the database has it."""
        pids = {str(process.pid): number for number, process in enumerate(self.processes)}
        with closing(sqlite3.connect(self.data_dir / "orchestration.db")) as connection:
            rows = connection.execute("SELECT name, owner FROM leases WHERE expires_at > ?", [time.time()]).fetchall()
        return {name: pids[owner.split("|")[3]] for name, owner in rows if owner}

    def engines(self) -> dict[int, int]:
        """By pid, the ordinal of every engine that runs, counted by processes."""
        with closing(sqlite3.connect(self.data_dir / "orchestration.db")) as connection:
            ((owner,),) = connection.execute("SELECT installation_id FROM store_meta").fetchall()
            ordinals = dict(connection.execute("SELECT id, ordinal FROM replicas").fetchall())
        names = {process.pid: process.environ()["ORCHESTRATION_INSTANCE"] for process in engines(owner)}
        return {pid: ordinals[name.removeprefix("r-").rpartition("-")[0]] for pid, name in names.items()}

    def shards(self, number: int) -> int:
        """How many shards a gateway holds."""
        return sum(holder == number for name, holder in self.owners().items() if name.startswith("replicas/"))

    async def shared(self) -> None:
        """Wait until both have equal parts."""

        async def look() -> bool:
            return [self.shards(0), self.shards(1)] == [SHARDS // 2] * 2

        await eventually(look, why=lambda: f"not shared: {self.owners()}")

    async def holder(self, deployment: str) -> int:
        """The gateway that works on a deployment; the lease of a busy one may lapse for a moment."""

        async def look() -> list[int]:
            owners = self.owners()
            return [owners[name] for name in (shard_name(deployment),) if name in owners]

        return int((await eventually(look, why=lambda: f"nobody works on {deployment}: {self.owners()}"))[0])

    async def pause(self, number: int) -> None:
        """Stop a gateway outside its commits: one that is stopped within would keep the file's lock."""
        for _ in range(100):
            self.processes[number].pause()
            if await self._is_writable():
                return
            self.processes[number].resume()
            await asyncio.sleep(0.01)
        pytest.fail("the gateway was never outside a commit")

    async def _is_writable(self) -> bool:
        try:
            with closing(sqlite3.connect(self.data_dir / "orchestration.db", timeout=0.5)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True

    async def metric(self, number: int, name: str) -> float:
        """A figure of a gateway."""
        rest = self.apis[number].rest
        async with rest.session.get(f"{rest.base}/metrics") as answer:
            text = await answer.text()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for process in made.processes:
        with suppress(AssertionError, ProcessLookupError):
            process.resume()
            await process.kill()
    end_engines(made.data_dir)


async def test_two_that_start_together_on_nothing_are_ready_and_share_the_work(pair: Pair) -> None:
    async with AsyncExitStack() as stack:
        await pair.start(stack, 0, 1)
        for api in pair.apis:
            await api.rest.ok("GET", "/readyz")
        await pair.shared()
        await eventually(partial(all_held, pair), why=lambda: f"not all is held: {pair.owners()}")

        first, second = pair.apis
        lags: list[float] = []
        pool_id = ""
        for number in range(20):
            pool_id = await first.make_pool(f"pool-{number}")
            began = time.monotonic()

            async def shows(pool_id: str = pool_id) -> bool:
                return (await second.rest.call("GET", f"/deployment/pool/{pool_id}"))[0] == 200

            await eventually(shows)
            lags.append(time.monotonic() - began)
        lags.sort()
        print(f"a write on one gateway shows on the other after {lags[10] * 1000:.0f} ms, at most {lags[-1]:.3f} s")
        assert lags[10] < 5

        deployments = [await first.deploy(pool_id, replicas=1) for _ in range(4)]
        for deployment in deployments:
            await first.reach(deployment, "RUNNING")
            await eventually(partial(runs, second, deployment))
        assert len(pair.engines()) == 4
        await pair.processes[0].stop()
        assert set(pair.owners().values()) <= {1}, "a gateway that stops leaves no lease behind"
        for deployment in deployments:
            await second.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
        for deployment in deployments:
            await second.reach(deployment, "STOPPED")
        assert pair.engines() == {}


async def test_one_that_is_killed_is_taken_over_at_once_by_the_other_on_its_machine(pair: Pair) -> None:
    async with AsyncExitStack() as stack:
        await pair.start(stack, 0)
        await pair.start(stack, 1)
        await pair.shared()
        deployment = await pair.apis[0].deploy(await pair.apis[0].make_pool(), replicas=2)
        await pair.apis[0].reach(deployment, "RUNNING")
        holder = await pair.holder(deployment)
        before = pair.engines()

        await pair.processes[holder].kill()
        killed_at = time.monotonic()
        survivor = 1 - holder

        async def taken() -> bool:
            return pair.shards(survivor) == SHARDS

        await eventually(taken)
        print(f"taken over {time.monotonic() - killed_at:.2f} s after SIGKILL (lease {TTL_S} s)")
        (victim, *_) = before
        os.kill(victim, signal.SIGKILL)
        await replaced(pair.apis[survivor], deployment)
        assert len(pair.engines()) == 2
        assert len(set(pair.engines()) & set(before)) == 1, "the healthy engine was touched"


@pytest.mark.slow
async def test_one_that_is_paused_is_taken_over_within_a_lease_and_its_late_write_is_refused(pair: Pair) -> None:
    async with AsyncExitStack() as stack:
        await pair.start(stack, 0)
        await pair.start(stack, 1)
        await pair.shared()
        pool_id = await pair.apis[0].make_pool()
        deployment = await pair.apis[0].deploy(pool_id, "--hold", str(pair.hold), replicas=2)
        stale = await pair.holder(deployment)
        survivor = 1 - stale
        await asked(pair.apis[0], deployment, times=2)
        before = pair.engines()
        assert sorted(before.values()) == [0, 1], "one engine of each ordinal"

        await pair.pause(stale)
        paused_at = time.monotonic()
        victim = next(pid for pid, ordinal in before.items() if ordinal == 0)
        os.kill(victim, signal.SIGKILL)

        async def taken() -> bool:
            return pair.shards(survivor) == SHARDS

        await eventually(taken)
        took = time.monotonic() - paused_at
        print(f"taken over {took:.2f} s after SIGSTOP (lease {TTL_S} s)")
        assert took < 2 * TTL_S + 10
        await asked(pair.apis[survivor], deployment, times=4)
        pair.hold.touch()
        found = await replaced(pair.apis[survivor], deployment)
        print(f"replaced {time.monotonic() - paused_at:.2f} s after SIGSTOP and the engine's end")

        # Now its probe of the second engine is answered: it would say READY, of a replica that is so for long.
        refused = await resume_and_count_refusals(pair, stale)
        assert refused >= 1, "the stale gateway wrote, or never tried"
        await pair.shared()
        assert await pair.metric(stale, "orchestration_leases_lost_total") >= SHARDS // 2
        after = pair.engines()
        assert sorted(after.values()) == [0, 1], "one engine of each ordinal"
        assert len(set(after) & set(before)) == 1, "the healthy engine was touched"
        assert await pair.apis[stale].status(deployment) == found
        for api in pair.apis:
            started = [line for line in await messages(api, deployment) if line.startswith("engine pid")]
            assert len(started) == len(set(started)) == 3, "a line is lost or doubled"
        reasons = [event["reason"] for event in await pair.apis[stale].events(deployment)]
        assert reasons.count("REPLICA_READY") == 2, reasons
        assert reasons.count("REPLICA_FAILED") == 1, reasons
        assert reasons.count("REPLICA_STARTED") == 3, reasons


async def all_held(pair: Pair) -> bool:
    """Whether each lease has a holder, and both gateways say the same of them and of each other."""
    gateways = [await pair.metric(number, "orchestration_gateways") for number in (0, 1)]
    held = [await pair.metric(number, "orchestration_leases_held") for number in (0, 1)]
    return gateways == [2, 2] and sum(held) == SHARDS + 2 and {"nodes", "reaper"} <= pair.owners().keys()


async def runs(api: Api, deployment: str) -> bool:
    """Whether a gateway knows the deployment, and as running."""
    status, found = await api.rest.call("GET", f"/deployment/status/{deployment}")
    return status == 200 and bool(found["status"] == "RUNNING")


async def messages(api: Api, deployment: str) -> list[str]:
    """The log."""
    answer = await api.rest.ok("GET", f"/deployment/logs/{deployment}?tail=1000")
    return [line["message"] for line in answer["logs"]]


async def asked(api: Api, deployment: str, *, times: int) -> None:
    """Wait until engines have been asked for their health so many times."""

    async def look() -> bool:
        return sum(message.startswith("asked for") for message in await messages(api, deployment)) >= times

    await eventually(look)


async def replaced(api: Api, deployment: str) -> dict[str, object]:
    """Wait until all run, and one of them again."""

    async def look() -> dict[str, object] | None:
        found = await api.status(deployment)
        restarts = sum(replica["restarts"] for replica in found["replica_statuses"])
        return found if found["status"] == "RUNNING" and restarts == 1 else None

    return dict(await eventually(look))


async def resume_and_count_refusals(pair: Pair, number: int) -> float:
    """Let a gateway go on, and wait until it was refused something."""
    pair.processes[number].resume()

    async def look() -> float:
        return await pair.metric(number, "orchestration_writes_refused_total")

    refused = float(await eventually(look, why=lambda: "\n".join(pair.processes[number].log_lines()[-20:])))
    assert any("the lease on this work is not held" in line for line in pair.processes[number].log_lines())
    return refused
