"""Creations whose answers are lost, refused or not paid for: one deployment runs, or none, and why not is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestration.service.providers.base import (
    InstanceRejectedError,
    InstanceState,
    ProviderContext,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.nosana.provider import NosanaProvider
from orchestration.service.providers.nosana.settings import parse
from tests.support.fake_nosana_process import LIMITS, NosanaHarness
from tests.support.provider_processes import gone, until, until_async


def started(harness: NosanaHarness) -> list[str]:
    """Names of what was started, without the installation's tag."""
    return [line.rpartition("-")[2] for line in harness.look()["journal"] if line.startswith("started")]


async def test_the_tag_and_the_name_are_in_nosanas_name(harness: NosanaHarness) -> None:
    await harness.provider.create(harness.spec("one"))
    (body,) = harness.look()["bodies"]
    assert body["name"].startswith("og-")
    assert body["name"].endswith("-one")
    assert harness.owner not in body["name"]
    assert (body["replicas"], body["timeout"], body["strategy"]) == (1, 120, "SIMPLE-EXTEND")
    assert body["confidential"] is True, "the environment of an engine is nobody's business"


@pytest.mark.parametrize("fault", ["cut_after", "502"])
async def test_a_lost_answer_makes_no_second_deployment(harness: NosanaHarness, fault: str) -> None:
    harness.change(planned=[["create", "cut_after"], ["start", fault]])

    async def made() -> bool:
        with contextlib.suppress(ProviderError):
            await harness.provider.create(harness.spec("one"))
            return True
        return False

    await until_async(made, 30)
    told = harness.look()
    assert len(told["deployments"]) == 1
    assert started(harness) == ["one"]
    assert len(told["bodies"]) == 1


async def test_a_creation_that_was_not_made_is_asked_for_again(harness: NosanaHarness) -> None:
    harness.change(planned=[["create", "cut"]])
    with pytest.raises(ProviderError) as caught:
        await harness.provider.create(harness.spec("one"))
    assert caught.value.reason == "NO_ANSWER"
    assert await harness.provider.describe("one") is None
    made = await harness.provider.create(harness.spec("one"))
    assert made.state is InstanceState.PENDING
    assert started(harness) == ["one"]


async def test_of_two_drafts_of_one_name_one_is_started_and_both_go(harness: NosanaHarness) -> None:
    """Another gateway's creation took effect after this one had looked."""
    harness.change(planned=[["start", "503"], ["start", "503"]])
    with pytest.raises(ProviderError):
        await harness.provider.create(harness.spec("one"))
    await harness.provider.close()
    (first,) = harness.look()["deployments"]
    record = harness.data_dir / "instances" / "one.json"
    record.unlink()
    harness.change(planned=[["list", "nothing"]])
    harness.provider = harness.new_provider()
    await harness.provider.start()
    with pytest.raises(ProviderError):
        await harness.provider.create(harness.spec("one"))
    assert len(harness.look()["deployments"]) == 2
    await harness.provider.create(harness.spec("one"))
    assert harness.running("one") == 1
    assert len(list(await harness.provider.list_owned())) == 1
    assert first["id"] in {item["id"] for item in harness.look()["deployments"]}
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    assert harness.running("one") == 0
    assert list(await harness.provider.list_owned()) == []


@asynccontextmanager
async def second_gateway(harness: NosanaHarness, data_dir: Path) -> AsyncGenerator[NosanaProvider]:
    """Another gateway of the same installation, with a folder of its own."""
    context = ProviderContext(name="nosana", data_dir=data_dir, owner=harness.owner)
    provider = NosanaProvider(context, parse(harness.settings), limits=LIMITS, quiet_s=0.3)
    await provider.start()
    try:
        yield provider
    finally:
        await provider.close()


async def test_two_gateways_that_create_at_the_same_time_start_one(harness: NosanaHarness, tmp_path: Path) -> None:
    harness.change(create_s=1.0)
    late = asyncio.create_task(harness.provider.create(harness.spec("one")))
    await until(lambda: harness.look()["calls"].get("create", 0) == 1, 30)
    harness.change(create_s=0.0)
    async with second_gateway(harness, tmp_path / "second") as other:
        first = await other.create(harness.spec("one"))
        assert (await late).provider_instance_id == first.provider_instance_id
        assert started(harness) == ["one"]
        assert len(harness.look()["deployments"]) == 2
        for provider in (harness.provider, other):
            found = await provider.describe("one")
            assert found is not None
            assert found.provider_instance_id == first.provider_instance_id


async def test_a_draft_that_the_list_does_not_show_is_not_started(harness: NosanaHarness) -> None:
    harness.change(planned=[["list", "nothing"]] * 2)
    with pytest.raises(ProviderUnavailableError, match="does not list deployment"):
        await harness.provider.create(harness.spec("one"))
    assert started(harness) == []
    await harness.provider.create(harness.spec("one"))
    assert (started(harness), len(harness.look()["bodies"])) == (["one"], 1)


async def test_a_second_deployment_that_runs_is_stopped(harness: NosanaHarness, tmp_path: Path) -> None:
    """Started by a gateway that did not look again."""
    first = await harness.provider.create(harness.spec("one"))
    harness.change(twin=True)
    async with second_gateway(harness, tmp_path / "second") as other:
        await until(lambda: harness.running("one") == 2, 30)

        async def one_runs() -> bool:
            found = [item.provider_instance_id for item in await other.list_owned()]
            assert found == [first.provider_instance_id]
            return harness.running("one") == 1

        await until_async(one_runs, 30)
        for provider in (harness.provider, other):
            found = await provider.describe("one")
            assert found is not None
            assert (found.provider_instance_id, found.state) == (first.provider_instance_id, "RUNNING")


async def test_another_machine_finds_it_by_its_name(harness: NosanaHarness) -> None:
    made = await harness.provider.create(harness.spec("one"))
    await harness.provider.close()
    (harness.data_dir / "instances" / "one.json").unlink()
    harness.provider = harness.new_provider()
    await harness.provider.start()
    found = await harness.provider.describe("one")
    assert found is not None
    assert found.provider_instance_id == made.provider_instance_id
    again = await harness.provider.create(harness.spec("one"))
    assert (again.provider_instance_id, again.replica_id) == (made.provider_instance_id, "replica-1")
    assert started(harness) == ["one"]


async def test_a_record_that_is_damaged_is_set_aside(harness: NosanaHarness) -> None:
    made = await harness.provider.create(harness.spec("one"))
    path = harness.data_dir / "instances" / "one.json"
    path.write_text("{")
    await harness.restart()
    found = await harness.provider.describe("one")
    assert found is not None
    assert found.provider_instance_id == made.provider_instance_id
    assert path.with_suffix(".unreadable").exists()


async def test_an_account_without_credits_is_asked_for_nothing(harness: NosanaHarness) -> None:
    harness.change(balance=0)
    for _ in range(5):
        with pytest.raises(ProviderUnavailableError, match=r"has 0\.00 USD of credits left") as caught:
            await harness.provider.create(harness.spec("one"))
        assert caught.value.reason == "INSUFFICIENT_FUNDS"
        assert caught.value.retry_after_s is not None
    told = harness.look()
    assert (told["bodies"], told["calls"]["balance"]) == ([], 1), "no storm of requests"


async def test_credits_that_ran_out_are_told_and_asked_for_no_more(harness: NosanaHarness) -> None:
    harness.change(funds_short=True)
    await harness.provider.create(harness.spec("one"))

    async def failed() -> bool:
        found = await harness.provider.describe("one")
        return found is not None and found.state is InstanceState.FAILED

    await until_async(failed)
    found = await harness.provider.describe("one")
    assert found is not None
    assert found.reason == "INSUFFICIENT_FUNDS"
    assert "JOB_LIST_ERROR: Insufficient credits" in found.message
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.create(harness.spec("two"))
    assert caught.value.reason == "INSUFFICIENT_FUNDS"
    assert len(harness.look()["bodies"]) == 1
    await harness.provider.delete("one")
    await gone(harness.provider, "one")


async def test_what_nosana_refuses_is_refused_for_good(harness: NosanaHarness) -> None:
    harness.change(planned=[["create", "400"]])
    with pytest.raises(InstanceRejectedError, match="with 400") as caught:
        await harness.provider.create(harness.spec("one"))
    assert caught.value.reason == "NOSANA_REJECTED"
    with pytest.raises(InstanceRejectedError, match=r"has no container image here; give one as configuration\.image"):
        await harness.provider.create(harness.spec("one", image=""))
    with pytest.raises(InstanceRejectedError, match="no credential 'team-b'; credentials with a name: none"):
        await harness.provider.create(harness.spec("one", provider_credential_name="team-b"))
    with pytest.raises(InstanceRejectedError, match="env: PORT is set by the nosana provider"):
        await harness.provider.create(harness.spec("one", env={"PORT": "1"}))


async def test_a_creation_that_comes_too_fast_is_made_later(harness: NosanaHarness) -> None:
    harness.change(planned=[["create", "429"]])
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.create(harness.spec("one"))
    assert caught.value.reason == "RATE_LIMITED"
    await harness.provider.create(harness.spec("one"))
    assert len(harness.look()["bodies"]) == 1


async def test_named_credentials_are_accounts_of_their_own(harness: NosanaHarness) -> None:
    await harness.restart(**{"credential.team-b.api_key": f"nos_{harness.key}b"})
    await harness.provider.create(harness.spec("one", provider_credential_name="team-b"))
    assert harness.look()["deployments"] == []
    assert len(harness.fake.look(f"{harness.key}b")["deployments"]) == 1
    assert [item.name for item in await harness.provider.list_owned()] == ["one"]
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    assert harness.fake.look(f"{harness.key}b")["deployments"] == []


async def test_a_key_that_is_refused_is_told_without_it(harness: NosanaHarness) -> None:
    await harness.restart(api_key="nos_expired")
    with pytest.raises(ProviderUnavailableError, match="401: Unauthorized") as caught:
        await harness.provider.create(harness.spec("one"))
    assert caught.value.reason == "NOSANA_CREDENTIALS_REFUSED"
    assert "nos_expired" not in caught.value.message
    with pytest.raises(ProviderUnavailableError):
        await harness.provider.describe("one")


@pytest.mark.parametrize("fault", ["429", "503", "cut"])
async def test_looks_that_fail_for_a_moment_are_made_again(harness: NosanaHarness, fault: str) -> None:
    await harness.provider.create(harness.spec("one"))
    harness.change(streams=False, planned=[["get", fault]] * 2)
    assert await harness.provider.describe("one") is not None


async def test_a_look_that_fails_is_never_taken_for_nothing(harness: NosanaHarness) -> None:
    harness.change(streams=False)
    await harness.provider.create(harness.spec("one"))
    harness.change(planned=[["get", "500"], ["list", "500"]])
    with pytest.raises(ProviderUnavailableError, match="with 500"):
        await harness.provider.describe("one")
    with pytest.raises(ProviderUnavailableError, match="with 500"):
        await harness.provider.list_owned()
    assert await harness.provider.describe("one") is not None


@pytest.mark.parametrize("status", [301, 302, 404, 405, 408, 418])
async def test_what_a_proxy_says_while_one_looks_is_believed_for_nothing(harness: NosanaHarness, status: int) -> None:
    harness.change(streams=False, planned=[["list", f"proxy{status}"]])
    with pytest.raises(ProviderUnavailableError, match=f"with {status}"):
        await harness.provider.create(harness.spec("one"))
    await harness.provider.create(harness.spec("one"))
    for call in ("get", "jobs"):
        harness.change(planned=[[call, f"proxy{status}"]])
        with pytest.raises(ProviderUnavailableError, match=f"with {status}"):
            await harness.provider.describe("one")
    assert (harness.data_dir / "instances" / "one.json").exists()
    harness.change(planned=[["get", f"proxy{status}"], ["list", f"proxy{status}"]])
    await harness.provider.delete("one")
    await until(lambda: not harness.look()["deployments"], 30)


async def test_one_that_is_not_found_is_there_while_it_is_listed(harness: NosanaHarness) -> None:
    harness.change(streams=False)
    made = await harness.provider.create(harness.spec("one"))
    harness.change(planned=[["get", "404"]])
    found = await harness.provider.describe("one")
    assert found is not None
    assert found.provider_instance_id == made.provider_instance_id
    harness.change(planned=[["get", "404"]] * 3)
    with pytest.raises(ProviderUnavailableError, match="lists a deployment for one, and does not find it"):
        await harness.provider.describe("one")


@pytest.mark.parametrize("planned", [["list", "nothing"], ["get", "404"]])
async def test_what_is_to_be_ended_is_gone_only_when_nothing_shows_it(
    harness: NosanaHarness, planned: list[str]
) -> None:
    await harness.provider.create(harness.spec("one"))
    harness.change(planned=[planned])
    await harness.provider.delete("one")
    await until(lambda: not harness.look()["deployments"], 30)


@pytest.mark.parametrize("status", [301, 404, 405, 408, 409])
async def test_what_a_proxy_says_to_a_creation_does_not_give_it_up(harness: NosanaHarness, status: int) -> None:
    harness.change(planned=[["create", f"proxy{status}"], ["start", f"proxy{status}"]])
    for _ in range(2):
        with pytest.raises(ProviderError, match=f"with {status}") as caught:
            await harness.provider.create(harness.spec("one"))
        assert caught.value.retryable
        assert not isinstance(caught.value, InstanceRejectedError)
    await harness.provider.create(harness.spec("one"))
    assert (len(harness.look()["bodies"]), started(harness)) == (1, ["one"])


async def test_a_creation_that_a_proxy_did_not_wait_for_is_found_by_its_name(harness: NosanaHarness) -> None:
    harness.change(planned=[["create", "408_after"]])
    await harness.provider.create(harness.spec("one"))
    assert (len(harness.look()["bodies"]), started(harness)) == (1, ["one"])


@pytest.mark.parametrize("call", ["create", "start"])
async def test_a_call_that_is_not_paid_for_waits_for_credits(harness: NosanaHarness, call: str) -> None:
    harness.change(planned=[[call, "402"]])
    for _ in range(3):
        with pytest.raises(ProviderUnavailableError) as caught:
            await harness.provider.create(harness.spec("one"))
        assert caught.value.reason == "INSUFFICIENT_FUNDS"
    assert harness.look()["calls"][call] == 1, "no storm of requests"


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("list", "[]"),
        ("list", "{}"),
        ("list", '{"deployments": null}'),
        ("list", '{"deployments": {"a": 1}}'),
        ("list", '{"deployments": [{"name": "x"}]}'),
        ("list", '{"deployments": ["x"]}'),
        ("get", "{}"),
        ("get", '{"id": "another"}'),
        ("jobs", "[]"),
        ("jobs", '{"jobs": null}'),
        ("jobs", '{"jobs": [{"state": "RUNNING"}]}'),
    ],
)
async def test_an_answer_in_another_shape_does_not_say_that_there_is_nothing(
    harness: NosanaHarness, call: str, answer: str
) -> None:
    harness.change(streams=False)
    await harness.provider.create(harness.spec("one"))
    harness.change(planned=[[call, answer]])
    asked = harness.provider.list_owned() if call == "list" else harness.provider.describe("one")
    with pytest.raises(ProviderUnavailableError) as caught:
        await asked
    assert (caught.value.reason, caught.value.retryable) == ("BAD_ANSWER", True)


async def test_what_runs_under_a_key_that_was_taken_away_is_not_taken_for_gone(harness: NosanaHarness) -> None:
    await harness.restart(**{"credential.team-b.api_key": f"nos_{harness.key}"})
    await harness.provider.create(harness.spec("one", provider_credential_name="team-b"))
    await harness.restart()
    for ask in (harness.provider.describe("one"), harness.provider.create(harness.spec("one"))):
        with pytest.raises(ProviderUnavailableError, match=r"set credential\.team-b\.api_key"):
            await ask
    await harness.restart(**{"credential.team-b.api_key": f"nos_{harness.key}"})
    assert await harness.provider.describe("one") is not None
