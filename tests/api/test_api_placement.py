"""Pools, placement and costs as callers see them: on this machine, on agents' nodes, and on what is rented."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import Provider, ProviderContext
from tests.support.caller import Caller
from tests.support.faces import face_of
from tests.support.gateway import eventually, running_gateway, tiny
from tests.support.placing import Cloud

UNHONOURED: list[tuple[dict[str, Any], str, str]] = [
    ({"provider_pool_id": "market"}, "provider_pool_id", "provider local is this machine alone"),
    ({"provider_credential_name": "main"}, "provider_credential_name", "provider local is this machine alone"),
    ({"scheduling_policy_json": '{"spot": "prefer"}'}, "scheduling_policy_json.spot", "local offers no spot capacity"),
]


async def test_what_this_machine_cannot_honour_is_refused_by_its_name(api: Caller) -> None:
    pool_id = await api.make_pool()
    for fields, field, says in UNHONOURED:
        new = {"pool_name": "b", "owner_type": "user", "owner_id": "ann", "provider": "local", **fields}
        assert says in await api.invalid(field, "RegisterPool", **new)
        assert says in await api.invalid(field, "UpdatePool", pool_id=pool_id, **fields)
    assert (await api.call("ListPools", owner_id="ann"))["total_size"] == 1


async def test_spot_is_refused_where_the_provider_has_none(api: Caller) -> None:
    pool_id = await api.make_pool(provider="nosana", provider_pool_id="market", provider_credential_name="main")
    fields = {"pool_id": pool_id, "scheduling_policy_json": '{"spot": "prefer"}'}
    assert "provider nosana offers no spot" in await api.invalid("scheduling_policy_json.spot", "UpdatePool", **fields)


async def test_validate_only_tells_of_every_place_also_when_none_is_free(api: Caller) -> None:
    off = await api.make_pool("off")
    await api.call("UpdatePool", pool_id=off, is_active=False)
    owned = await api.make_pool("owned", is_dedicated=True)
    far = await api.make_pool("far", region_constraint=["eu"])
    request = tiny(off, owner_id="bob", fallback_pool_ids=[owned, far], validate_only=True)
    found = (await api.call("DeployModel", **request))["candidates"]
    assert [(item["pool_id"], item["feasible"], item["reason"]) for item in found] == [
        (off, False, "POOL_NOT_ACTIVE"),
        (owned, False, "POOL_DEDICATED"),
        (far, False, "REGION_NOT_ALLOWED"),
    ]
    assert all(item["message"] for item in found)
    assert [bool(item["node_id"]) for item in found] == [False, False, True]
    alone = await api.refused(
        "FAILED_PRECONDITION", "REGION_NOT_ALLOWED", "DeployModel", **tiny(far, validate_only=True)
    )
    assert "constrained to eu" in alone.message


@dataclass(frozen=True)
class Entry:
    """An installed provider, as entry points tell of one."""

    name: str
    provider: Provider

    def load(self) -> Callable[[ProviderContext], Provider]:
        """What makes it."""
        return lambda context: self.provider


@pytest.fixture
def market() -> Cloud:
    market = Cloud("market")
    market.offer("big", 8.0, gpu_type="H100", gpu_count=8, region="us")
    market.offer("small", 3600.0, count=2, region="eu")
    market.offer("small", 1800.0, count=1, region="eu", pricing_model="spot")
    return market


@pytest.fixture
async def rented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: Cloud) -> AsyncIterator[Caller]:
    """A caller of a gateway that has a marketplace and a provider whose nodes agents register."""
    added = (Entry("market", market), Entry("fleet", Cloud("fleet", nodes=True)))

    def all_installed(group: str) -> tuple[EntryPoint | Entry, ...]:
        return (*entry_points(group=group), *added)

    monkeypatch.setattr("orchestration.service.providers.registry.entry_points", all_installed)
    async with running_gateway(tmp_path, local_region="Eu") as gateway:
        caller = Caller(face_of("grpc", gateway), gateway)
        yield caller
        await caller.clean_up()


def wanted(pool_id: str, **fields: Any) -> dict[str, Any]:
    return tiny(pool_id, **{"gpu_per_replica": 1, "configuration": {"image": "serve:1"}, **fields})


async def placed(api: Caller, deployment_id: str) -> dict[str, Any]:
    """The deployment once its first replica was started."""

    async def look() -> dict[str, Any] | None:
        found = await api.status(deployment_id)
        states = [item["state"] for item in found["replica_statuses"]]
        return found if states and set(states) <= {"STARTING", "READY"} else None

    return dict(await eventually(look, within_s=60))


async def test_an_offer_is_explained_taken_and_paid(rented: Caller) -> None:
    fields: dict[str, Any] = {
        "provider": "market",
        "region_constraint": ["EU"],
        "scheduling_policy_json": '{"spot": "prefer"}',
    }
    pool_id = await rented.make_pool(**fields)
    candidates = (await rented.call("DeployModel", **wanted(pool_id, validate_only=True)))["candidates"]
    told = [(item["provider_resource_id"], item["pricing_model"], item["reason"]) for item in candidates]
    assert told == [("small", "spot", ""), ("small", "on_demand", ""), ("big", "on_demand", "REGION_NOT_ALLOWED")]
    assert (candidates[0]["gpu_type"], candidates[0]["price_per_hour"]) == ("A100", 1800.0)
    deployment_id = (await rented.call("DeployModel", **wanted(pool_id, replicas=2)))["deployment_id"]
    found = await placed(rented, deployment_id)
    paid = {item["pricing_model"]: item["price_per_hour"] for item in found["replica_statuses"]}
    assert paid == {"spot": 1800.0, "on_demand": 3600.0}
    assert found["cost_per_hour"] == (await rented.call("GetPool", pool_id=pool_id))["cost_per_hour"] == 5400.0

    async def grown() -> bool:
        return bool((await rented.status(deployment_id))["cost_so_far"] > 1.0)

    await eventually(grown)
    await rented.terminate(deployment_id)
    stopped = await rented.status(deployment_id)
    assert (stopped["cost_per_hour"], stopped["cost_so_far"] > 1.0) == (0.0, True)
    assert await rented.status(deployment_id) == stopped


async def test_a_rented_machine_that_no_offer_has_can_never_be_had(rented: Caller) -> None:
    pool_id = await rented.make_pool(provider="market")
    request = wanted(pool_id, gpu_per_replica=16)
    error = await rented.refused("FAILED_PRECONDITION", "GPU_COUNT_EXCEEDED", "DeployModel", **request)
    assert "gpu_per_replica 16 is more than the 8 GPUs of offer 'big'" in error.message
    assert "provider market runs a replica on one machine" in error.message


async def test_replicas_run_on_nodes_that_agents_registered(rented: Caller) -> None:
    pool_id = await rented.make_pool(provider="fleet", max_nodes=1)
    waiting = (await rented.call("DeployModel", **wanted(pool_id)))["deployment_id"]

    async def told() -> bool:
        return "has no nodes yet" in (await rented.status(waiting))["error_message"]

    await eventually(told)
    described = {"provider": "fleet", "pool_id": pool_id, "gpu_type": "A100", "gpu_total": 2, "price_per_hour": 0.5}
    node_id = (await rented.call("RegisterNode", provider_instance_id="gpu-1", **described))["node_id"]
    await rented.call("RegisterNode", provider_instance_id="gpu-2", **described)
    found = await placed(rented, waiting)
    used = found["replica_statuses"][0]["node_id"]
    second = (await rented.call("DeployModel", **wanted(pool_id)))["deployment_id"]
    assert (await placed(rented, second))["replica_statuses"][0]["node_id"] == used
    candidates = (await rented.call("DeployModel", **wanted(pool_id, validate_only=True)))["candidates"]
    assert {item["reason"] for item in candidates} == {"NO_FREE_GPUS", "POOL_FULL"}
    assert node_id in {item["node_id"] for item in candidates}
    inventory = (await rented.call("ListPoolInventory", pool_id=pool_id))["nodes"]
    assert sorted(node["gpu_allocated"] for node in inventory) == [0, 2]


async def test_this_machine_stands_where_the_gateway_is_told(rented: Caller) -> None:
    pool_id = await rented.make_pool(region_constraint=["EU"])
    (node,) = (await rented.call("ListPoolInventory", pool_id=pool_id))["nodes"]
    assert node["region"] == "Eu"
    await rented.reach(await rented.deploy(pool_id), "RUNNING")
