"""Settings of the Nosana provider, and what it says without any."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from orchestration.service.providers.base import ProviderContext, ProviderUnavailableError
from orchestration.service.providers.nosana import create
from orchestration.service.providers.nosana.settings import parse
from orchestration.service.providers.unconfigured import UnconfiguredProvider


def test_the_entry_point_makes_the_provider() -> None:
    (entry,) = entry_points(group="orchestration.providers", name="nosana")
    assert entry.load() is create


async def test_without_a_key_it_says_what_it_needs(tmp_path: Path) -> None:
    provider = create(ProviderContext(name="nosana", data_dir=tmp_path, owner="o"))
    assert isinstance(provider, UnconfiguredProvider)
    assert "provider nosana is not configured on this gateway: set api_key in [providers.nosana]" in provider.reason
    assert provider.capabilities.kind == "marketplace"
    with pytest.raises(ProviderUnavailableError, match="set api_key"):
        await provider.list_resources()


def test_credentials_have_names() -> None:
    settings = parse({"api_key": "nos_a", "credential.team-b.api_key": " nos_b "})
    assert settings.keys == {"": "nos_a", "team-b": "nos_b"}
    assert "nos_a" not in repr(settings)
    assert parse({"credential.team-b.api_key": "nos_b"}).keys == {"team-b": "nos_b"}


def test_every_setting_is_read() -> None:
    settings = parse(
        {
            "api_key": "nos_a",
            "base_url": "https://dashboard.example/",
            "node_url": "https://{node}.example",
            "strategy": "infinite",
            "timeout_minutes": "90",
            "confidential": "False",
            "model_resources": "false",
            "assumed_available": "3",
            "poll_s": "0.5",
            "result_wait_s": "7",
            "results_kept_hours": "1",
            "ipfs_gateways": "https://a.example;timeout_s=3",
        }
    )
    assert settings.base_url == "https://dashboard.example"
    assert (settings.strategy, settings.timeout_minutes, settings.confidential) == ("INFINITE", 90, False)
    assert (settings.model_resources, settings.assumed_available, settings.poll_s) == (False, 3, 0.5)
    assert (settings.result_wait_s, settings.results_kept_hours) == (7, 1)
    assert [(item.url, item.timeout_s) for item in settings.ipfs_gateways] == [("https://a.example", 3.0)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_keys": "x"}, "unknown setting 'api_keys'; there are api_key, base_url"),
        ({"credential.a.token": "x"}, "unknown setting 'credential.a.token'"),
        ({"credential.api_key": "x"}, "unknown setting 'credential.api_key'"),
        ({"api_key": " "}, "api_key is empty"),
        ({"strategy": "FOREVER"}, "strategy is 'FOREVER'; there are SIMPLE-EXTEND"),
        ({"strategy": "INFINITE", "timeout_minutes": "10"}, "INFINITE needs at least 60"),
        ({"timeout_minutes": "0"}, "timeout_minutes is 0; expected 1 to 10080"),
        ({"timeout_minutes": "nan"}, "timeout_minutes is nan"),
        ({"timeout_minutes": "long"}, "timeout_minutes is 'long', which is not a number"),
        ({"base_url": "dashboard"}, "base_url is 'dashboard'"),
        ({"confidential": "yes"}, "confidential is 'yes'; expected true or false"),
        ({"ipfs_gateways": "x"}, "ipfs_gateways: 'x' is no gateway"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=r"nosana provider: ") as caught:
        parse(settings)
    assert words in str(caught.value)
