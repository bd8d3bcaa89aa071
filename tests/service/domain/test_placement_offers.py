"""Placement on what a provider rents: every refusal, and which offer is the best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestration.service.domain.placement import candidates, capacity, never
from orchestration.service.domain.places import Offer, PoolView
from orchestration.store.records import Deployment, Pool, Reservation

POOL = Pool(id="p", name="pool", owner_type="user", owner_id="ann", provider="cloud")
OFFER = Offer(
    resource_id="m1",
    slug="market-one",
    gpu_type="NVIDIA A100",
    gpu_count=2,
    region="EU-West",
    pricing_model="on_demand",
    price_per_hour=2.0,
    available=3,
)
SPOT = replace(OFFER, pricing_model="spot", price_per_hour=1.0)
WANTED = Deployment(
    id="d", org_id="org", owner_id="ann", pool_id="p", model_name="m", engine="vllm", inference_model="x"
)
PREFER_SPOT = '{"spot": "prefer"}'
SPOT_ALONE = '{"spot": "prefer", "fallback_to_on_demand": false}'


def view(pool: Pool = POOL, *offers: Offer, **fields: Any) -> PoolView:
    described: dict[str, Any] = {"reserved": {}, "engines": ("vllm",), **fields}
    return PoolView(pool=pool, nodes=(), offers=offers or (OFFER,), **described)


FOR_GOOD: list[tuple[str, Pool, Offer, int, str, str]] = [
    ("gpu count", POOL, OFFER, 4, "GPU_COUNT_EXCEEDED", "gpu_per_replica 4 is more than the 2 GPUs"),
    ("no gpus", POOL, replace(OFFER, gpu_count=0), 1, "GPU_COUNT_EXCEEDED", "set gpu_per_replica to 0"),
    ("pool gpu count", replace(POOL, gpu_count=1), OFFER, 1, "GPU_COUNT_NOT_ALLOWED", "machines with 1"),
    ("gpu type", replace(POOL, allowed_gpu_types=("H100",)), OFFER, 1, "GPU_TYPE_NOT_ALLOWED", "allows H100"),
    ("region", replace(POOL, region_constraint=("us",)), OFFER, 1, "REGION_NOT_ALLOWED", "is in EU-West"),
    ("price", replace(POOL, max_cost_per_hour=1.5), OFFER, 1, "PRICE_CAP_EXCEEDED", "max_cost_per_hour 1.5"),
    ("spot", POOL, SPOT, 1, "SPOT_NOT_ALLOWED", "spot never"),
    ("auction", POOL, replace(SPOT, pricing_model="auction"), 1, "SPOT_NOT_ALLOWED", "(auction)"),
    (
        "spot alone",
        replace(POOL, scheduling_policy_json=SPOT_ALONE),
        OFFER,
        1,
        "ON_DEMAND_NOT_ALLOWED",
        "fallback_to_on_demand false",
    ),
]


@pytest.mark.parametrize(
    ("pool", "offer", "gpus", "reason", "text"), [row[1:] for row in FOR_GOOD], ids=[row[0] for row in FOR_GOOD]
)
def test_an_offer_that_can_never_be_taken(pool: Pool, offer: Offer, gpus: int, reason: str, text: str) -> None:
    wanted = replace(WANTED, gpu_per_replica=gpus)
    (found,) = candidates(wanted, view(pool, offer))
    assert (found.feasible, found.reason) == (False, reason)
    assert text in found.message
    refusal = never(wanted, view(pool, offer))
    assert refusal is not None
    assert (refusal.reason, refusal.message) == (found.reason, found.message)


FOR_NOW: list[tuple[str, Pool, Offer, dict[str, Any], str, str]] = [
    ("taken", POOL, replace(OFFER, available=0), {}, "NO_CAPACITY", "nothing left"),
    ("overtaken", POOL, replace(OFFER, available=-1), {}, "NO_CAPACITY", "nothing left"),
    (
        "price cap",
        replace(POOL, max_cost_per_hour=3),
        OFFER,
        {"reserved": {"": Reservation(1, 1, 1.5)}},
        "PRICE_CAP_REACHED",
        "3.5/h in all",
    ),
    (
        "max nodes",
        replace(POOL, max_nodes=2),
        OFFER,
        {"reserved": {"": Reservation(2, 2, 4.0)}},
        "POOL_FULL",
        "its max_nodes",
    ),
    ("switched off", replace(POOL, enabled=False), OFFER, {}, "POOL_NOT_ACTIVE", "takes no new replicas"),
    ("provider", POOL, OFFER, {"unavailable": "no credentials"}, "PROVIDER_UNAVAILABLE", "no credentials"),
    ("unknown", POOL, OFFER, {"offers_unknown": "not told yet"}, "OFFERS_UNKNOWN", "not told yet"),
]


@pytest.mark.parametrize(
    ("pool", "offer", "fields", "reason", "text"), [row[1:] for row in FOR_NOW], ids=[row[0] for row in FOR_NOW]
)
def test_an_offer_that_cannot_be_taken_now(
    pool: Pool, offer: Offer, fields: dict[str, Any], reason: str, text: str
) -> None:
    looked = view(pool, offer, **fields)
    (found,) = candidates(WANTED, looked)
    assert (found.feasible, found.reason) == (False, reason)
    assert text in found.message
    assert never(WANTED, looked) is None


def test_a_candidate_tells_what_it_is() -> None:
    (found,) = candidates(WANTED, view())
    assert found.feasible
    assert (found.resource_id, found.gpu_type, found.pricing_model) == ("m1", "NVIDIA A100", "on_demand")
    assert (found.price_per_hour, found.node_id) == (2.0, "")


@pytest.mark.parametrize("region", ["eu-west", "EU-WEST", " Eu-West "])
def test_regions_are_compared_without_case(region: str) -> None:
    assert candidates(WANTED, view(replace(POOL, region_constraint=("us", region))))[0].feasible


@pytest.mark.parametrize("meant", ["m1", "market-one"])
def test_a_provider_s_pool_is_one_of_its_offers_by_id_or_slug(meant: str) -> None:
    pool = replace(POOL, provider_pool_id=meant)
    other = replace(OFFER, resource_id="m2", slug="market-two", price_per_hour=0.1)
    best, refused = candidates(WANTED, view(pool, other, OFFER, offers_restricted=True))
    assert (best.resource_id, best.feasible) == ("m1", True)
    assert (refused.resource_id, refused.reason) == ("m2", "OTHER_PROVIDER_POOL")


@pytest.mark.parametrize(
    ("policy", "offers", "order"),
    [
        (PREFER_SPOT, [OFFER, replace(SPOT, price_per_hour=9.0)], ["spot", "on_demand"]),
        (PREFER_SPOT, [OFFER, replace(SPOT, available=0)], ["on_demand", "spot"]),
        (SPOT_ALONE, [OFFER, SPOT], ["spot", "on_demand"]),
        ("", [SPOT, OFFER], ["on_demand", "spot"]),
    ],
)
def test_spot_capacity(policy: str, offers: list[Offer], order: list[str]) -> None:
    found = candidates(WANTED, view(replace(POOL, scheduling_policy_json=policy), *offers))
    assert [item.pricing_model for item in found] == order
    assert found[0].feasible


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("", "cheap"), ('{"strategy": "pack"}', "small"), ('{"strategy": "spread"}', "unused")],
)
def test_strategies_choose_among_offers(policy: str, chosen: str) -> None:
    offers = [
        replace(OFFER, resource_id="cheap", price_per_hour=1.0, held=2),
        replace(OFFER, resource_id="small", price_per_hour=1.5, held=1, gpu_count=1),
        replace(OFFER, resource_id="unused", price_per_hour=3.0, held=0, gpu_count=8),
    ]
    assert candidates(WANTED, view(replace(POOL, scheduling_policy_json=policy), *offers))[0].resource_id == chosen


def test_a_full_place_stands_before_one_that_never_fits() -> None:
    found = candidates(WANTED, view(POOL, replace(OFFER, gpu_count=0, price_per_hour=0.1), replace(OFFER, available=0)))
    assert [item.reason for item in found] == ["NO_CAPACITY", "GPU_COUNT_EXCEEDED"]


def test_nothing_offered_is_no_reason_to_refuse_for_good() -> None:
    nothing = PoolView(pool=POOL, nodes=(), reserved={}, offers=())
    assert candidates(WANTED, nothing)[0].reason == "NO_OFFERS"
    assert never(WANTED, nothing) is None


def test_what_offers_bear_is_limited_by_money_and_max_nodes_alone() -> None:
    assert capacity(WANTED, view()) == (None, "")
    assert capacity(WANTED, view(replace(POOL, max_cost_per_hour=7.0)))[0] == 3
    assert capacity(WANTED, view(replace(POOL, max_nodes=2)))[0] == 2
    free = replace(OFFER, resource_id="free", price_per_hour=0.0)
    assert capacity(WANTED, view(replace(POOL, max_cost_per_hour=7.0), OFFER, free)) == (None, "")
