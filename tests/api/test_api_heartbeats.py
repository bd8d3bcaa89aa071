"""Heartbeats: what they change, what they never change, and those of the past."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller, moment

NODE = {"provider": "nosana", "provider_instance_id": "job-1"}
READY = {**NODE, "state": "READY"}


async def register(api: Caller, **fields: Any) -> str:
    """A registered node; the id of its pool."""
    pool_id = await api.make_pool("market", provider="nosana")
    await api.call("RegisterNode", **NODE, pool_id=pool_id, **fields)
    return pool_id


async def node_of(api: Caller) -> dict[str, Any]:
    """The node as it is listed."""
    (node,) = (await api.call("ListNodes", provider="nosana", show_terminated=True))["nodes"]
    return dict(node)


async def test_an_unknown_node_is_told_to_register(api: Caller) -> None:
    error = await api.refused("NOT_FOUND", "NODE_NOT_REGISTERED", "Heartbeat", **READY)
    assert "job-1" in error.message
    assert "pool_id" in error.message
    assert error.detail("ResourceInfo") is not None


async def test_a_heartbeat_with_a_pool_registers_the_node(api: Caller) -> None:
    pool_id = await api.make_pool("market", provider="nosana")
    described = {"gpu_type": "A100", "gpu_total": 4, "vcpu_total": 8.0, "ram_gb_total": 32.0}
    answer = await api.call("Heartbeat", **READY, pool_id=pool_id, **described, incarnation=3)
    assert answer["status"] == "ok"
    assert answer["interval_seconds"] > 0
    node = await node_of(api)
    assert {name: node[name] for name in described} == described
    assert (node["node_id"], node["pool_id"], node["state"]) == (answer["node_id"], pool_id, "READY")
    assert node["incarnation"] == 3


async def test_a_node_cannot_register_where_it_does_not_belong(api: Caller) -> None:
    local = await api.make_pool()
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "Heartbeat", **READY, pool_id="nowhere")
    await api.refused("FAILED_PRECONDITION", "PROVIDER_MISMATCH", "Heartbeat", **READY, pool_id=local)
    unknown = {**READY, "provider": "starbucks", "pool_id": local}
    await api.refused("INVALID_ARGUMENT", "UNKNOWN_PROVIDER", "Heartbeat", **unknown)


async def test_a_registered_node_does_not_change_its_pool_by_a_heartbeat(api: Caller) -> None:
    await register(api)
    other = await api.make_pool("other", provider="nosana")
    assert "leave it out" in await api.invalid("pool_id", "Heartbeat", **READY, pool_id=other)


async def test_what_is_reported_is_listed(api: Caller) -> None:
    await register(api, gpu_total=8)
    before = await node_of(api)
    told = {
        "gpu_allocated": 3,
        "vcpu_allocated": 1.5,
        "ram_gb_allocated": 12.0,
        "health_score": 61.5,
        "expose_url": "https://job-1.example.org",
    }
    await api.call("Heartbeat", **READY, **told)
    after = await node_of(api)
    assert {name: after[name] for name in told} == told
    assert moment(after["last_heartbeat_at"]) > moment(before["last_heartbeat_at"])


async def test_what_is_unset_stays(api: Caller) -> None:
    await register(api, gpu_total=8, expose_url="https://job-1.example.org")
    await api.call("Heartbeat", **NODE, state="DRAINING", health_score=50, gpu_allocated=2)
    before = await node_of(api)
    await api.call("Heartbeat", **NODE)
    after = await node_of(api)
    assert {**after, "last_heartbeat_at": ""} == {**before, "last_heartbeat_at": ""}
    assert after["state"] == "DRAINING"


async def test_zero_is_not_unset(api: Caller) -> None:
    await register(api, gpu_total=8)
    await api.call("Heartbeat", **NODE, health_score=50, gpu_allocated=2)
    await api.call("Heartbeat", **NODE, health_score=0, gpu_allocated=0)
    node = await node_of(api)
    assert (node["health_score"], node["gpu_allocated"]) == (0, 0)


@pytest.mark.parametrize("written", ["DRAINING", "draining", "Draining"])
async def test_the_case_of_a_state_does_not_matter(api: Caller, written: str) -> None:
    await register(api)
    await api.call("Heartbeat", **NODE, state=written)
    assert (await node_of(api))["state"] == "DRAINING"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"state": "ASLEEP"}, "state", "READY"),
    ({"state": "LOST"}, "state", "READY"),
    ({"health_score": 101}, "health_score", "100"),
    ({"health_score": -1}, "health_score", "0"),
    ({"gpu_allocated": -1}, "gpu_allocated", "0"),
    ({"gpu_allocated": 9}, "gpu_allocated", "8 GPUs"),
    ({"vcpu_allocated": "Infinity"}, "vcpu_allocated", "finite"),
    ({"provider_instance_id": ""}, "provider_instance_id", "1 character"),
    ({"telemetry": {"": 1.0}}, "telemetry['']", "1 character"),
]


async def test_a_wrong_field_is_named(api: Caller) -> None:
    await register(api, gpu_total=8)
    before = await node_of(api)
    for change, field, says in WRONG:
        assert says in await api.invalid(field, "Heartbeat", **{**READY, **change})
    assert await node_of(api) == before


@pytest.mark.parametrize(
    "past", [{"incarnation": 4}, {"incarnation": 4, "sequence": 99}, {"incarnation": 5, "sequence": 9}]
)
async def test_a_heartbeat_of_the_past_changes_nothing(api: Caller, past: dict[str, int]) -> None:
    await register(api, incarnation=5)
    await api.call("Heartbeat", **READY, incarnation=5, sequence=10)
    before = await node_of(api)
    late = {**NODE, **past, "state": "FAILED", "health_score": 1}
    error = await api.refused("ABORTED", "STALE_INCARNATION", "Heartbeat", **late)
    assert "incarnation 5" in error.message
    assert await node_of(api) == before


async def test_the_sequence_begins_anew_with_each_incarnation(api: Caller) -> None:
    await register(api, incarnation=5)
    await api.call("Heartbeat", **READY, incarnation=5, sequence=10)
    await api.call("Heartbeat", **READY, incarnation=6, sequence=0)
    assert (await node_of(api))["incarnation"] == 6
    await api.call("Heartbeat", **READY, incarnation=6, sequence=1)
    await api.refused("ABORTED", "STALE_INCARNATION", "Heartbeat", **READY, incarnation=6, sequence=0)


async def test_a_terminated_node_comes_back_only_as_another_incarnation(api: Caller) -> None:
    await register(api, incarnation=5)
    await api.call("Heartbeat", **NODE, incarnation=5, state="TERMINATED")
    for same in ({"incarnation": 5, "sequence": 1}, {}):
        await api.refused("FAILED_PRECONDITION", "NODE_TERMINATED", "Heartbeat", **READY, **same)
        assert (await node_of(api))["state"] == "TERMINATED"
    await api.call("Heartbeat", **READY, incarnation=6)
    assert (await node_of(api))["state"] == "READY"


async def test_an_agent_does_not_free_what_the_scheduler_gave_away(api: Caller) -> None:
    """A node of this machine is kept by the gateway; an agent that reports for it cannot lower what replicas hold."""
    deployment_id = await api.running()
    pool_id = (await api.status(deployment_id))["pool_id"]
    (node,) = (await api.call("ListPoolInventory", pool_id=pool_id))["nodes"]
    agent = {"provider": "local", "provider_instance_id": node["provider_instance_id"]}
    await api.call("Heartbeat", **agent, gpu_allocated=0, vcpu_allocated=0, state="READY")
    (after,) = (await api.call("ListPoolInventory", pool_id=pool_id))["nodes"]
    assert after["gpu_allocated"] == node["gpu_allocated"]
    assert (await api.status(deployment_id))["replica_statuses"][0]["node_id"] == node["node_id"]
    assert (await api.call("GetPool", pool_id=pool_id))["node_count"] == 1


async def test_a_stream_answers_each_heartbeat_in_order(api: Caller) -> None:
    pool_id = await register(api)
    async with api.converse("StreamHeartbeats") as stream:
        await stream.send(READY)
        first = await stream.receive()
        assert (first["status"], first["message"]) == ("ok", "")
        for number in range(20):
            other = {"provider": "nosana", "provider_instance_id": f"n{number}", "pool_id": pool_id}
            await stream.send(other)
        answers = [await stream.receive() for _ in range(20)]
        assert {answer["status"] for answer in answers} == {"ok"}
    nodes = (await api.call("ListNodes", provider="nosana"))["nodes"]
    listed = {node["provider_instance_id"]: node["node_id"] for node in nodes}
    assert [answer["node_id"] for answer in answers] == [listed[f"n{number}"] for number in range(20)]


async def test_a_refused_heartbeat_does_not_end_the_stream(api: Caller) -> None:
    await register(api, incarnation=5)
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"provider": "nosana", "provider_instance_id": "unknown"}, "NODE_NOT_REGISTERED", "'unknown'"),
        ({**READY, "incarnation": 4}, "STALE_INCARNATION", "incarnation 5"),
        ({**NODE, "state": "ASLEEP"}, "INVALID_FIELD", "'ASLEEP'"),
        ({"provider": "nosana"}, "INVALID_FIELD", "provider_instance_id"),
    ]
    async with api.converse("StreamHeartbeats") as stream:
        for request, status, says in refused:
            await stream.send(request)
            answer = await stream.receive()
            assert answer["status"] == status
            assert says in answer["message"]
        await stream.send(READY)
        assert (await stream.receive())["status"] == "ok"


async def test_telemetry_is_taken(api: Caller) -> None:
    await register(api)
    answer = await api.call("Heartbeat", **READY, telemetry={"gpu.0.temperature": 71.5, "queue": 3})
    assert answer["status"] == "ok"


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
async def test_telemetry_holds_numbers_that_every_database_can_keep(api: Caller, number: str) -> None:
    await register(api)
    assert "finite" in await api.invalid("telemetry['load']", "Heartbeat", **NODE, telemetry={"load": number})
