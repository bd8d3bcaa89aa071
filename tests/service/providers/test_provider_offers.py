"""What providers offer is asked in the background, and an old answer counts until it is too old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.service.providers import offers as module
from orchestration.service.providers import registry as registry_module
from orchestration.service.providers.base import ProviderContext
from orchestration.service.providers.nosana.provider import CAPABILITIES
from orchestration.service.providers.offers import Offers, rents
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.providers.unconfigured import UnconfiguredProvider
from orchestration.service.usecases.providers import FRESH_S, ProviderUseCases
from orchestration.v1.compute_pools_pb2 import ListProviderResourcesRequest
from tests.support.placing import Cloud
from tests.support.stores import FakeClock, eventually


def cloud(name: str = "cloud") -> Cloud:
    made = Cloud(name)
    made.offer("m1", 2.0)
    return made


def ids(offers: Offers, name: str = "cloud") -> list[str]:
    return [item.provider_resource_id for item in offers.of(name).resources]


async def test_nothing_is_known_before_the_first_answer() -> None:
    offers = Offers([cloud()], clock=FakeClock(1000.0))
    assert offers.unknown_reason("cloud") == "provider cloud has not told yet what it offers"
    await offers.refresh()
    assert (offers.unknown_reason("cloud"), ids(offers), offers.of("cloud").asked_at) == ("", ["m1"], 1000.0)


async def test_the_last_good_answer_counts_while_the_provider_fails() -> None:
    provider = cloud()
    offers = Offers([provider])
    await offers.refresh()
    provider.unreachable = "the market is closed"
    await offers.refresh()
    assert (offers.unknown_reason("cloud"), ids(offers)) == ("", ["m1"])


async def test_an_answer_that_is_too_old_does_not_count_and_says_why() -> None:
    provider, uptime = cloud(), FakeClock(50.0)
    offers = Offers([provider], monotonic=uptime, max_age_s=600)
    await offers.refresh()
    provider.unreachable = "the market is closed"
    await offers.refresh()
    uptime.now += 700
    assert offers.unknown_reason("cloud") == (
        "provider cloud has not told what it offers for more than 600 s: the market is closed"
    )
    provider.unreachable = ""
    await offers.refresh()
    assert offers.unknown_reason("cloud") == ""


async def test_one_that_never_answered_is_told_with_its_error() -> None:
    provider = cloud()
    provider.unreachable = "no route"
    offers = Offers([provider])
    await offers.refresh()
    assert offers.unknown_reason("cloud") == "provider cloud has not told yet what it offers: no route"


async def test_what_was_told_a_moment_ago_is_given_with_its_age_and_asked_for_no_second_time() -> None:
    provider, uptime = cloud(), FakeClock(50.0)
    registry = ProviderRegistry({"cloud": provider})
    registry.offers = Offers([provider], monotonic=uptime)
    await registry.offers.refresh()
    provider.offer("m2", 1.0)
    uptime.now += 3.0
    answer = await ProviderUseCases(registry).list_provider_resources(ListProviderResourcesRequest(provider="cloud"))
    assert [(item.provider_resource_id, item.metadata["age_seconds"]) for item in answer.resources] == [("m1", "3")]
    uptime.now += FRESH_S
    answer = await ProviderUseCases(registry).list_provider_resources(ListProviderResourcesRequest(provider="*"))
    assert [item.provider_resource_id for item in answer.resources] == ["m1", "m2"]


async def test_the_age_of_an_answer_is_on_top_of_what_its_provider_says_of_it() -> None:
    provider, uptime = Cloud("cloud"), FakeClock(50.0)
    offers = Offers([provider], monotonic=uptime)
    for name, age in (("cached", "40"), ("odd", "a while")):
        provider.offer(name, 2.0)
        provider.offers[-1] = replace(provider.offers[-1], metadata={"age_seconds": age})
    await offers.refresh()
    uptime.now += 2.0
    recent = offers.recent("cloud", 5.0)
    assert recent is not None
    assert {item.provider_resource_id: item.metadata["age_seconds"] for item in recent} == {
        "cached": "42",
        "odd": "a while",
    }
    provider.unreachable = "the market is closed"
    await offers.refresh()
    assert offers.recent("cloud", 5.0) is None


class Broken(Cloud):
    """Fails with what no provider should raise."""

    async def list_resources(self) -> tuple[()]:
        """Raises."""
        raise KeyError("secret")


class Silent(Cloud):
    """Never answers."""

    async def list_resources(self) -> tuple[()]:
        """Waits."""
        await asyncio.Event().wait()
        return ()


async def test_one_that_fails_or_hangs_does_not_keep_the_others_from_being_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIME_LIMIT_S", 0.2)
    offers = Offers([Broken("broken"), cloud(), Silent("silent")])
    await offers.refresh()
    assert ids(offers) == ["m1"]
    assert "did not answer within 0.2 s" in offers.unknown_reason("silent")
    assert "secret" not in offers.unknown_reason("broken")
    assert offers.unknown_reason("broken") != ""


async def test_a_registry_asks_from_its_start_and_at_once_when_it_is_told_to() -> None:
    provider = cloud()
    registry = ProviderRegistry({"cloud": provider}, offers_interval_s=3600)
    await registry.start()
    await eventually(lambda: ids(registry.offers) == ["m1"])
    provider.offer("m2", 1.0)
    registry.offers.refresh_soon()
    await eventually(lambda: ids(registry.offers) == ["m1", "m2"])
    await registry.close()


def test_only_those_that_rent_are_asked() -> None:
    marketplace = CAPABILITIES
    assert rents(marketplace)
    assert not rents(replace(marketplace, places_on_nodes=True))
    assert not rents(replace(marketplace, kind="local"))
    registry = ProviderRegistry({"nosana": UnconfiguredProvider("nosana", marketplace)})
    assert registry.offers.of("nosana").resources == ()


class Installed:
    """A provider's entry point, as an installed package declares it."""

    name = "cloud"

    def load(self) -> Callable[[ProviderContext], Cloud]:
        """Makes the provider."""
        return lambda _context: cloud()


def installed(*, group: str) -> list[Installed]:
    """The entry points that there are."""
    assert group == registry_module.ENTRY_POINT_GROUP
    return [Installed()]


async def test_when_a_provider_was_asked_is_told_in_the_gateway_s_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was placed since is told by the rows, which are written in that time, whatever the wall clock says."""
    monkeypatch.setattr(registry_module, "entry_points", installed)
    registry = ProviderRegistry.discover(tmp_path, "test", {}, clock=FakeClock(1000.0))
    await registry.offers.refresh()
    assert registry.offers.of("cloud").asked_at == 1000.0
