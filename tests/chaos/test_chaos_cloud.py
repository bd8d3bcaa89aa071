"""The fake cloud keeps the provider protocol, and goes wrong as it is told."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from orchestration.service.providers.base import CapacityError, InstanceSpec, ProviderError, ProviderUnavailableError
from tests.support.cloud.process import CloudProcess
from tests.support.cloud.provider import CloudProvider, cloud_capabilities
from tests.support.provider_conformance import ProviderConformance
from tests.support.provider_processes import make_spec


class CloudHarness:
    """An account of its own."""

    def __init__(self, cloud: CloudProcess, session: aiohttp.ClientSession) -> None:
        self.cloud = cloud
        self.account = uuid.uuid4().hex
        cloud.make(self.account, offers=[{"resource_id": "big"}])
        self.provider = CloudProvider(
            "cloud",
            f"{cloud.url}/a/{self.account}",
            owner="test",
            capabilities=cloud_capabilities(),
            session=session,
            follow_poll_s=0.02,
            answer_within_s=0.05,
        )

    def spec(self, name: str, **env: str) -> InstanceSpec:
        return make_spec(name, owner="test", command=("serve",), env={"CLOUD_PREFIX": "", **env})

    def serving(self, name: str) -> InstanceSpec:
        return self.spec(name, CLOUD_LINES="3")

    def exiting(self, name: str, lines: int, delay_s: float = 0) -> InstanceSpec:
        exit_s = str(lines * max(delay_s, 0.01))
        return self.spec(name, CLOUD_LINES=str(lines), CLOUD_EXIT_S=exit_s, CLOUD_EXIT_CODE="3")

    def running(self, name: str) -> int:
        found = self.cloud.look(self.account)["instances"]
        return sum(item["name"] == name and item["state"] == "RUNNING" for item in found)

    def created(self) -> list[str]:
        return [entry["name"] for entry in self.cloud.look(self.account)["journal"] if entry["what"] == "created"]

    def change(self, **settings: Any) -> None:
        self.cloud.change(self.account, **settings)


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudProcess]:
    with CloudProcess() as started:
        yield started


@pytest.fixture
async def harness(cloud: CloudProcess) -> AsyncIterator[CloudHarness]:
    async with aiohttp.ClientSession() as session:
        yield CloudHarness(cloud, session)


class TestCloudConformance(ProviderConformance):
    """The same suite as of every provider."""


@pytest.mark.parametrize(
    ("fault", "error", "created"),
    [
        ("fail_before", ProviderUnavailableError, 0),
        ("fail_after", ProviderError, 1),
        ("cut", aiohttp.ClientError, 1),
        ("late", ProviderError, 0),
        ("capacity", CapacityError, 0),
    ],
)
async def test_a_creation_that_fails_has_its_effect_or_not(
    harness: CloudHarness, fault: str, error: type[Exception], created: int
) -> None:
    harness.change(planned=[("create", fault)])
    with pytest.raises(error):
        await harness.provider.create(harness.serving("one"))
    assert len(harness.created()) == created
    await harness.provider.create(harness.serving("one"))
    assert harness.created() == ["one"], "asked again, it is the same instance"


async def test_what_is_late_comes_after_its_caller_has_given_up(harness: CloudHarness) -> None:
    harness.change(planned=[("create", "late")], late_s=0.2)
    with pytest.raises(ProviderError, match="no answer"):
        await harness.provider.create(harness.serving("one"))
    for _ in itertools.count():
        if await harness.provider.describe("one") is not None:
            break
    assert harness.created() == ["one"]


async def test_a_list_that_lags_shows_what_was(harness: CloudHarness) -> None:
    await harness.provider.create(harness.serving("old"))
    harness.change(list_lag_s=3600.0)
    assert list(await harness.provider.list_owned()) == []
    harness.change(list_lag_s=0.0)
    assert [item.name for item in await harness.provider.list_owned()] == ["old"]


async def test_a_full_cloud_gives_what_is_there(harness: CloudHarness) -> None:
    await harness.provider.create(harness.serving("one"))
    harness.change(planned=[("create", "capacity")])
    assert (await harness.provider.create(harness.serving("one"))).name == "one"


async def test_a_lost_node_ends_what_ran_on_it_and_takes_nothing_new(harness: CloudHarness) -> None:
    spec = make_spec("one", owner="test", command=("serve",), node="n")
    await harness.provider.create(spec)
    harness.change(lose=["n"])
    found = await harness.provider.describe("one")
    assert found is not None
    assert (found.state, found.reason) == ("FAILED", "NODE_LOST")
    with pytest.raises(CapacityError):
        await harness.provider.create(make_spec("two", owner="test", command=("serve",), node="n"))
