"""Pools: registered, read, changed and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.gateway import eventually, tiny

POOL = {"pool_name": "gpus", "owner_type": "user", "owner_id": "ann", "provider": "local"}


async def test_a_pool_is_given_back_as_it_was_registered(api: Caller) -> None:
    given = {
        **POOL,
        "provider": "nosana",
        "allowed_gpu_types": ["RTX 4090"],
        "max_cost_per_hour": 2.5,
        "is_dedicated": True,
        "provider_pool_id": "market",
        "scheduling_policy_json": '{"strategy": "spread"}',
        "provider_credential_name": "main",
        "gpu_count": 2,
        "region_constraint": ["eu"],
        "max_nodes": 3,
    }
    answer = await api.call("RegisterPool", **given)
    assert answer["status"] == "CREATED"
    pool = answer["pool"]
    assert {name: pool[name] for name in given} == given
    assert pool["pool_id"] == answer["pool_id"]
    assert (pool["state"], pool["is_active"]) == ("ACTIVE", True)
    assert pool["created_at"] == pool["updated_at"] != ""
    assert await api.call("GetPool", pool_id=answer["pool_id"]) == pool
    assert (await api.call("ListPools", owner_id="ann"))["pools"] == [pool]


async def test_what_is_not_set_is_printed_all_the_same(api: Caller) -> None:
    pool = (await api.call("RegisterPool", **POOL))["pool"]
    expected: dict[str, Any] = {
        "allowed_gpu_types": [],
        "max_cost_per_hour": 0.0,
        "is_dedicated": False,
        "provider_pool_id": "",
    }
    assert {name: pool[name] for name in expected} == expected


async def test_organization_is_taken_as_org(api: Caller) -> None:
    answer = await api.call("RegisterPool", **{**POOL, "owner_type": "organization"})
    assert answer["pool"]["owner_type"] == "org"
    await api.refused("ALREADY_EXISTS", "POOL_NAME_TAKEN", "RegisterPool", **{**POOL, "owner_type": "org"})


async def test_a_name_is_taken_for_one_owner_only(api: Caller) -> None:
    pool_id = (await api.call("RegisterPool", **POOL))["pool_id"]
    error = await api.refused("ALREADY_EXISTS", "POOL_NAME_TAKEN", "RegisterPool", **{**POOL, "provider": "nosana"})
    assert error.info["metadata"]["pool_id"] == pool_id
    for other in ({"owner_id": "bob"}, {"owner_type": "org"}, {"pool_name": "more"}):
        await api.call("RegisterPool", **{**POOL, **other})


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"pool_name": ""}, "pool_name", "1 character"),
    ({"pool_name": "x" * 254}, "pool_name", "253"),
    ({"owner_type": "team"}, "owner_type", "org"),
    ({"owner_id": ""}, "owner_id", "1 character"),
    ({"provider": ""}, "provider", "1 character"),
    ({"max_cost_per_hour": -1}, "max_cost_per_hour", "0"),
    ({"max_cost_per_hour": "NaN"}, "max_cost_per_hour", "finite"),
    ({"max_cost_per_hour": "Infinity"}, "max_cost_per_hour", "finite"),
    ({"gpu_count": -1}, "gpu_count", "0"),
    ({"max_nodes": -1}, "max_nodes", "0"),
    ({"allowed_gpu_types": [""]}, "allowed_gpu_types[0]", "1 character"),
    ({"request_id": "k" * 256}, "request_id", "255"),
    ({"scheduling_policy_json": "{"}, "scheduling_policy_json", "JSON object"),
    ({"scheduling_policy_json": "[]"}, "scheduling_policy_json", "JSON object"),
    ({"scheduling_policy_json": '{"strategi": "pack"}'}, "scheduling_policy_json.strategi", "'strategy'"),
    ({"scheduling_policy_json": '{"strategy": "magic"}'}, "scheduling_policy_json.strategy", "cheapest"),
]


async def test_a_wrong_field_is_named(api: Caller) -> None:
    for change, field, says in WRONG:
        assert says in await api.invalid(field, "RegisterPool", **{**POOL, **change})
    assert (await api.call("ListPools", owner_id="ann"))["total_size"] == 0


async def test_every_wrong_field_is_named_at_once(api: Caller) -> None:
    error = await api.refused("INVALID_ARGUMENT", "INVALID_FIELD", "RegisterPool", owner_type="user", gpu_count=-1)
    assert set(error.violations) == {"pool_name", "owner_id", "provider", "gpu_count"}


async def test_an_unknown_provider_is_told_which_there_are(api: Caller) -> None:
    error = await api.refused(
        "INVALID_ARGUMENT", "UNKNOWN_PROVIDER", "RegisterPool", **{**POOL, "provider": "starbucks"}
    )
    for name in ("'starbucks'", "kubernetes", "local", "nosana", "ray"):
        assert name in error.violations["provider"]


async def test_an_unknown_pool_is_not_found(api: Caller) -> None:
    for rpc in ("GetPool", "UpdatePool", "DeletePool", "ListPoolInventory"):
        error = await api.refused("NOT_FOUND", "POOL_NOT_FOUND", rpc, pool_id="nowhere")
        resource = error.detail("ResourceInfo")
        assert resource is not None
        assert (resource["resource_type"], resource["resource_name"]) == ("pool", "nowhere")
        assert "nowhere" in error.message


async def test_pools_are_listed_by_owner(api: Caller) -> None:
    ann = await api.make_pool("a", owner_id="ann")
    bob = await api.make_pool("b", owner_id="bob")
    assert [pool["pool_id"] for pool in (await api.call("ListPools", owner_id="bob"))["pools"]] == [bob]
    assert [pool["pool_id"] for pool in (await api.call("ListPools", owner_id="ann"))["pools"]] == [ann]


async def test_an_update_changes_what_it_holds_and_nothing_else(api: Caller) -> None:
    before = (await api.call("RegisterPool", **POOL, max_nodes=3, allowed_gpu_types=["A100"]))["pool"]
    after = await api.call("UpdatePool", pool_id=before["pool_id"], max_cost_per_hour=4.5, is_active=False)
    changed = {"max_cost_per_hour": 4.5, "is_active": False}
    moved = {name: after[name] for name in ("etag", "updated_at")}
    assert after == {**before, **changed, **moved}
    assert after["etag"] != before["etag"]
    assert await api.call("GetPool", pool_id=before["pool_id"]) == after


async def test_an_update_mask_clears_fields(api: Caller) -> None:
    pool_id = await api.make_pool(max_nodes=3, allowed_gpu_types=["A100"])
    after = await api.call("UpdatePool", pool_id=pool_id, update_mask="maxNodes,allowedGpuTypes")
    assert (after["max_nodes"], after["allowed_gpu_types"]) == (0, [])


@pytest.mark.parametrize("given", [{}, {"max_nodes": 7}, {"max_nodes": 7, "is_active": False}])
async def test_an_empty_update_mask_is_as_good_as_none(api: Caller, given: dict[str, Any]) -> None:
    """AIP-134: without one, all fields that the request holds are set."""
    before = (await api.call("RegisterPool", **POOL, max_nodes=3, allowed_gpu_types=["A100"]))["pool"]
    after = await api.call("UpdatePool", pool_id=before["pool_id"], update_mask="", **given)
    moved = {name: after[name] for name in ("etag", "updated_at")}
    assert after == {**before, **given, **moved}


async def test_an_update_mask_and_the_fields_must_agree(api: Caller) -> None:
    pool_id = await api.make_pool()
    text = await api.invalid("update_mask", "UpdatePool", pool_id=pool_id, update_mask="ownerId")
    assert "'owner_id' cannot be updated" in text
    assert "max_nodes" in text
    text = await api.invalid("max_nodes", "UpdatePool", pool_id=pool_id, max_nodes=3, update_mask="gpuCount")
    assert "update_mask" in text


async def test_an_update_that_changes_nothing_keeps_the_etag(api: Caller) -> None:
    before = (await api.call("RegisterPool", **POOL, max_nodes=3))["pool"]
    assert await api.call("UpdatePool", pool_id=before["pool_id"], max_nodes=3) == before


async def test_a_pool_cannot_take_the_name_of_another(api: Caller) -> None:
    await api.make_pool("a")
    second = await api.make_pool("b")
    await api.refused("ALREADY_EXISTS", "POOL_NAME_TAKEN", "UpdatePool", pool_id=second, pool_name="a")
    assert (await api.call("UpdatePool", pool_id=second, pool_name="c"))["pool_name"] == "c"


async def test_a_pool_that_is_switched_off_takes_no_placements(api: Caller) -> None:
    pool_id = await api.make_pool()
    await api.call("UpdatePool", pool_id=pool_id, is_active=False)
    deployment_id = await api.deploy(pool_id)

    async def waits() -> bool:
        return "takes no new replicas" in (await api.status(deployment_id))["error_message"]

    await eventually(waits, within_s=30)
    await api.call("UpdatePool", pool_id=pool_id, is_active=True)
    await api.reach(deployment_id, "RUNNING")


async def test_a_deleted_pool_is_gone_and_its_name_is_free(api: Caller) -> None:
    pool_id = await api.make_pool("again")
    assert await api.call("DeletePool", pool_id=pool_id) == {"pool_id": pool_id, "status": "DELETED"}
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "GetPool", pool_id=pool_id)
    assert (await api.call("ListPools", owner_id="ann"))["pools"] == []
    assert (await api.call("ListNodes", provider="local"))["total_size"] == 0
    assert await api.make_pool("again") != pool_id


async def test_a_pool_with_live_deployments_is_kept(api: Caller) -> None:
    pool_id = await api.make_pool()
    deployment_id = await api.deploy(pool_id)
    error = await api.refused("FAILED_PRECONDITION", "POOL_NOT_EMPTY", "DeletePool", pool_id=pool_id)
    assert "1 live deployment" in error.message
    assert "force" in error.message
    await api.terminate(deployment_id)
    assert (await api.call("DeletePool", pool_id=pool_id))["status"] == "DELETED"


async def test_force_terminates_the_deployments_first(api: Caller) -> None:
    pool_id = await api.make_pool()
    deployment_id = await api.deploy(pool_id)
    await api.reach(deployment_id, "RUNNING")
    answer = await api.call("DeletePool", pool_id=pool_id, force=True)
    assert answer == {"pool_id": pool_id, "status": "DELETING"}
    await api.reach(deployment_id, "STOPPED")

    async def gone() -> bool:
        return bool((await api.call("ListPools", owner_id="ann"))["total_size"] == 0)

    await eventually(gone, within_s=30)
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "GetPool", pool_id=pool_id)
    reasons = [item["reason"] for item in await events(api, deployment_id)]
    assert "TERMINATED_WITH_POOL" in reasons
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "StartDeployment", deployment_id=deployment_id)


async def test_a_pool_that_is_being_deleted_takes_nothing_new(api: Caller) -> None:
    pool_id = await api.make_pool()
    # The engine does not end at once, so that the pool is seen while it is being deleted.
    deployment_id = await api.deploy(pool_id, "--ignore-term", configuration={"stop_grace_seconds": 2})
    await api.reach(deployment_id, "RUNNING")
    await api.call("DeletePool", pool_id=pool_id, force=True)
    pool = await api.call("GetPool", pool_id=pool_id)
    assert (pool["state"], pool["is_active"]) == ("DELETING", False)
    await api.refused("FAILED_PRECONDITION", "POOL_DELETING", "DeployModel", **tiny(pool_id))
    await api.refused("FAILED_PRECONDITION", "POOL_DELETING", "UpdatePool", pool_id=pool_id, max_nodes=1)
    assert (await api.call("DeletePool", pool_id=pool_id, force=True))["status"] == "DELETING"
    await api.reach(deployment_id, "STOPPED")


async def test_a_pool_of_this_machine_has_it_as_its_node(api: Caller) -> None:
    pool_id = await api.make_pool()
    inventory = await api.call("ListPoolInventory", pool_id=pool_id)
    assert (inventory["pool_id"], inventory["total_size"], inventory["next_page_token"]) == (pool_id, 1, "")
    (node,) = inventory["nodes"]
    assert (node["pool_id"], node["provider"], node["state"]) == (pool_id, "local", "READY")
    assert node["vcpu_total"] >= 1
    assert node["ram_gb_total"] > 0
    pool = await api.call("GetPool", pool_id=pool_id)
    assert (pool["node_count"], pool["gpu_total"], pool["gpu_allocated"]) == (1, node["gpu_total"], 0)


async def test_the_answer_of_a_registration_has_the_totals_of_its_nodes(api: Caller) -> None:
    answer = await api.call("RegisterPool", **POOL)
    assert answer["pool"] == await api.call("GetPool", pool_id=answer["pool_id"])


async def events(api: Caller, deployment_id: str) -> list[dict[str, Any]]:
    """What happened to the deployment."""
    answer = await api.call("ListDeploymentEvents", deployment_id=deployment_id)
    return list(answer["events"])
