"""Nodes registered and listed, and the providers that they come from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller

NODE = {"provider": "nosana", "provider_instance_id": "job-1"}


async def nosana_pool(api: Caller, name: str = "market") -> str:
    return await api.make_pool(name, provider="nosana")


async def test_a_node_is_listed_as_it_was_registered(api: Caller) -> None:
    given = {
        **NODE,
        "pool_id": await nosana_pool(api),
        "gpu_type": "RTX 4090",
        "gpu_total": 2,
        "vcpu_total": 16.0,
        "ram_gb_total": 64.0,
        "expose_url": "https://job-1.example.org",
        "price_per_hour": 0.4,
        "hostname": "rig",
        "incarnation": 7,
    }
    answer = await api.call("RegisterNode", **given)
    assert answer["status"] == "REGISTERED"
    assert answer["interval_seconds"] > 0
    node = answer["node"]
    assert {name: node[name] for name in given} == given
    assert (node["node_id"], node["state"], node["gpu_allocated"]) == (answer["node_id"], "READY", 0)
    assert node["health_score"] == 100
    assert (await api.call("ListPoolInventory", pool_id=given["pool_id"]))["nodes"] == [node]
    assert (await api.call("ListNodes", provider="nosana"))["nodes"] == [node]


async def test_a_node_that_registers_again_keeps_its_id(api: Caller) -> None:
    pool_id = await nosana_pool(api)
    first = await api.call("RegisterNode", **NODE, pool_id=pool_id, incarnation=1, gpu_total=1)
    second = await api.call("RegisterNode", **NODE, pool_id=pool_id, incarnation=2, gpu_total=4)
    assert second["node_id"] == first["node_id"]
    assert (second["node"]["gpu_total"], second["node"]["incarnation"]) == (4, 2)
    assert second["node"]["created_at"] == first["node"]["created_at"]
    assert (await api.call("ListNodes", provider="nosana"))["total_size"] == 1
    older = {**NODE, "pool_id": pool_id, "incarnation": 1}
    await api.refused("ABORTED", "STALE_INCARNATION", "RegisterNode", **older)


async def test_a_node_joins_only_a_pool_of_its_provider(api: Caller) -> None:
    pool_id = await nosana_pool(api)
    node = {"provider": "ray", "provider_instance_id": "n", "pool_id": pool_id}
    error = await api.refused("FAILED_PRECONDITION", "PROVIDER_MISMATCH", "RegisterNode", **node)
    assert "nosana" in error.message
    assert "ray" in error.message
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "RegisterNode", **NODE, pool_id="nowhere")
    unknown = {**node, "provider": "starbucks"}
    await api.refused("INVALID_ARGUMENT", "UNKNOWN_PROVIDER", "RegisterNode", **unknown)


async def test_a_node_is_in_one_pool_at_a_time(api: Caller) -> None:
    await api.call("RegisterNode", **NODE, pool_id=await nosana_pool(api, "a"))
    other = await nosana_pool(api, "b")
    await api.refused("FAILED_PRECONDITION", "NODE_IN_OTHER_POOL", "RegisterNode", **NODE, pool_id=other)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"provider": ""}, "provider"),
    ({"provider_instance_id": ""}, "provider_instance_id"),
    ({"pool_id": ""}, "pool_id"),
    ({"gpu_total": -1}, "gpu_total"),
    ({"ram_gb_total": -0.5}, "ram_gb_total"),
    ({"price_per_hour": "Infinity"}, "price_per_hour"),
    ({"incarnation": -1}, "incarnation"),
]


async def test_a_wrong_field_is_named(api: Caller) -> None:
    for change, field in WRONG:
        await api.invalid(field, "RegisterNode", **{**NODE, "pool_id": "p", **change})


async def test_terminated_nodes_are_shown_only_when_asked_for(api: Caller) -> None:
    pool_id = await nosana_pool(api)
    await api.call("RegisterNode", **NODE, pool_id=pool_id)
    await api.call("Heartbeat", **NODE, state="TERMINATED")
    for rpc, of in (("ListPoolInventory", {"pool_id": pool_id}), ("ListNodes", {"provider": "nosana"})):
        hidden = await api.call(rpc, **of)
        assert (hidden["nodes"], hidden["total_size"]) == ([], 0)
        shown = await api.call(rpc, **of, show_terminated=True)
        assert [node["state"] for node in shown["nodes"]] == ["TERMINATED"]
        assert shown["total_size"] == 1
    assert (await api.call("GetPool", pool_id=pool_id))["node_count"] == 0


async def test_an_unknown_provider_has_no_nodes_to_list(api: Caller) -> None:
    await api.refused("INVALID_ARGUMENT", "UNKNOWN_PROVIDER", "ListNodes", provider="starbucks")


async def test_providers_say_what_they_can_do(api: Caller) -> None:
    providers = {item["name"]: item for item in (await api.call("ListProviders"))["providers"]}
    assert list(providers) == sorted(providers)
    assert set(providers) >= {"kubernetes", "local", "nosana", "ray"}
    local = providers["local"]
    assert (local["kind"], local["is_available"], local["unavailable_reason"]) == ("local", True, "")
    assert local["supports_log_streaming"] is True
    assert {"custom", "vllm", "llamacpp"} <= set(local["engines"])
    nosana = providers["nosana"]
    assert (nosana["kind"], nosana["is_ephemeral"], nosana["is_available"]) == ("marketplace", True, False)
    assert "not configured" in nosana["unavailable_reason"]
    assert (providers["ray"]["kind"], providers["ray"]["supports_multi_node"]) == ("cluster", True)
    assert all(item["pricing_model"] in {"fixed", "spot", "auction", "on_demand"} for item in providers.values())


async def test_this_machine_is_a_resource(api: Caller) -> None:
    answer = await api.call("ListProviderResources", provider="local")
    assert answer["errors"] == []
    assert answer["total_size"] == len(answer["resources"]) >= 1
    resource = answer["resources"][0]
    assert (resource["provider"], resource["pricing_model"]) == ("local", "fixed")
    assert resource["vcpu"] >= 1
    assert resource["ram_gb"] > 0
    assert resource["available_count"] >= 1


@pytest.mark.parametrize("asked", [{}, {"provider": "nosana"}], ids=["by default", "by name"])
async def test_a_provider_without_credentials_is_unavailable(api: Caller, asked: dict[str, str]) -> None:
    error = await api.refused("UNAVAILABLE", "PROVIDER_NOT_CONFIGURED", "ListProviderResources", **asked)
    assert "nosana is not configured" in error.message
    retry = error.detail("RetryInfo")
    assert retry is not None
    assert retry["retry_delay"] == "300s"


async def test_all_providers_are_asked_and_those_that_fail_are_named(api: Caller) -> None:
    answer = await api.call("ListProviderResources", provider="*")
    assert {resource["provider"] for resource in answer["resources"]} == {"local"}
    assert {"kubernetes", "nosana", "ray"} == {row["provider"] for row in answer["errors"]}
    assert all("not configured" in row["error"] for row in answer["errors"])


async def test_an_unknown_provider_has_no_resources(api: Caller) -> None:
    error = await api.refused("INVALID_ARGUMENT", "UNKNOWN_PROVIDER", "ListProviderResources", provider="starbucks")
    assert "nosana" in error.violations["provider"]
