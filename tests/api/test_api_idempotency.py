"""Repeated requests, and changes that somebody else was faster with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.gateway import tiny
from tests.support.protos import bindings, methods

POOL = {"pool_name": "gpus", "owner_type": "user", "owner_id": "ann", "provider": "local"}


async def mutations(api: Caller) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every mutation: the RPC, a request, and what makes it another request."""
    pool_id = await api.make_pool("base")
    market = await api.make_pool("market", provider="nosana")
    stopped = await api.deploy(pool_id, replicas=0)
    await api.terminate(stopped)
    live = await api.deploy(pool_id, replicas=0)
    other = await api.make_pool("other")
    await api.make_model("served", "1")
    await api.make_model("served", "2")
    node = {"provider": "nosana", "provider_instance_id": "job", "pool_id": market}
    model = {"model_name": "m", "model_version": "1", "backend": "vllm", "artifact_uri": "org/m"}
    return [
        ("RegisterPool", POOL, {"pool_name": "more"}),
        ("UpdatePool", {"pool_id": other, "max_nodes": 2}, {"max_nodes": 3}),
        ("DeletePool", {"pool_id": other}, {"force": True}),
        ("RegisterNode", node, {"hostname": "rig"}),
        ("RegisterModel", model, {"labels": {"a": "b"}}),
        ("DeleteModel", {"model_name": "served", "model_version": "1"}, {"model_version": "2"}),
        ("DeployModel", tiny(pool_id, replicas=0), {"replicas": 1}),
        ("UpdateDeployment", {"deployment_id": live, "labels": {"a": "b"}}, {"labels": {}, "env": {"A": "b"}}),
        ("ScaleDeployment", {"deployment_id": live, "replicas": 0}, {"replicas": 1}),
        ("DeleteDeployment", {"deployment_id": live}, {"etag": "0"}),
        ("StartDeployment", {"deployment_id": stopped}, {"etag": "0"}),
    ]


async def test_the_same_key_gives_the_first_answer_and_refuses_another_request(api: Caller) -> None:
    for number, (rpc, request, other) in enumerate(await mutations(api)):
        key = f"key-{number}"
        first = await api.call(rpc, **request, request_id=key)
        assert await api.call(rpc, **request, request_id=key) == first, rpc
        changed = {**request, **other, "request_id": key}
        error = await api.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", rpc, **changed)
        assert key in error.message


async def test_a_purge_can_be_repeated(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(), replicas=0)
    await api.terminate(deployment_id)
    first = await api.call("PurgeDeployment", deployment_id=deployment_id, request_id="once")
    assert await api.call("PurgeDeployment", deployment_id=deployment_id, request_id="once") == first
    await api.refused("NOT_FOUND", "DEPLOYMENT_NOT_FOUND", "PurgeDeployment", deployment_id=deployment_id)


async def test_the_first_answer_stands_whatever_happened_since(api: Caller) -> None:
    first = await api.call("RegisterPool", **POOL, request_id="once")
    await api.call("DeletePool", pool_id=first["pool_id"])
    assert await api.call("RegisterPool", **POOL, request_id="once") == first
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "GetPool", pool_id=first["pool_id"])


async def test_a_refused_request_does_not_take_its_key(api: Caller) -> None:
    request = tiny("nowhere", request_id="k")
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "DeployModel", **request)
    deployment_id = await api.deploy(await api.make_pool(), request_id="k", replicas=0)
    assert (await api.status(deployment_id))["status"] == "RUNNING"


async def test_a_header_fills_the_key(api: Caller) -> None:
    key = {"Idempotency-Key": "once"}
    first = await api.call("RegisterPool", headers=key, **POOL)
    assert await api.call("RegisterPool", headers=key, **POOL) == first
    assert await api.call("RegisterPool", **POOL, request_id="once") == first
    other = {**POOL, "pool_name": "other"}
    await api.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", "RegisterPool", headers=key, **other)
    error = await api.refused(
        "INVALID_ARGUMENT", "INVALID_FIELD", "RegisterPool", headers=key, **POOL, request_id="another"
    )
    assert "Idempotency-Key" in error.violations["request_id"]


async def test_reads_do_not_mind_a_key(api: Caller) -> None:
    assert await api.call("ListProviders", headers={"Idempotency-Key": "k"}) == await api.call("ListProviders")


async def test_one_key_may_serve_two_methods(api: Caller) -> None:
    await api.call("RegisterPool", **POOL, request_id="k")
    await api.make_model("m", "1", request_id="k")


async def test_one_key_may_serve_two_tenants(api: Caller) -> None:
    pool_id = await api.make_pool()
    acme = tiny(pool_id, replicas=0, org_id="acme", request_id="k")
    zeta = {**acme, "org_id": "zeta"}
    first = await api.call("DeployModel", **acme)
    second = await api.call("DeployModel", **zeta)
    assert first != second
    assert await api.call("DeployModel", **acme) == first
    assert await api.call("DeployModel", **zeta) == second
    await api.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", "DeployModel", **{**acme, "replicas": 1})
    bob = {**POOL, "owner_id": "bob", "request_id": "k"}
    assert (await api.call("RegisterPool", **POOL, request_id="k")) != (await api.call("RegisterPool", **bob))


async def test_one_key_for_two_resources_is_refused(api: Caller) -> None:
    pool_id = await api.make_pool()
    one, two = await api.deploy(pool_id, replicas=0), await api.deploy(pool_id, replicas=0)
    await api.call("ScaleDeployment", deployment_id=one, replicas=0, request_id="k")
    other = {"deployment_id": two, "replicas": 0, "request_id": "k"}
    await api.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", "ScaleDeployment", **other)


async def test_every_mutation_takes_a_key_and_is_tried(api: Caller) -> None:
    """A heartbeat is safe by its sequence instead."""
    takes = {method.name for method in methods() if "request_id" in method.input_type.fields_by_name}
    writes = {m.name for m in methods() if any(binding.verb != "GET" for binding in bindings(m))}
    assert takes == writes - {"Heartbeat"}
    assert {rpc for rpc, _, _ in await mutations(api)} | {"PurgeDeployment"} == takes


async def test_twenty_callers_with_one_key_make_one_deployment(api: Caller) -> None:
    request = tiny(await api.make_pool(), replicas=0, request_id="once")
    answers = await asyncio.gather(*(api.call("DeployModel", **request) for _ in range(20)))
    assert len({answer["deployment_id"] for answer in answers}) == 1
    assert (await api.call("ListDeployments"))["total_size"] == 1


async def test_without_a_key_each_request_is_one_of_its_own(api: Caller) -> None:
    request = tiny(await api.make_pool(), replicas=0)
    answers = await asyncio.gather(*(api.call("DeployModel", **request) for _ in range(5)))
    assert len({answer["deployment_id"] for answer in answers}) == 5


async def test_a_key_outlives_the_gateway(api: Caller) -> None:
    """The answer is kept in the database, not in the process: another gateway on the same data gives it."""
    from tests.support.faces import face_of
    from tests.support.gateway import running_gateway

    first = await api.call("RegisterPool", **POOL, request_id="once")
    async with running_gateway(api.gateway.data_dir) as again:
        other = Caller(face_of("grpc", again), again)
        assert await other.call("RegisterPool", **POOL, request_id="once") == first


@pytest.mark.parametrize("rpc", ["UpdatePool", "DeletePool"])
async def test_a_stale_etag_changes_no_pool(api: Caller, rpc: str) -> None:
    pool = (await api.call("RegisterPool", **POOL))["pool"]
    stale, pool_id = pool["etag"], pool["pool_id"]
    changed = await api.call("UpdatePool", pool_id=pool_id, max_nodes=2, etag=stale)
    change = {"max_nodes": 3} if rpc == "UpdatePool" else {}
    error = await api.refused("ABORTED", "ETAG_MISMATCH", rpc, pool_id=pool_id, etag=stale, **change)
    assert error.info["metadata"]["current_etag"] == changed["etag"]
    assert await api.call("GetPool", pool_id=pool_id) == changed
    await api.call(rpc, pool_id=pool_id, etag=changed["etag"], **change)


async def test_a_stale_etag_changes_no_deployment(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(), replicas=0)
    stale = (await api.status(deployment_id))["etag"]
    changed = await api.call("UpdateDeployment", deployment_id=deployment_id, labels={"a": "b"}, etag=stale)
    assert changed["etag"] != stale
    for rpc, change in (
        ("UpdateDeployment", {"labels": {"a": "c"}}),
        ("ScaleDeployment", {"replicas": 1}),
        ("DeleteDeployment", {}),
        ("StartDeployment", {}),
        ("PurgeDeployment", {}),
    ):
        await api.refused("ABORTED", "ETAG_MISMATCH", rpc, deployment_id=deployment_id, etag=stale, **change)
    assert (await api.status(deployment_id))["etag"] == changed["etag"]
    terminated = await api.call("DeleteDeployment", deployment_id=deployment_id, etag=changed["etag"])
    assert terminated["status"] == "STOPPED"


async def test_what_the_gateway_itself_changes_keeps_the_etag(api: Caller) -> None:
    """Replicas come and go by themselves; an etag is of what callers change."""
    deployment_id = await api.deploy(await api.make_pool())
    accepted = (await api.status(deployment_id))["etag"]
    assert (await api.reach(deployment_id, "RUNNING"))["etag"] == accepted
