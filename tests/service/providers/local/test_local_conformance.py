"""The local provider keeps the provider protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from orchestration.service.providers.base import ProviderContext
from tests.support.provider_conformance import ProviderConformance
from tests.support.provider_local import LocalHarness, local_harness


class TestLocalConformance(ProviderConformance):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[LocalHarness]:
        async with local_harness(tmp_path) as harness:
            yield harness


async def test_the_entry_point_makes_the_provider(tmp_path: Path) -> None:
    (entry,) = entry_points(group="orchestration.providers", name="local")
    provider = entry.load()(ProviderContext(name="here", data_dir=tmp_path, owner="o"))
    await provider.start()
    assert provider.name == "here"
    await provider.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hots": "127.0.0.1"}, "unknown setting 'hots'"),
        ({"host": "not an address"}, "host 'not an address'"),
        ({"price_per_hour": "cheap"}, "price_per_hour is 'cheap'"),
        ({"price_per_hour": "-1"}, "price_per_hour is -1"),
        ({"price_per_hour": "nan"}, "price_per_hour is nan"),
        ({"log_segments": "0"}, "log_segments is 0"),
        ({"log_segment_bytes": "10"}, "log_segment_bytes is 10"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    (entry,) = entry_points(group="orchestration.providers", name="local")
    with pytest.raises(ValueError, match=words):
        entry.load()(ProviderContext(name="local", data_dir=tmp_path, owner="o", settings=settings))
