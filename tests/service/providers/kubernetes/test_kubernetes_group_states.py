"""What is asked of a cluster for a replica over several nodes, and what its Pods' states come to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.table import plan
from orchestration.service.providers.base import InstanceState
from orchestration.service.providers.kubernetes import group_manifests
from orchestration.service.providers.kubernetes.group_states import BROKEN, look_at, to_instance
from orchestration.service.providers.kubernetes.groups import WORKER_INDEX, Group
from orchestration.service.providers.kubernetes.settings import parse
from orchestration.service.providers.spans import Span
from tests.support.provider_processes import make_spec

CREATED = "2026-01-01T00:00:00Z"
State = dict[str, Any]


def made(engine: str, **configuration: Any) -> tuple[State, State, State]:
    """The LeaderWorkerSet of an engine with 16 GPUs over two nodes, and the containers of its two templates."""
    request = EngineRequest(
        engine=engine,
        model="org/model",
        model_name="model",
        workload_type="inference",
        gpu_per_replica=16,
        configuration=configuration,
        env={"HF_TOKEN": "secret-token"},
    )
    planned = plan(request)
    settings = parse({"kubeconfig": "unread", "shm_size": "16Gi"})
    assert settings is not None
    spec = make_spec(
        "r-1",
        owner="us",
        engine=engine,
        command=planned.command,
        over_nodes=planned.over_nodes,
        env=planned.env,
        image=planned.image,
        health_path=planned.health_path,
        gpu_count=16,
    )
    body = group_manifests.leader_worker_set(spec, settings, Span(2, 8), selector={"a": "b"}, price=4.0, now=1.0)
    templates = body["spec"]["leaderWorkerTemplate"]
    leader, worker = (templates[key]["spec"]["containers"][0] for key in ("leaderTemplate", "workerTemplate"))
    return body, leader, worker


def test_vllm_is_told_its_rank_and_its_workers_serve_nothing() -> None:
    body, leader, worker = made("vllm")
    common = ["--tensor-parallel-size", "8", "--pipeline-parallel-size", "2", "--nnodes", "2"]
    own = ["--node-rank", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)"]
    assert leader["command"][-10:] == common + own
    assert worker["command"] == [*leader["command"], "--headless"]
    assert leader["resources"]["limits"] == worker["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert [mount["name"] for mount in worker["volumeMounts"]] == ["weights", "shm"]
    assert "secret-token" not in str(body)
    templates = body["spec"]["leaderWorkerTemplate"]
    assert (body["spec"]["replicas"], templates["size"], templates["restartPolicy"]) == (1, 2, "None")
    assert templates["workerTemplate"]["spec"]["nodeSelector"] == {"a": "b"}
    assert templates["leaderTemplate"]["metadata"]["annotations"]["orchestration-gateway/price-per-hour"] == "4"


def test_sglang_meets_at_the_leader() -> None:
    _, leader, worker = made("sglang", args=["--x=$(MODEL)"])
    assert leader["command"][-3:] == ["--dist-init-addr", "$(LWS_LEADER_ADDRESS):20000", "--x=$$(MODEL)"]
    assert worker["command"] == leader["command"]


def pod(number: int, state: State, last: State | None = None, **status: Any) -> State:
    role = "worker" if number else "leader"
    told = {"name": "engine", "state": state, "lastState": {"terminated": last} if last else {}}
    labels = {"orchestration-gateway/role": role, WORKER_INDEX: str(number)}
    return {
        "metadata": {"name": f"p-{number}", "creationTimestamp": CREATED, "labels": labels},
        "spec": {"nodeName": f"n-{number}"},
        "status": {"phase": "Running", "containerStatuses": [told], **status},
    }


RUNS: State = {"running": {"startedAt": CREATED}}


def end(code: int, second: int, **fields: Any) -> State:
    return {"exitCode": code, "reason": "Error", "finishedAt": f"2026-01-01T00:01:{second:02d}Z", **fields}


def group(*pods: State, size: int = 3) -> Group:
    metadata: State = {"name": "set", "annotations": {}}
    return Group({"metadata": metadata, "spec": {"leaderWorkerTemplate": {"size": size}}}, pods)


@pytest.mark.parametrize(
    ("ends", "state", "reason", "code", "words"),
    [
        ({}, InstanceState.RUNNING, "", None, ""),
        ({0: end(3, 5)}, InstanceState.EXITED, "EXITED", 3, "exited with code 3"),
        ({0: end(1, 9), 2: end(7, 5)}, InstanceState.EXITED, "EXITED", 7, "worker 2 of 2 on node n-2: "),
        ({0: end(1, 5), 2: end(7, 9)}, InstanceState.EXITED, "EXITED", 1, "the engine exited with code 1"),
        ({0: end(0, 9), 1: end(0, 5)}, InstanceState.EXITED, "EXITED", 0, "code 0"),
        ({1: end(0, 5)}, InstanceState.FAILED, BROKEN, None, "worker 1 of 2"),
        ({1: end(137, 5, reason="OOMKilled")}, InstanceState.EXITED, "OOM_KILLED", 137, "for want of memory"),
        ({1: end(1, 5, message="NCCL: no link\n")}, InstanceState.EXITED, "EXITED", 1, "code 1: NCCL: no link"),
    ],
)
def test_what_ended_first_is_told(
    ends: dict[int, State], state: InstanceState, reason: str, code: int | None, words: str
) -> None:
    found = look_at(group(*(pod(number, RUNS, ends.get(number)) for number in range(3))), 0.0, 600.0)
    assert (found.state, found.reason, found.exit_code) == (state, reason, code)
    assert words in found.message


def test_a_group_is_over_when_it_is_being_deleted_or_gone() -> None:
    there = group(*(pod(number, RUNS) for number in range(3)))
    assert look_at(replace(there, made=None), 0.0, 600.0).state is InstanceState.STOPPING
    assert look_at(replace(there, made=None, hidden="why"), 0.0, 600.0).state is InstanceState.RUNNING
    assert there.made is not None
    there.made["metadata"]["deletionTimestamp"] = CREATED
    assert look_at(there, 0.0, 600.0).state is InstanceState.STOPPING


@pytest.mark.parametrize("ready", [True, False])
def test_a_pod_that_is_made_after_the_engine_was_ready_is_another_one(ready: bool) -> None:
    said = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:05:00Z"}
    later = pod(2, RUNS)
    later["metadata"]["creationTimestamp"] = "2026-01-01T00:06:00Z"
    found = look_at(group(pod(0, RUNS, conditions=[said]), pod(1, RUNS), later), 0.0, 600.0)
    assert found.state is (InstanceState.FAILED if ready else InstanceState.RUNNING)
    assert ("worker 2 of 2 was made again" in found.message) is ready


@pytest.mark.parametrize("number", [0, 1])
def test_what_a_container_wrote_is_made_fit_to_be_stored(number: int) -> None:
    waiting = {"waiting": {"reason": "Err\0", "message": "a\0b\ud800c"}}
    members = [pod(other, waiting if other == number else RUNS, phase="Pending") for other in range(2)]
    found = to_instance(group(*members, size=2), "here/ns", "", 0.0, 600.0)
    assert "a\ufffdb\ufffdc" in found.message
    assert "\0" not in found.reason + found.message
