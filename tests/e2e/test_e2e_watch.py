"""A thousand changes and twenty kills of the gateway: whoever follows loses nothing and is told nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gateway import Api, GatewayProcess, end_engines, eventually, tiny
from tests.support.watching import Follower, Lines, Picture, grpc_reader, ndjson_reader, sse_reader

CHANGES = 1_000
KILLS = 20
TICK_S = 0.02


class Restarting:
    """A gateway that is killed and started again under its callers."""

    def __init__(self, process: GatewayProcess) -> None:
        self._process = process
        self._stack = AsyncExitStack()
        self._api: Api | None = None
        self._up = asyncio.Event()
        self.kills = 0

    async def start(self) -> None:
        self._api = await self._stack.enter_async_context(self._process.api())
        self._up.set()

    async def kill(self) -> None:
        """SIGKILL, with whatever is under way."""
        self._up.clear()
        await self._process.kill()
        self.kills += 1
        await self._stack.aclose()

    async def serving(self) -> Api:
        """The gateway, once there is one."""
        await self._up.wait()
        assert self._api is not None
        return self._api

    async def call(self, verb: str, path: str, body: Any) -> Any:
        """An answer, however often it takes: what is sent again carries the same request id."""
        while True:
            api = await self.serving()
            try:
                status, answer = await api.rest.call(verb, path, body)
            except (aiohttp.ClientError, ConnectionError, RuntimeError):  # RuntimeError: the session was just closed
                await asyncio.sleep(0.02)
                continue
            if status == 503:
                await asyncio.sleep(0.02)
                continue
            assert status == 200, f"{verb} {path}: {status} {answer}"
            return answer


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Restarting]:
    process = GatewayProcess(tmp_path / "data")
    restarting = Restarting(process)
    await restarting.start()
    yield restarting
    await process.stop()
    await restarting.kill()
    end_engines(process.data_dir)


class Changes:
    """Deployments that are made, changed and purged one after the other."""

    def __init__(self, gateway: Restarting, pool_id: str) -> None:
        self._gateway = gateway
        self._pool_id = pool_id
        self._live: list[str] = []
        self.done = 0

    async def run(self, count: int) -> None:
        while self.done < count:
            number = self.done
            key = {"request_id": f"change-{number}"}
            if number % 20 == 0:
                body = {**tiny(self._pool_id, replicas=0), "labels": {"number": str(number)}, **key}
                self._live.append((await self._gateway.call("POST", "/deployment/deploy", body))["deployment_id"])
            elif number % 50 == 49:
                gone = self._live.pop(0)
                await self._gateway.call("POST", "/deployment/terminate", {"deployment_id": gone, **key})
                await self._gateway.call("DELETE", f"/deployment/delete/{gone}?request_id=purge-{number}", None)
            else:
                body = {"labels": {"number": str(number)}, **key}
                id_ = self._live[number % len(self._live)]
                await self._gateway.call("PATCH", f"/deployment/update/{id_}", body)
            self.done += 1


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_thousand_changes_over_twenty_kills(gateway: Restarting) -> None:
    api = await gateway.serving()
    pool_id = await api.make_pool()
    talker = await api.deploy(pool_id, "--tick", str(TICK_S))
    await api.reach(talker, "RUNNING")
    changes = Changes(gateway, pool_id)
    pictures = {name: Picture() for name in ("grpc", "ndjson", "sse")}
    readers = {
        "grpc": grpc_reader("WatchDeployments", "resume_token"),
        "ndjson": ndjson_reader("WatchDeployments", "resume_token"),
        "sse": sse_reader("/deployment/watch"),
    }
    lines = {name: Lines() for name in ("grpc", "sse")}
    tails = {
        "grpc": grpc_reader("TailDeploymentLogs", "cursor", deployment_id=talker),
        "sse": sse_reader(f"/deployment/logs/{talker}/tail"),
    }
    followers = [
        Follower(reader, gateway.serving, lambda told: str(told["resume_token"]), picture.take, picture.begin)
        for reader, picture in zip(readers.values(), pictures.values(), strict=True)
    ] + [
        Follower(reader, gateway.serving, lambda entry: str(entry["cursor"]), seen.take, lambda: None)
        for reader, seen in zip(tails.values(), lines.values(), strict=True)
    ]
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(follower.run()) for follower in followers]
        changing = group.create_task(changes.run(CHANGES))
        for kill in range(1, KILLS + 1):
            due = kill * CHANGES // (KILLS + 1)

            async def reached(due: int = due) -> bool:
                return changes.done >= due or changing.done()

            await eventually(reached, within_s=120, why=lambda: f"stuck at {changes.done} changes")
            await gateway.kill()
            await gateway.start()
        await changing
        await _come_to_rest(gateway, pictures)
        await _come_to_the_end(lines)
        for task in following:
            task.cancel()
    assert changes.done == CHANGES
    assert gateway.kills == KILLS
    for name, picture in pictures.items():
        print(f"{name}: {picture.messages} messages, {picture.repeated} told again after a break")
        assert picture.repeated <= 3 * KILLS
    for name, seen in lines.items():
        print(f"{name}: {len(seen.numbers)} log lines, {seen.numbers[0]} to {seen.numbers[-1]}")
    assert all(follower.connections > KILLS for follower in followers)
    api = await gateway.serving()
    await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": talker})
    await api.reach(talker, "STOPPED")


async def _come_to_rest(gateway: Restarting, pictures: dict[str, Picture]) -> None:
    """Wait until every picture is what is listed."""
    api = await gateway.serving()

    wrong: list[str] = []

    async def true() -> bool:
        listed = (await api.rest.ok("GET", "/deployment/deployments?page_size=1000"))["deployments"]
        wanted = {each["deployment_id"]: {**each, "cost_so_far": 0} for each in listed}
        wrong[:] = [f"{name}: {line}" for name, picture in pictures.items() for line in _differences(picture, wanted)]
        return not wrong

    await eventually(true, within_s=60, why=lambda: f"watchers' pictures never became what is listed: {wrong[:5]}")


def _differences(picture: Picture, wanted: dict[str, dict[str, Any]]) -> list[str]:
    """What the picture shows otherwise."""
    known = {id_: {**each, "cost_so_far": 0} for id_, each in picture.known.items()}
    found = [f"{id_} is not known" for id_ in wanted if id_ not in known]
    found += [f"{id_} is gone, and known" for id_ in known if id_ not in wanted]
    for id_ in wanted.keys() & known.keys():
        fields = [key for key, value in wanted[id_].items() if known[id_].get(key) != value]
        found += [f"{id_}: {key} is {wanted[id_][key]!r}, known as {known[id_].get(key)!r}" for key in fields]
    return found


async def _come_to_the_end(lines: dict[str, Lines]) -> None:
    """Wait until every tail has lines that were printed after the last kill."""
    counts = {name: len(seen.numbers) for name, seen in lines.items()}

    async def more() -> bool:
        return all(len(seen.numbers) > counts[name] + 50 for name, seen in lines.items())

    await eventually(more, within_s=60, why=lambda: f"no more lines than {counts}")
