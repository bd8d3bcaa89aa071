"""What an operator sets for Ray, and what is said when it is wrong or missing."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from orchestration.service.providers.base import ProviderContext, ProviderUnavailableError
from orchestration.service.providers.ray.provider import RayProvider, create_provider
from orchestration.service.providers.ray.settings import parse
from orchestration.service.providers.unconfigured import UnconfiguredProvider

ADDRESS = {"address": "http://10.0.0.5:8265"}


def context(folder: Path, settings: dict[str, str]) -> ProviderContext:
    return ProviderContext(name="ray", data_dir=folder, owner="o", settings=settings)


def test_the_entry_point_makes_the_provider(tmp_path: Path) -> None:
    (entry,) = entry_points(group="orchestration.providers", name="ray")
    provider = entry.load()(context(tmp_path, ADDRESS))
    assert isinstance(provider, RayProvider)
    assert (provider.name, provider.capabilities.multi_node) == ("ray", True)


async def test_without_an_address_it_says_what_to_set(tmp_path: Path) -> None:
    provider = create_provider(context(tmp_path, {"price_per_gpu_hour": "2"}))
    assert isinstance(provider, UnconfiguredProvider)
    assert "provider ray is not configured on this gateway" in provider.reason
    with pytest.raises(ProviderUnavailableError, match=r"set address .* in \[providers\.ray\]"):
        await provider.list_resources()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"adress": "http://a"}, "unknown setting 'adress'; there are address, token, .*credential.NAME.token"),
        ({"address": "10.0.0.5:8265"}, "address is '10.0.0.5:8265', not the dashboard's URL such as"),
        ({"address": "http://user@host"}, "address is"),
        ({"address": "http://host:port"}, "address is"),
        ({"token": "alone"}, "address is ''"),
        ({**ADDRESS, "token": "two\nlines"}, "token holds characters"),
        ({"credential.east.token": "t"}, "credential.east.address is ''"),
        ({"credential.east.adress": "t"}, "'credential.east.adress' is not credential.NAME.address or"),
        ({"credential..token": "t"}, "'credential..token' is not"),
        ({"credential.default.address": "http://a"}, "cannot be called 'default'"),
        ({**ADDRESS, "cpus_per_replica": "0"}, "cpus_per_replica is 0, which is below 0.01"),
        ({**ADDRESS, "price_per_gpu_hour": "nan"}, "price_per_gpu_hour is nan"),
        ({**ADDRESS, "memory_gb_per_replica": "much"}, "memory_gb_per_replica is 'much', which is not a number"),
        ({**ADDRESS, "listen": "everywhere"}, "listen 'everywhere' is not an IP address"),
        ({**ADDRESS, "python": "python3; rm"}, "python is 'python3; rm'"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_provider(context(tmp_path, settings))


def test_named_clusters_stand_beside_the_one_without_a_name() -> None:
    found = parse({**ADDRESS, "credential.team.east.address": "https://east/ray/", "credential.team.east.token": "t"})
    assert {name: item.address for name, item in found.clusters.items()} == {
        "": "http://10.0.0.5:8265",
        "team.east": "https://east/ray",
    }
