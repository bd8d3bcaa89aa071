"""What goes wrong between the gateway and a Ray cluster: nothing is doubled, nothing that runs is called gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestration.service.providers.base import (
    Instance,
    InstanceConflictError,
    InstanceRejectedError,
    InstanceState,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.http_client import HttpLimits
from tests.support.provider_conformance import line, read
from tests.support.provider_processes import ask, ended, gone, until_async
from tests.support.ray.harness import RayHarness, ray_harness, running

WITHIN_S = 30.0


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RayHarness]:
    async with ray_harness(tmp_path) as harness:
        yield harness


@pytest.mark.parametrize("kind", ["before", "after", "500", "502", "503"])
async def test_a_submission_that_fails_or_is_not_answered_is_made_once(harness: RayHarness, kind: str) -> None:
    harness.cluster.fail("POST", "/api/jobs/", kind, body="Traceback: out of luck")
    instance: Instance | None = None
    for _ in range(2):
        with contextlib.suppress(ProviderError):
            instance = await harness.provider.create(harness.serving("once"))
    assert instance is not None
    assert harness.running("once") == 1
    assert await ask(await running(harness, "once")) == "ok"


@pytest.mark.parametrize("kind", ["before", "500", "502", "hang", "404"])
async def test_a_cluster_that_does_not_answer_is_not_one_without_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    limits = HttpLimits(total_s=2.0, connect_s=2.0, circuit_open_s=0.5)
    monkeypatch.setattr("orchestration.service.providers.ray.api._LIMITS", limits)
    monkeypatch.setattr("orchestration.service.providers.ray.api._LIST_S", 2.0)
    async with ray_harness(tmp_path) as harness:
        await harness.provider.create(harness.serving("stays"))
        instance = await running(harness, "stays")
        harness.cluster.fail("*", "/api/jobs", kind, times=1000, body="<html>no such page</html>")
        provider = harness.provider
        for call in (provider.describe("stays"), provider.list_owned(), provider.delete("stays")):
            with pytest.raises(ProviderError) as caught:
                await call
            assert caught.value.retryable
        harness.cluster.faults.clear()
        assert await until_async(lambda: answered(harness, "stays"), WITHIN_S) == instance
        assert harness.running("stays") == 1


async def answered(harness: RayHarness, name: str) -> Instance | None:
    """What the provider tells once it asks again: a cluster that did not answer is left alone for some seconds."""
    try:
        return await harness.provider.describe(name)
    except ProviderUnavailableError:
        return None


async def test_a_cluster_that_is_not_there_at_all_says_so_and_the_provider_starts(tmp_path: Path) -> None:
    async with ray_harness(tmp_path) as harness:
        pass
    provider = harness.new_provider()
    await provider.start()
    for call in (
        provider.describe("any"),
        provider.list_owned(),
        provider.list_resources(),
        provider.create(harness.serving("any")),
        anext(aiter(provider.logs("any"))),
    ):
        with pytest.raises(ProviderUnavailableError, match="Ray cluster 'default' at http://127"):
            await call
    await provider.close()


async def test_a_request_to_wait_is_heeded(harness: RayHarness) -> None:
    harness.cluster.fail("GET", "/api/jobs/", "429", headers={"Retry-After": "120"})
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.describe("any")
    assert caught.value.retry_after_s == 120
    asked = len(harness.cluster.requests)
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.describe("any")
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 60
    assert len(harness.cluster.requests) == asked


@pytest.mark.parametrize(("given", "status"), [({}, "401"), ({"token": "wrong-token"}, "403")])
async def test_a_wrong_token_is_told_without_it(tmp_path: Path, given: dict[str, str], status: str) -> None:
    async with ray_harness(tmp_path, given, token="right-token") as harness:
        with pytest.raises(ProviderUnavailableError, match=f"another token than token of .* {status}") as caught:
            await harness.provider.create(harness.serving("any"))
    assert caught.value.reason == "PROVIDER_DENIED"
    assert "wrong-token" not in caught.value.message


async def test_a_job_of_somebody_else_is_neither_taken_nor_ended(harness: RayHarness) -> None:
    other = harness.new_provider(owner="another-installation")
    await other.start()
    await other.create(harness.spec("shared", owner="another-installation"))
    with pytest.raises(InstanceConflictError, match="somebody else's"):
        await harness.provider.create(harness.serving("shared"))
    assert await harness.provider.describe("shared") is None
    assert await harness.provider.list_owned() == []
    await harness.provider.delete("shared")
    assert harness.running("shared") == 1
    await other.close()


@pytest.mark.parametrize("told", [True, False], ids=["told", "before Ray tells"])
async def test_a_node_that_dies_fails_what_ran_on_it(harness: RayHarness, told: bool) -> None:
    await harness.provider.create(harness.serving("lost"))
    instance = await running(harness, "lost")
    node = harness.cluster.jobs["lost"].node
    assert node is not None
    harness.cluster.fail("GET", "/api/jobs/lost/logs", "500", times=1000)
    harness.cluster.kill_node(node.node_id, told=told)
    after = await ended(harness.provider, "lost")
    assert (after.state, after.exit_code) == (InstanceState.FAILED, None)
    assert after.reason in ({"NODE_LOST", "JOB_SUPERVISOR_ACTOR_DIED"} if told else {"NODE_LOST"})
    offered = await harness.provider.list_resources()
    assert [item.metadata["node_id"] for item in offered] == [
        item.node_id for item in harness.cluster.nodes if item is not node
    ]
    assert await read(harness.provider, "lost") == []
    with pytest.raises(ProviderError):
        await harness.provider.create(harness.spec("there", resource_id=node.node_id[:12]))
    await harness.provider.create(harness.serving("replacement"))
    assert (await running(harness, "replacement")).endpoint != instance.endpoint


async def test_what_ray_does_not_start_stays_pending_with_its_words(harness: RayHarness) -> None:
    for node in harness.cluster.nodes:
        node.foreign = {"CPU": node.cpus}  # taken, and not told yet
    created = await harness.provider.create(harness.serving("waits"))
    assert created.state is InstanceState.PENDING
    assert "waiting for resources" in created.message
    assert created.endpoint == ""
    for node in harness.cluster.nodes:
        node.foreign = {}
    await running(harness, "waits")


async def test_a_job_that_never_started_is_gone_once_it_was_withdrawn(
    harness: RayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.service.providers.ray.removal._WITHDRAWN_AFTER_S", 1.5)
    for node in harness.cluster.nodes:
        node.foreign = {"CPU": node.cpus}
    await harness.provider.create(harness.serving("never"))
    await harness.provider.delete("never")
    described = await harness.provider.describe("never")
    assert described is not None
    assert described.state is InstanceState.STOPPING
    await gone(harness.provider, "never")
    assert harness.running("never") == 1, "Ray cannot stop what has not started"
    for node in harness.cluster.nodes:
        node.foreign = {}

    async def forgotten() -> bool:
        return "never" not in harness.cluster.jobs

    await until_async(forgotten, WITHIN_S)


async def test_an_engine_that_is_not_there_is_named(harness: RayHarness) -> None:
    await harness.provider.create(harness.spec("missing", ("no-such-engine", "--serve")))
    instance = await ended(harness.provider, "missing")
    assert (instance.state, instance.exit_code, instance.reason) == (InstanceState.EXITED, 127, "ENGINE_NOT_FOUND")
    assert [record.message for record in await read(harness.provider, "missing")] == [
        "'no-such-engine' is not on this node; pip install engine"
    ]


async def test_a_node_without_the_launchers_python_says_why(tmp_path: Path) -> None:
    async with ray_harness(tmp_path, {"python": "no-such-python3"}) as harness:
        await harness.provider.create(harness.serving("bare"))
        instance = await ended(harness.provider, "bare")
        assert (instance.exit_code, instance.reason) == (127, "ENGINE_NOT_FOUND")
        (record,) = await read(harness.provider, "bare")
        assert "no-such-python3" in record.message
        assert record.stream == "stderr"
        assert await read(harness.provider, "bare", follow=True) == [record]
        assert await read(harness.provider, "bare", after=record.cursor) == []


async def test_a_job_that_somebody_stopped_has_ended(harness: RayHarness) -> None:
    await harness.provider.create(harness.serving("stopped"))
    await running(harness, "stopped")
    harness.cluster.jobs["stopped"].stop_asked.set()
    instance = await ended(harness.provider, "stopped")
    assert (instance.state, instance.reason) == (InstanceState.EXITED, "JOB_STOPPED")


async def test_a_refused_job_is_refused_for_good(harness: RayHarness) -> None:
    harness.cluster.fail("POST", "/api/jobs/", "400", body="TypeError: unexpected keyword argument")
    with pytest.raises(InstanceRejectedError, match="unexpected keyword argument"):
        await harness.provider.create(harness.serving("odd"))
    assert await harness.provider.describe("odd") is None


async def test_a_new_gateway_finds_everything_with_ray(harness: RayHarness) -> None:
    await harness.provider.create(harness.serving("adopted"))
    before = await running(harness, "adopted")
    last = await line(harness.provider, "adopted", "line 1")
    provider = await harness.restart()
    assert await provider.describe("adopted") == before
    assert list(await provider.list_owned()) == [before]
    assert [record.message for record in await read(provider, "adopted", after=last.cursor)][:1] == ["line 2"]
    await provider.delete("adopted")
    provider = await harness.restart()  # in the middle of it
    await asyncio.gather(provider.delete("adopted"), provider.delete("adopted"))
    await gone(provider, "adopted")


async def test_the_last_lines_can_be_read_once_the_instance_is_gone(harness: RayHarness) -> None:
    await harness.provider.create(harness.exiting("words", lines=3))
    await ended(harness.provider, "words")
    await harness.provider.delete("words")
    assert await harness.provider.describe("words") is None
    assert [record.message for record in await read(harness.provider, "words")] == ["line 0", "line 1", "line 2"]

    async def forgotten() -> bool:
        return "words" not in harness.cluster.jobs

    await until_async(forgotten, WITHIN_S)
    assert await read(harness.provider, "words") == []


async def test_a_followed_log_goes_on_where_the_connection_broke(harness: RayHarness) -> None:
    harness.cluster.break_tail_after = 4
    await harness.provider.create(harness.exiting("broken", lines=30, delay_s=0.05))
    records = await read(harness.provider, "broken", follow=True)
    assert [record.message for record in records] == [f"line {n}" for n in range(30)]
    assert harness.cluster.broken_tails > 0


@pytest.mark.parametrize("status", ["403", "404", "502"])
async def test_a_log_that_nothing_lets_follow_is_an_error_and_not_an_empty_one(
    harness: RayHarness, status: str
) -> None:
    await harness.provider.create(harness.serving("silent"))
    harness.cluster.fail("GET", "/api/jobs/silent/logs/tail", status, times=1000)
    with pytest.raises(ProviderUnavailableError, match=f"does not let the log of silent be followed: {status}"):
        await read(harness.provider, "silent", follow=True)


async def test_after_the_close_nothing_is_asked(harness: RayHarness) -> None:
    provider = harness.new_provider()
    await provider.start()
    await provider.close()
    with pytest.raises(ProviderError) as caught:
        await provider.describe("any")
    assert caught.value.reason == "PROVIDER_CLOSED"


async def test_a_log_that_cannot_be_read_keeps_one_instance_from_being_told_and_no_other(harness: RayHarness) -> None:
    for name in ("mute", "fine"):
        await harness.provider.create(harness.serving(name))
        await running(harness, name)
    provider = await harness.restart()
    harness.cluster.fail("GET", "/api/jobs/mute/logs", "500", times=1000)
    with pytest.raises(ProviderError):
        await provider.describe("mute")
    told = {instance.name: instance.state for instance in await provider.list_owned()}
    assert told == {"mute": InstanceState.PENDING, "fine": InstanceState.RUNNING}
