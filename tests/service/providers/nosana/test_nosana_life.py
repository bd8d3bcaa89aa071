"""How instances live and end at Nosana, and how they are ended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import Instance, InstanceRejectedError, InstanceState
from orchestration.service.providers.nosana import records, results
from orchestration.service.providers.nosana.records import Records
from orchestration.service.providers.nosana.urls import job_host
from tests.support.fake_nosana_process import NosanaHarness
from tests.support.provider_processes import ended, gone, until, until_async


async def reach(harness: NosanaHarness, name: str, state: InstanceState) -> Instance:
    """The instance, once it is in a state."""

    async def reached() -> Instance | None:
        found = await harness.provider.describe(name)
        return found if found is not None and found.state is state else None

    found = await until_async(reached, 30)
    assert found is not None
    return found


def jobs(harness: NosanaHarness) -> int:
    """How many jobs there are, and were."""
    return sum(len(item["jobs"]) for item in harness.look()["deployments"])


@pytest.mark.parametrize("streams", [True, False])
async def test_a_deployment_from_draft_to_gone(harness: NosanaHarness, streams: bool) -> None:
    harness.change(streams=streams)
    made = await harness.provider.create(harness.spec("one"))
    assert made.state is InstanceState.PENDING
    found = await reach(harness, "one", InstanceState.RUNNING)
    assert found.endpoint == f"{harness.fake.url}/service/{found.provider_instance_id}"
    assert found.hostname
    assert found.price_per_hour > 0
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    told = harness.look()
    assert told["deployments"] == []
    assert [line.partition(" ")[0] for line in told["journal"]] == ["created", "started", "stopping", "deleted"]


async def test_an_address_that_is_not_told_is_that_of_the_job(harness: NosanaHarness) -> None:
    harness.change(streams=False, endpoints_told=False)
    await harness.provider.create(harness.spec("one"))
    found = await reach(harness, "one", InstanceState.RUNNING)
    job = harness.look()["deployments"][0]["jobs"][0]["job"]
    assert found.endpoint == f"{harness.fake.url}/node/{job_host(0, 9000, job)}"


async def test_a_stream_saves_requests(harness: NosanaHarness) -> None:
    await harness.provider.create(harness.spec("one", env={"FAKE_QUEUE_S": "0.2"}))
    await reach(harness, "one", InstanceState.RUNNING)

    async def streaming() -> bool:
        before = harness.look()["calls"].get("get", 0)
        await harness.provider.describe("one")
        return bool(harness.look()["calls"].get("get", 0) == before)

    await until_async(streaming, 30)
    harness.change(lose_host=True)
    found = await ended(harness.provider, "one")
    assert (found.state, found.reason) == ("FAILED", "HOST_SHUT_DOWN")


@pytest.mark.parametrize(
    ("env", "state", "reason", "code", "signal"),
    [
        ({"FAKE_EXIT_CODE": "0"}, "EXITED", "EXITED", 0, None),
        ({"FAKE_EXIT_CODE": "139"}, "EXITED", "EXITED", 139, 11),
        ({"FAKE_EXIT_CODE": "137", "FAKE_OOM": "1"}, "EXITED", "OOM_KILLED", 137, None),
    ],
)
async def test_how_an_engine_ended_is_told(
    harness: NosanaHarness, env: dict[str, str], state: str, reason: str, code: int, signal: int | None
) -> None:
    await harness.provider.create(harness.spec("one", env=env))
    found = await ended(harness.provider, "one")
    assert (found.state, found.reason, found.exit_code, found.signal) == (state, reason, code, signal)


async def test_a_job_without_a_result_ends_without_a_code(harness: NosanaHarness) -> None:
    await harness.restart(result_wait_s="0.3")
    harness.change(results="never")
    await harness.provider.create(harness.spec("one", env={"FAKE_EXIT_CODE": "3"}))
    found = await ended(harness.provider, "one")
    assert (found.reason, found.exit_code) == ("NO_RESULT", None)


_DEEP = "[" * 200_000
_NESTED = '{"opStates": [], "errors": ' + "[" * 5000 + "]" * 5000 + "}"


@pytest.mark.parametrize(
    "result", [json.dumps(_DEEP), _DEEP, json.dumps(_NESTED), '{"opStates": [{"exitCode": %s}]}' % ("9" * 400)]
)
async def test_a_result_that_cannot_be_read_costs_nothing_else(harness: NosanaHarness, result: str) -> None:
    await harness.restart(result_wait_s="0.2")
    harness.change(results="never", raw_result=result)
    await harness.provider.create(harness.spec("one", env={"FAKE_EXIT_CODE": "3"}))
    found = await ended(harness.provider, "one")
    assert found.state in {"EXITED", "FAILED"}
    await harness.provider.create(harness.spec("two"))
    assert [item.name for item in await harness.provider.list_owned()] == ["one", "two"]
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    assert [item["name"].rpartition("-")[2] for item in harness.look()["deployments"]] == ["two"]


async def test_a_result_that_is_too_long_counts_as_none(harness: NosanaHarness) -> None:
    await harness.restart(result_wait_s="0.2")
    harness.change(results="never", raw_result='{"opStates": [{"exitCode": 3}]}', raw_padding=9_000_000)
    await harness.provider.create(harness.spec("one", env={"FAKE_EXIT_CODE": "3"}))
    assert (await ended(harness.provider, "one")).reason == "NO_RESULT"


async def test_a_creation_that_came_to_nothing_leaves_nothing(harness: NosanaHarness) -> None:
    harness.change(planned=[["create", "400"]])
    with pytest.raises(InstanceRejectedError):
        await harness.provider.create(harness.spec("one"))
    await harness.provider.delete("one")
    assert list((harness.data_dir / "instances").iterdir()) == []


async def test_one_that_cannot_be_looked_at_does_not_hide_the_others(harness: NosanaHarness) -> None:
    harness.change(streams=False)
    await harness.provider.create(harness.spec("one"))
    await harness.provider.create(harness.spec("two"))
    await reach(harness, "two", InstanceState.RUNNING)
    harness.change(planned=[["jobs", "500"]])
    one, two = await harness.provider.list_owned()
    assert sorted([one.message[:25], two.message[:25]]) == ["", "it cannot be looked at no"]


async def test_what_runs_is_ended_with_a_full_disk(harness: NosanaHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.provider.create(harness.serving("one"))
    await reach(harness, "one", InstanceState.RUNNING)

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    for module in (records, results):
        monkeypatch.setattr(module, "write_json", full)
    await harness.provider.delete("one")
    await until(lambda: harness.look()["deployments"] == [], 30)
    await gone(harness.provider, "one")


async def test_a_deletion_goes_on_after_what_nobody_expected(
    harness: NosanaHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.provider.create(harness.spec("one"))
    failures = iter([OSError(28, "No space left on device"), RecursionError("deep"), KeyError("x")])
    drop = Records.drop

    async def failing(kept: Records, name: str) -> None:
        for error in failures:
            raise error
        await drop(kept, name)

    monkeypatch.setattr(Records, "drop", failing)
    await harness.provider.delete("one")
    await until(lambda: not (harness.data_dir / "instances" / "one.json").exists(), 30)
    assert next(failures, None) is None
    assert harness.look()["deployments"] == []


async def test_a_job_of_a_simple_deployment_expires(harness: NosanaHarness) -> None:
    await harness.restart(strategy="SIMPLE", timeout_minutes="1")
    harness.change(minute_s=0.3)
    await harness.provider.create(harness.spec("one"))
    found = await ended(harness.provider, "one")
    assert (found.state, found.reason) == ("FAILED", "JOB_EXPIRED")


async def test_a_time_out_is_extended_before_it_ends(harness: NosanaHarness) -> None:
    harness.change(minute_s=0.001)
    await harness.provider.create(harness.spec("one"))
    found = await reach(harness, "one", InstanceState.RUNNING)
    await harness.provider.close()
    harness.provider = harness.new_provider()
    await harness.provider.start()
    again = await reach(harness, "one", InstanceState.RUNNING)
    assert (again.endpoint, again.started_at) == (found.endpoint, found.started_at)
    assert jobs(harness) == 1


async def test_jobs_that_rotate_are_one_instance(harness: NosanaHarness) -> None:
    await harness.restart(strategy="INFINITE", timeout_minutes="60")
    harness.change(minute_s=0.01, streams=False)
    await harness.provider.create(harness.spec("one"))
    first = await reach(harness, "one", InstanceState.RUNNING)
    await until(lambda: jobs(harness) >= 3, 30)
    found = await harness.provider.describe("one")
    assert found is not None
    assert (found.state, found.endpoint) == (InstanceState.RUNNING, first.endpoint)
    await harness.provider.delete("one")
    await gone(harness.provider, "one")


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ("ERROR", "FAILED", "NOSANA_ERROR"),
        ("INSUFFICIENT_FUNDS", "FAILED", "INSUFFICIENT_FUNDS"),
        ("STOPPING", "STOPPING", ""),
    ],
)
async def test_states_of_deployments(harness: NosanaHarness, status: str, state: str, reason: str) -> None:
    harness.change(streams=False)
    await harness.provider.create(harness.spec("one"))
    await reach(harness, "one", InstanceState.RUNNING)
    harness.change(status=status)
    found = await harness.provider.describe("one")
    assert found is not None
    assert (found.state, found.reason) == (state, reason)


async def test_a_stop_is_waited_for_while_it_starts(harness: NosanaHarness) -> None:
    harness.change(start_s=2.0)
    await harness.provider.create(harness.spec("one"))
    await harness.provider.delete("one")
    found = await harness.provider.describe("one")
    assert found is not None
    assert found.state is InstanceState.STOPPING
    await gone(harness.provider, "one")
    assert harness.look()["deployments"] == []


async def test_a_deletion_goes_on_after_a_restart_and_through_failures(harness: NosanaHarness) -> None:
    harness.change(start_s=0.3, stop_s=0.3, planned=[["stop", "500"], ["delete", "503"], ["delete", "cut"]])
    await harness.provider.create(harness.spec("one"))
    await harness.provider.delete("one")
    await harness.restart()
    await until(lambda: harness.look()["deployments"] == [], 30)
    await gone(harness.provider, "one")


async def test_what_is_being_deleted_is_not_made_anew_until_it_is_gone(harness: NosanaHarness) -> None:
    harness.change(stop_s=2.0)
    made = await harness.provider.create(harness.spec("one"))
    await harness.provider.delete("one")
    again = await harness.provider.create(harness.spec("one"))
    assert (again.provider_instance_id, again.state) == (made.provider_instance_id, InstanceState.STOPPING)
    await gone(harness.provider, "one")
    anew = await harness.provider.create(harness.spec("one"))
    assert anew.provider_instance_id != made.provider_instance_id
    await reach(harness, "one", InstanceState.RUNNING)


async def test_what_is_asked_for_as_a_deletion_goes_on_after_a_restart_is_made_after_it(harness: NosanaHarness) -> None:
    made = await harness.provider.create(harness.spec("one"))
    await harness.provider.delete("one")
    record = harness.data_dir / "instances" / "one.json"
    noted = record.read_text()
    assert json.loads(noted)["deleting"]
    await until(lambda: not record.exists(), 30)
    await harness.provider.close()
    record.write_text(noted)  # as if it had ended before it could forget what is gone
    await harness.restart()
    async with asyncio.timeout(60):
        anew = await harness.provider.create(harness.spec("one"))  # before the deletion has taken its first step
    assert anew.provider_instance_id != made.provider_instance_id
    await reach(harness, "one", InstanceState.RUNNING)


async def test_a_creation_under_way_is_waited_for_before_it_is_ended(harness: NosanaHarness) -> None:
    creation = asyncio.create_task(harness.provider.create(harness.spec("one")))
    await until(lambda: bool(harness.look()["bodies"]), 30)
    await harness.provider.delete("one")
    await creation
    await gone(harness.provider, "one")
    assert harness.look()["deployments"] == []


async def test_a_draft_that_cannot_be_deleted_counts_for_nothing(harness: NosanaHarness) -> None:
    harness.change(planned=[["start", "400"]])
    with pytest.raises(Exception, match="400"):
        await harness.provider.create(harness.spec("one"))
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    assert list(await harness.provider.list_owned()) == []
    (draft,) = harness.look()["deployments"]
    assert draft["status"] == "DRAFT"
    await harness.restart()
    made = await harness.provider.create(harness.spec("one"))
    assert made.provider_instance_id != draft["id"]
    assert harness.running("one") == 1
    await harness.provider.delete("one")
    await gone(harness.provider, "one")


async def test_what_somebody_else_deleted_is_gone(harness: NosanaHarness) -> None:
    made = await harness.provider.create(harness.spec("one", env={"FAKE_EXIT_CODE": "0"}))
    await ended(harness.provider, "one")
    other = harness.new_provider()
    await other.start()
    await other.delete("one")
    await gone(other, "one")
    await other.close()
    await gone(harness.provider, "one")
    again: Any = await harness.provider.create(harness.spec("one"))
    assert again.provider_instance_id != made.provider_instance_id
