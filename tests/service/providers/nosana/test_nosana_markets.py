"""Markets as resources, and the choice among them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.service.providers.base import CapacityError, InstanceRejectedError
from orchestration.service.providers.nosana.models import to_market
from tests.support.fake_nosana_process import NosanaHarness


def slug_of(harness: NosanaHarness) -> str:
    """The market of the deployment that was made last."""
    told = harness.look()
    wanted = told["bodies"][-1]["market"]
    return str(next(market["slug"] for market in told["markets"] if market["address"] == wanted))


async def test_markets_are_resources_with_price_and_age(harness: NosanaHarness) -> None:
    harness.change(markets=[{"nodes": [{}, {}], "lowest_vram": 24}])
    found = {item.metadata["slug"]: item for item in await harness.provider.list_resources()}
    assert sorted(found) == ["2x-a100", "nvidia-3090", "nvidia-4090"]
    first = found["nvidia-4090"]
    assert (first.gpu_type, first.gpu_count, first.gpu_memory_gb) == ("NVIDIA RTX 4090", 1, 24.0)
    assert first.price_per_hour == pytest.approx(0.55), "the network's fee is part of the price"
    assert (first.available_count, first.metadata["availability"]) == (2, "told")
    assert float(first.metadata["age_seconds"]) >= 0
    assert (found["nvidia-3090"].available_count, found["nvidia-3090"].metadata["availability"]) == (10, "assumed")
    assert found["2x-a100"].gpu_count == 2
    assert found["2x-a100"].price_per_hour == pytest.approx(1.65)
    await harness.provider.list_resources()
    assert harness.look()["calls"]["markets"] == 1, "the list is kept for a while"


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"provider_pool_id": "nvidia-4090"}, "nvidia-4090"),
        ({"gpu_types": ("rtx4090", "a100")}, "nvidia-4090"),
        ({"gpu_types": ("rtx4090", "rtx3090")}, "nvidia-3090"),
        ({"gpu_count": 2, "gpu_types": ("a100",)}, "2x-a100"),
    ],
)
async def test_the_market_is_the_named_one_or_the_cheapest_that_fits(
    harness: NosanaHarness, changes: dict[str, Any], slug: str
) -> None:
    await harness.provider.create(harness.spec("one", **changes))
    assert slug_of(harness) == slug


async def test_a_market_without_a_price_is_not_taken_for_a_free_one(harness: NosanaHarness) -> None:
    harness.change(markets=[{"usd_reward_per_hour": None}])
    found = {item.metadata["slug"]: item for item in await harness.provider.list_resources()}
    assert found["nvidia-4090"].available_count == 0
    assert found["nvidia-4090"].metadata["availability"] == "no price is told"
    with pytest.raises(CapacityError):
        await harness.provider.create(harness.spec("one", gpu_types=("rtx4090",)))


async def test_the_place_that_was_chosen_counts_before_the_pools_market(harness: NosanaHarness) -> None:
    address = next(item["address"] for item in harness.look()["markets"] if item["slug"] == "nvidia-3090")
    made = await harness.provider.create(harness.spec("one", resource_id=address, provider_pool_id="nvidia-4090"))
    assert slug_of(harness) == "nvidia-3090"
    assert made.price_per_hour == pytest.approx(0.22)


async def test_a_market_that_is_not_there_is_named(harness: NosanaHarness) -> None:
    with pytest.raises(InstanceRejectedError, match=r"no market 'nvidia-5090'; there are nvidia-4090, nvidia-3090"):
        await harness.provider.create(harness.spec("one", provider_pool_id="nvidia-5090"))
    with pytest.raises(CapacityError, match="3 GPUs of any type"):
        await harness.provider.create(harness.spec("one", gpu_count=3))
    assert harness.look()["deployments"] == []


@pytest.mark.parametrize(
    ("told", "count", "price"),
    [
        ({"name": "8x H100 SXM", "usd_reward_per_hour": "16.0"}, 8, 16.0),
        ({"slug": "nvidia-2x-4090", "usd_reward_per_hour": True}, 2, 0.0),
        ({"name": "RTX 4090", "usd_reward_per_hour": "free"}, 1, 0.0),
        ({"name": "NVIDIA 4x", "usd_reward_per_hour": float("inf")}, 4, 0.0),
        ({"name": "max1x1"}, 1, 0.0),
        ({"name": 7, "usd_reward_per_hour": 2, "network_fee_percentage": "50"}, 1, 3.0),
    ],
)
def test_markets_are_read_with_care(told: dict[str, Any], count: int, price: float) -> None:
    market = to_market({"address": "a", **told})
    assert (market.gpu_count, market.price_per_hour) == (count, price)
