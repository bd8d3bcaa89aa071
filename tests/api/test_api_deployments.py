"""Deployments: accepted, run, changed, terminated, started again and purged."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.caller import Caller, moment
from tests.support.gateway import ENGINE, eventually, tiny


async def test_a_deployment_is_accepted_at_once_and_runs(api: Caller) -> None:
    pool_id = await api.make_pool()
    given = {
        "labels": {"team": "search"},
        "env": {"MODE": "test"},
        "owner_id": "ann",
        "org_id": "acme",
        "workload_type": "embedding",
        "update_strategy": {"max_surge": 1, "max_unavailable": 0},
        "replicas": 2,
    }
    request = tiny(pool_id, **given)
    answer = await api.call("DeployModel", **request)
    deployment_id = answer["deployment_id"]
    assert answer == {"deployment_id": deployment_id, "status": "DEPLOYING", "candidates": []}
    found = await api.reach(deployment_id, "RUNNING")
    expected = {**request, "model_version": "", "generation": 1, "ready_replicas": 2, "error_message": ""}
    assert {name: found[name] for name in expected} == expected
    assert found["restart_policy"] == {"condition": "ALWAYS", "max_attempts": 5, "window": "600s"}


async def test_a_running_deployment_tells_of_its_replicas(api: Caller) -> None:
    deployment_id = await api.running(replicas=2)
    found = await api.status(deployment_id)
    replicas = found["replica_statuses"]
    assert [replica["ordinal"] for replica in replicas] == [0, 1]
    (node,) = (await api.call("ListPoolInventory", pool_id=found["pool_id"]))["nodes"]
    for replica in replicas:
        assert (replica["state"], replica["restarts"], replica["generation"]) == ("READY", 0, 1)
        assert (replica["node_id"], replica["pool_id"]) == (node["node_id"], found["pool_id"])
        assert replica["provider_instance_id"]
        assert moment(replica["started_at"]) <= moment(replica["ready_at"])
        async with api.gateway.rest.session.get(replica["endpoint"] + "/health") as answer:
            assert answer.status == 200
    assert found["endpoint"] in {replica["endpoint"] for replica in replicas}
    conditions = {item["type"]: item for item in found["conditions"]}
    assert {name: item["status"] for name, item in conditions.items()} == {
        "Available": "TRUE",
        "Progressing": "FALSE",
        "Placed": "TRUE",
    }
    assert conditions["Available"]["message"] == "2 of 2 replicas are ready"
    assert all(item["reason"] and item["last_transition_at"] for item in conditions.values())


async def test_what_is_not_given_has_its_default(api: Caller) -> None:
    await api.make_model("served", backend="custom", artifact_uri="org/served", config_json={"command": ["sleep", "9"]})
    pool_id = await api.make_pool(provider="nosana")
    answer = await api.call("DeployModel", model_name="served", pool_id=pool_id)
    found = await api.status(answer["deployment_id"])
    expected = {
        "replicas": 1,
        "gpu_per_replica": 1,
        "workload_type": "inference",
        "engine": "custom",
        "model_version": "1",
        "inference_model": "org/served",
        "configuration": {"command": ["sleep", "9"]},
        "update_strategy": {"max_surge": 0, "max_unavailable": 1},
    }
    assert {name: found[name] for name in expected} == expected


async def test_latest_and_nothing_mean_the_newest_version(api: Caller) -> None:
    pool_id = await api.make_pool(provider="nosana")
    for version in ("1", "2"):
        await api.make_model("served", version, artifact_uri=f"org/served-{version}")
    for wanted, artifact in (("latest", "org/served-2"), ("", "org/served-2"), ("1", "org/served-1")):
        answer = await api.call("DeployModel", model_name="served", model_version=wanted, pool_id=pool_id)
        assert (await api.status(answer["deployment_id"]))["inference_model"] == artifact


async def test_the_request_overlays_the_model_s_defaults(api: Caller) -> None:
    defaults = {"max_model_len": 4096, "dtype": "float16"}
    await api.make_model("served", config_json=defaults)
    pool_id = await api.make_pool(provider="nosana")
    configuration = {"max_model_len": 1024, "port": 9000}
    answer = await api.call("DeployModel", model_name="served", pool_id=pool_id, configuration=configuration)
    found = await api.status(answer["deployment_id"])
    assert found["configuration"] == {"max_model_len": 1024, "dtype": "float16", "port": 9000}


@pytest.mark.parametrize("version", ["", "7"])
async def test_a_model_that_is_not_registered_needs_an_inference_model(api: Caller, version: str) -> None:
    request = tiny(await api.make_pool(), model_version=version)
    del request["inference_model"]
    error = await api.refused("NOT_FOUND", "MODEL_NOT_FOUND", "DeployModel", **request)
    assert "'tiny'" in error.message


async def test_what_the_engine_is_told(api: Caller) -> None:
    """{port}, {host} and {model} in the command, the same in the environment, and the caller's own variables."""
    shown = "import os; print('told', *sys.argv[2:5], *(os.environ[n] for n in ('PORT', 'HOST', 'MODEL', 'MINE')))"
    source = f"import sys; {shown}; sys.stdout.flush(); sys.argv = sys.argv[1:]; exec(open(sys.argv[0]).read())"
    command = [sys.executable, "-S", "-c", source, ENGINE, "{port}", "{host}", "{model}"]
    deployment_id = await api.deploy(
        await api.make_pool(), env={"MINE": "yes"}, inference_model="org/m", configuration={"command": command}
    )
    found = await api.reach(deployment_id, "RUNNING")
    host, port = found["endpoint"].removeprefix("http://").rsplit(":", 1)

    async def printed() -> str:
        logs = (await api.call("GetDeploymentLogs", deployment_id=deployment_id))["logs"]
        return next((line["message"] for line in logs if line["message"].startswith("told")), "")

    told = await eventually(printed, within_s=30)
    assert told == f"told {port} {host} org/m {port} {host} org/m yes"


async def test_an_empty_health_path_means_that_the_port_accepts(api: Caller) -> None:
    await api.running("--never-ready", configuration={"health_path": ""})


async def test_a_deployment_is_ready_when_its_health_path_answers(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(), "--never-ready")

    async def starting() -> bool:
        replicas = (await api.status(deployment_id))["replica_statuses"]
        return bool(replicas) and replicas[0]["state"] == "STARTING"

    await eventually(starting, within_s=30)
    found = await api.status(deployment_id)
    assert (found["status"], found["ready_replicas"], found["endpoint"]) == ("DEPLOYING", 0, "")


async def test_no_replicas_are_run_when_none_are_wanted(api: Caller) -> None:
    deployment_id = await api.running(replicas=0)
    assert (await api.status(deployment_id))["replica_statuses"] == []


async def test_a_program_that_is_not_there_fails_at_once(api: Caller) -> None:
    request = tiny(await api.make_pool(), configuration={"command": ["no-such-server", "--port", "{port}"]})
    deployment_id = (await api.call("DeployModel", **request))["deployment_id"]
    found = await api.reach(deployment_id, "FAILED")
    assert "command not found" in found["error_message"]
    assert "no-such-server" in found["error_message"]
    (replica,) = found["replica_statuses"]
    assert (replica["state"], replica["restarts"]) == ("FAILED", 0)


async def test_an_engine_that_keeps_ending_is_given_up_with_its_last_words(api: Caller) -> None:
    policy = {"max_attempts": 2}
    deployment_id = await api.deploy(
        await api.make_pool(), "--say", "out of memory", "--exit", "3", restart_policy=policy
    )
    found = await api.reach(deployment_id, "FAILED")
    assert "exited with code 3" in found["error_message"]
    assert "out of memory" in found["error_message"]
    assert found["replica_statuses"][0]["reason"]
    condition = next(item for item in found["conditions"] if item["type"] == "Progressing")
    assert (condition["status"], condition["reason"]) == ("FALSE", "ATTEMPTS_EXHAUSTED")


async def test_a_deployment_on_a_provider_that_is_not_configured_waits_and_says_why(api: Caller) -> None:
    pool_id = await api.make_pool(provider="nosana")
    request = {"model_name": "m", "inference_model": "org/m", "engine": "vllm", "pool_id": pool_id}
    deployment_id = (await api.call("DeployModel", **request))["deployment_id"]

    async def explained() -> dict[str, Any] | None:
        found = await api.status(deployment_id)
        return found if found["error_message"] else None

    found = await eventually(explained, within_s=30)
    assert found["status"] == "DEPLOYING"
    assert "nosana is not configured" in found["error_message"]
    placed = next(item for item in found["conditions"] if item["type"] == "Placed")
    assert (placed["status"], placed["reason"]) == ("FALSE", "PROVIDER_UNAVAILABLE")
    assert "nosana is not configured" in placed["message"]


async def test_a_fallback_pool_is_used_when_the_first_cannot(api: Caller) -> None:
    first = await api.make_pool("first", provider="nosana")
    second = await api.make_pool("second")
    deployment_id = await api.deploy(first, fallback_pool_ids=[second])
    found = await api.reach(deployment_id, "RUNNING")
    assert found["replica_statuses"][0]["pool_id"] == second


async def test_validate_only_explains_and_makes_nothing(api: Caller) -> None:
    far = await api.make_pool("far", provider="nosana")
    near = await api.make_pool("near")
    answer = await api.call("DeployModel", **tiny(far, fallback_pool_ids=[near], validate_only=True))
    assert answer["deployment_id"] == ""
    refused, feasible = answer["candidates"]
    assert (refused["pool_id"], refused["feasible"], refused["reason"]) == (far, False, "PROVIDER_UNAVAILABLE")
    assert (feasible["pool_id"], feasible["feasible"], feasible["reason"]) == (near, True, "")
    assert (await api.call("ListDeployments"))["total_size"] == 0
    await api.refused("NOT_FOUND", "POOL_NOT_FOUND", "DeployModel", **tiny("nowhere", validate_only=True))


BY_ID = (
    "GetDeployment",
    "UpdateDeployment",
    "StartDeployment",
    "DeleteDeployment",
    "PurgeDeployment",
    "GetDeploymentLogs",
    "GetLogStreamInfo",
    "ListDeploymentEvents",
)


async def test_an_unknown_deployment_is_not_found(api: Caller) -> None:
    for rpc in BY_ID:
        error = await api.refused("NOT_FOUND", "DEPLOYMENT_NOT_FOUND", rpc, deployment_id="nothing")
        resource = error.detail("ResourceInfo")
        assert resource is not None
        assert (resource["resource_type"], resource["resource_name"]) == ("deployment", "nothing")


async def test_an_unknown_deployment_cannot_be_scaled(api: Caller) -> None:
    await api.refused("NOT_FOUND", "DEPLOYMENT_NOT_FOUND", "ScaleDeployment", deployment_id="nothing", replicas=1)


async def test_scaling_goes_up_and_down(api: Caller) -> None:
    deployment_id = await api.running()
    answer = await api.call("ScaleDeployment", deployment_id=deployment_id, replicas=3)
    assert (answer["deployment_id"], answer["replicas"]) == (deployment_id, 3)
    found = await api.reach(deployment_id, "RUNNING")
    assert (found["ready_replicas"], found["generation"]) == (3, 1)
    await api.call("ScaleDeployment", deployment_id=deployment_id, replicas=1)

    async def only_the_first_is_left() -> bool:
        found = await api.reach(deployment_id, "RUNNING")
        return [replica["ordinal"] for replica in found["replica_statuses"]] == [0]

    await eventually(only_the_first_is_left)
    await api.call("ScaleDeployment", deployment_id=deployment_id, replicas=0)

    async def none() -> bool:
        return not (await api.status(deployment_id))["replica_statuses"]

    await eventually(none, within_s=30)


async def test_scaling_needs_a_number(api: Caller) -> None:
    await api.invalid("replicas", "ScaleDeployment", deployment_id="x")
    await api.invalid("replicas", "ScaleDeployment", deployment_id="x", replicas=-1)


async def test_an_update_rolls_out_a_new_generation(api: Caller) -> None:
    deployment_id = await api.running(replicas=2)
    before = await api.status(deployment_id)
    answer = await api.call("UpdateDeployment", deployment_id=deployment_id, env={"MODE": "new"})
    assert (answer["generation"], answer["env"], answer["status"]) == (2, {"MODE": "new"}, "UPDATING")
    after = await api.reach(deployment_id, "RUNNING")
    assert [replica["generation"] for replica in after["replica_statuses"]] == [2, 2]
    old = {replica["replica_id"] for replica in before["replica_statuses"]}
    assert old.isdisjoint(replica["replica_id"] for replica in after["replica_statuses"])


async def test_an_update_of_what_is_not_run_restarts_nothing(api: Caller) -> None:
    deployment_id = await api.running()
    before = await api.status(deployment_id)
    changes = {"labels": {"a": "b"}, "restart_policy": {"condition": "NEVER"}}
    after = await api.call("UpdateDeployment", deployment_id=deployment_id, **changes)
    assert (after["generation"], after["labels"], after["status"]) == (1, {"a": "b"}, "RUNNING")
    assert after["restart_policy"]["condition"] == "NEVER"
    assert after["replica_statuses"] == before["replica_statuses"]


async def test_an_update_mask_clears_fields(api: Caller) -> None:
    deployment_id = await api.running(labels={"a": "b"})
    after = await api.call("UpdateDeployment", deployment_id=deployment_id, update_mask="labels")
    assert after["labels"] == {}
    text = await api.invalid("update_mask", "UpdateDeployment", deployment_id=deployment_id, update_mask="poolId")
    assert "'pool_id' cannot be updated" in text


async def test_an_empty_update_mask_is_as_good_as_none(api: Caller) -> None:
    deployment_id = await api.running(labels={"a": "b"})
    after = await api.call("UpdateDeployment", deployment_id=deployment_id, update_mask="", labels={"c": "d"})
    assert after["labels"] == {"c": "d"}


async def test_an_update_is_checked_like_a_deployment(api: Caller) -> None:
    deployment_id = await api.running()
    wrong = {"configuration": {"command": ["x"], "prot": 1}}
    await api.refused(
        "INVALID_ARGUMENT", "INVALID_CONFIGURATION", "UpdateDeployment", deployment_id=deployment_id, **wrong
    )
    too_many = {"deployment_id": deployment_id, "gpu_per_replica": 8}
    await api.refused("FAILED_PRECONDITION", "GPU_COUNT_EXCEEDED", "UpdateDeployment", **too_many)
    strategy = {"max_surge": 0, "max_unavailable": 0}
    await api.invalid("update_strategy", "UpdateDeployment", deployment_id=deployment_id, update_strategy=strategy)
    assert (await api.status(deployment_id))["generation"] == 1


async def test_terminate_keeps_the_record_and_start_runs_it_again(api: Caller) -> None:
    deployment_id = await api.running()
    answer = await api.call("DeleteDeployment", deployment_id=deployment_id)
    assert answer == {"deployment_id": deployment_id, "status": "TERMINATING"}
    stopped = await api.reach(deployment_id, "STOPPED")
    assert (stopped["replica_statuses"], stopped["endpoint"], stopped["ready_replicas"]) == ([], "", 0)
    again = await api.call("DeleteDeployment", deployment_id=deployment_id)
    assert again == {"deployment_id": deployment_id, "status": "STOPPED"}
    started = await api.call("StartDeployment", deployment_id=deployment_id)
    assert started == {"deployment_id": deployment_id, "status": "DEPLOYING"}
    await api.reach(deployment_id, "RUNNING")


async def test_a_failed_deployment_can_be_started(api: Caller) -> None:
    deployment_id = await api.deploy(await api.make_pool(), configuration={"command": ["no-such-server"]})
    await api.reach(deployment_id, "FAILED")
    assert (await api.call("StartDeployment", deployment_id=deployment_id))["status"] == "DEPLOYING"
    found = await api.reach(deployment_id, "FAILED")
    assert "command not found" in found["error_message"]


async def test_a_running_deployment_is_neither_started_nor_purged(api: Caller) -> None:
    deployment_id = await api.running()
    for rpc in ("StartDeployment", "PurgeDeployment"):
        error = await api.refused("FAILED_PRECONDITION", "INVALID_STATUS", rpc, deployment_id=deployment_id)
        assert "RUNNING" in error.message
    await api.reach(deployment_id, "RUNNING")


@pytest.mark.parametrize("status", ["STOPPED", "FAILED"])
async def test_a_purged_deployment_is_gone(api: Caller, status: str) -> None:
    if status == "STOPPED":
        deployment_id = await api.running()
        await api.terminate(deployment_id)
    else:
        deployment_id = await api.deploy(await api.make_pool(), configuration={"command": ["no-such-server"]})
        await api.reach(deployment_id, "FAILED")
    answer = await api.call("PurgeDeployment", deployment_id=deployment_id)
    assert answer == {"deployment_id": deployment_id, "status": "DELETED"}
    for rpc in ("GetDeployment", "PurgeDeployment", "GetDeploymentLogs"):
        await api.refused("NOT_FOUND", "DEPLOYMENT_NOT_FOUND", rpc, deployment_id=deployment_id)
    assert (await api.call("ListDeployments"))["total_size"] == 0


async def test_deployments_are_listed_by_what_they_are(api: Caller) -> None:
    a, b = await api.make_pool("a"), await api.make_pool("b")
    runs = await api.deploy(a, org_id="acme", model_name="one")
    stopped = await api.deploy(b, org_id="other", model_name="two", replicas=0)
    await api.reach(runs, "RUNNING")
    await api.terminate(stopped)
    for query, expected in (
        ({}, [stopped, runs]),
        ({"org_id": "acme"}, [runs]),
        ({"pool_id": b}, [stopped]),
        ({"status": "RUNNING"}, [runs]),
        ({"status": "STOPPED"}, [stopped]),
        ({"status": "FAILED"}, []),
        ({"model_name": "two"}, [stopped]),
        ({"org_id": "acme", "model_name": "two"}, []),
    ):
        answer = await api.call("ListDeployments", **query)
        assert [item["deployment_id"] for item in answer["deployments"]] == expected, query
        assert answer["total_size"] == len(expected)
    (listed,) = (await api.call("ListDeployments", org_id="acme"))["deployments"]
    assert listed == await api.status(runs)


async def happened(api: Caller, deployment_id: str, reason: str) -> dict[str, Any]:
    """The events once there is one of this reason: it is noted just after the status can be seen."""

    async def look() -> dict[str, Any] | None:
        answer = await api.call("ListDeploymentEvents", deployment_id=deployment_id)
        return answer if any(event["reason"] == reason for event in answer["events"]) else None

    return dict(await eventually(look, within_s=30))


async def test_events_tell_the_story_newest_first(api: Caller) -> None:
    deployment_id = await api.running()
    await happened(api, deployment_id, "DEPLOYMENT_RUNNING")
    await api.terminate(deployment_id)
    answer = await happened(api, deployment_id, "DEPLOYMENT_STOPPED")
    assert (answer["deployment_id"], answer["total_size"]) == (deployment_id, len(answer["events"]))
    told = [event["reason"] for event in reversed(answer["events"])]
    wanted = ["DEPLOYMENT_ACCEPTED", "DEPLOYMENT_RUNNING", "DEPLOYMENT_TERMINATED", "DEPLOYMENT_STOPPED"]
    assert [reason for reason in told if reason.startswith("DEPLOYMENT_")] == wanted
    assert any(event["replica_id"] and event["attempt"] == 1 for event in answer["events"])
    assert {event["type"] for event in answer["events"]} == {"NORMAL"}
    assert all(
        event["event_id"] and event["time"] and event["actor"] and event["message"] for event in answer["events"]
    )
    times = [moment(event["time"]) for event in answer["events"]]
    assert times == sorted(times, reverse=True)
