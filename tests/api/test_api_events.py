"""Events: what happened to a deployment and why, over every transition that it can make."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit import Trail, audited
from tests.support.caller import Caller, moment
from tests.support.faces import ApiError, face_of
from tests.support.gateway import eventually, running_gateway

NODE = {"provider": "nosana", "provider_instance_id": "job-1"}


async def events(api: Caller, deployment_id: str) -> list[dict[str, Any]]:
    """Oldest first."""
    answer = await api.call("ListDeploymentEvents", deployment_id=deployment_id, page_size=1000)
    return list(reversed(answer["events"]))


def reasons(trail: Trail, kind: str, subject_id: str) -> list[str]:
    """As they were committed, also of what cannot be asked for."""
    return [event.reason for event in trail.events if (event.kind, event.subject_id) == (kind, subject_id)]


async def test_a_life_from_deploy_to_purge(api: Caller, trail: Trail) -> None:
    deployment_id = await api.running()
    (replica,) = (await api.status(deployment_id))["replica_statuses"]
    await api.terminate(deployment_id)
    told = await events(api, deployment_id)
    of_replica = [event for event in told if event["replica_id"] == replica["replica_id"]]
    assert [event["reason"] for event in of_replica] == [
        "REPLICA_CREATED",
        "REPLICA_PLACED",
        "REPLICA_STARTED",
        "REPLICA_READY",
        "REPLICA_TERMINATING",
        "REPLICA_TERMINATED",
    ]
    assert [event["attempt"] for event in of_replica] == [0, 1, 1, 1, 1, 1]
    assert {event["actor"] for event in told} == {"api", "deployment-controller", "replica-controller"}
    times = [moment(event["time"]) for event in told]
    assert times == sorted(times)
    await api.call("PurgeDeployment", deployment_id=deployment_id)
    assert reasons(trail, "deployment", deployment_id)[-1] == "DEPLOYMENT_PURGED"
    await api.refused("NOT_FOUND", "DEPLOYMENT_NOT_FOUND", "ListDeploymentEvents", deployment_id=deployment_id)


async def test_replicas_that_never_had_a_place_are_told_of_when_they_go(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(max_cost_per_hour=0), replicas=1)
    await api.reach(deployment_id, "RUNNING")
    impossible = await api.deploy(await api.make_pool("market", provider="nosana"), gpu_per_replica=0, replicas=2)

    async def waiting() -> bool:
        return len((await api.status(impossible))["replica_statuses"]) == 2

    await eventually(waiting)
    await api.call("ScaleDeployment", deployment_id=impossible, replicas=1)

    async def one_left() -> bool:
        return len((await api.status(impossible))["replica_statuses"]) == 1

    await eventually(one_left)
    await api.call("DeleteDeployment", deployment_id=impossible)
    await api.reach(impossible, "STOPPED")
    gone = [event for event in await events(api, impossible) if event["reason"] == "REPLICA_TERMINATED"]
    assert len({event["replica_id"] for event in gone}) == 2


async def test_a_node_is_told_of(api: Caller, trail: Trail) -> None:
    pool_id = await api.make_pool("market", provider="nosana")
    node = {**NODE, "pool_id": pool_id}
    node_id = (await api.call("RegisterNode", **node, incarnation=1))["node_id"]
    await api.call("Heartbeat", **NODE, state="DRAINING", incarnation=1, sequence=1)
    await api.call("Heartbeat", **NODE, state="READY", incarnation=1, sequence=2)
    await api.call("Heartbeat", **NODE, incarnation=2, sequence=1)
    await api.call("RegisterNode", **node, incarnation=3)
    await api.call("DeletePool", pool_id=pool_id)
    assert reasons(trail, "node", node_id) == [
        "NODE_REGISTERED",
        "NODE_DRAINING",
        "NODE_READY",
        "NODE_RESTARTED",
        "NODE_REGISTERED",
        "NODE_REMOVED",
    ]
    assert reasons(trail, "pool", pool_id) == ["POOL_CREATED", "POOL_DELETED"]


async def test_a_node_that_falls_silent_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with audited(monkeypatch) as trail:
        async with running_gateway(tmp_path, heartbeat_interval_s=0.2) as running:
            api = Caller(face_of("grpc", running), running)
            pool_id = await api.make_pool("market", provider="nosana")
            node_id = (await api.call("RegisterNode", **NODE, pool_id=pool_id))["node_id"]

            async def lost() -> bool:
                return reasons(trail, "node", node_id)[-1] == "NODE_LOST"

            await eventually(lost)
            await api.call("Heartbeat", **NODE, state="READY")
            assert "NODE_READY" in reasons(trail, "node", node_id)


async def test_pages_of_events_are_whole(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(), replicas=0)
    for number in range(12):
        await api.call("UpdateDeployment", deployment_id=deployment_id, labels={"number": str(number)})
    whole = await api.call("ListDeploymentEvents", deployment_id=deployment_id, page_size=1000)
    paged: list[dict[str, Any]] = []
    token = ""
    for _ in range(10):
        page = await api.call("ListDeploymentEvents", deployment_id=deployment_id, page_size=4, page_token=token)
        paged += page["events"]
        token = page["next_page_token"]
        if not token:
            break
    assert paged == whole["events"]


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_done_every_transition_is_told(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random run of everything that callers, agents and failing engines do."""
    dice = random.Random(seed)
    with audited(monkeypatch) as trail:
        async with running_gateway(tmp_path, heartbeat_interval_s=0.3) as running:
            api = Caller(face_of("grpc", running), running)
            local, market = await api.make_pool(), await api.make_pool("market", provider="nosana")
            made = [await api.deploy(local, "--exit", "3", restart_policy={"max_attempts": 2})]
            for number in range(40):
                deployment_id = dice.choice(made)
                action, fields = dice.choice(
                    [
                        ("DeployModel", None),
                        ("ScaleDeployment", {"deployment_id": deployment_id, "replicas": dice.randint(0, 2)}),
                        ("UpdateDeployment", {"deployment_id": deployment_id, "env": {"N": str(number)}}),
                        ("DeleteDeployment", {"deployment_id": deployment_id}),
                        ("StartDeployment", {"deployment_id": deployment_id}),
                        ("PurgeDeployment", {"deployment_id": deployment_id}),
                        ("RegisterNode", {**NODE, "pool_id": market, "incarnation": number}),
                        ("Heartbeat", {**NODE, "state": dice.choice(["READY", "DRAINING", "TERMINATED"])}),
                    ]
                )
                try:
                    if fields is None:
                        made.append(await api.deploy(dice.choice([local, market]), replicas=dice.randint(0, 2)))
                    else:
                        await api.call(action, **fields)
                except ApiError as error:
                    if error.code not in {"FAILED_PRECONDITION", "NOT_FOUND", "ABORTED"}:
                        raise AssertionError(f"seed {seed}: {action} {fields}") from error
            await api.clean_up()
            await api.call("DeletePool", pool_id=market, force=True)
        assert trail.transitions > 40, f"seed {seed}: only {trail.transitions} transitions"
