"""What a Pod's status comes to."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.service.providers.base import InstanceState
from orchestration.service.providers.kubernetes.quantities import quantity
from orchestration.service.providers.kubernetes.states import look, seconds

CREATED = "2026-01-01T00:00:00Z"
LIMIT_S = 600.0

State = dict[str, Any]


def pod(phase: str, state: State | None = None, **status: Any) -> State:
    statuses = [{"name": "engine", "state": state or {}, "lastState": status.pop("last", {})}] if state else []
    return {
        "metadata": {"name": "p", "creationTimestamp": CREATED},
        "spec": {},
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def waiting(reason: str, message: str = "") -> State:
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, reason: str = "Error", **fields: Any) -> State:
    return {"terminated": {"exitCode": code, "reason": reason, **fields}}


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]


@pytest.mark.parametrize(
    ("item", "waited_s", "state", "reason", "words", "exit_code", "signal"),
    [
        (pod("Pending"), 0, InstanceState.PENDING, "", "", None, None),
        (
            pod("Pending", waiting("ContainerCreating")),
            9999,
            InstanceState.PENDING,
            "CONTAINER_CREATING",
            "",
            None,
            None,
        ),
        (pod("Pending", conditions=UNSCHEDULABLE), 0, InstanceState.PENDING, "UNSCHEDULABLE", "0/3 nodes", None, None),
        (pod("Pending", conditions=UNSCHEDULABLE), 601, InstanceState.FAILED, "UNSCHEDULABLE", "601 s", None, None),
        (
            pod("Pending", waiting("ImagePullBackOff", "no such image")),
            10,
            InstanceState.PENDING,
            "IMAGE_PULL_BACK_OFF",
            "no such image",
            None,
            None,
        ),
        (
            pod("Pending", waiting("ImagePullBackOff", "no such image")),
            700,
            InstanceState.FAILED,
            "IMAGE_PULL_BACK_OFF",
            "no such image (for 700 s)",
            None,
            None,
        ),
        (pod("Pending", waiting("InvalidImageName")), 0, InstanceState.FAILED, "INVALID_IMAGE_NAME", "", None, None),
        (pod("Running", {"running": {"startedAt": CREATED}}), 0, InstanceState.RUNNING, "", "", None, None),
        (pod("Unknown"), 0, InstanceState.RUNNING, "", "", None, None),
        (pod("Succeeded", terminated(0, "Completed")), 0, InstanceState.EXITED, "EXITED", "code 0", 0, None),
        (pod("Failed", terminated(3)), 0, InstanceState.EXITED, "EXITED", "code 3", 3, None),
        (pod("Running", terminated(3)), 0, InstanceState.EXITED, "EXITED", "code 3", 3, None),
        (pod("Failed", terminated(137)), 0, InstanceState.EXITED, "SIGNALED", "signal 9", 137, 9),
        (pod("Failed", terminated(255)), 0, InstanceState.EXITED, "EXITED", "code 255", 255, None),
        (pod("Failed", terminated(137, "OOMKilled")), 0, InstanceState.EXITED, "OOM_KILLED", "memory", 137, 9),
        (
            pod("Failed", terminated(128, "StartError", message="exec: vllm: not found")),
            0,
            InstanceState.FAILED,
            "ENGINE_NOT_STARTED",
            "vllm: not found",
            None,
            None,
        ),
        (
            pod("Running", waiting("CrashLoopBackOff"), last=terminated(7)),
            0,
            InstanceState.EXITED,
            "EXITED",
            "code 7",
            7,
            None,
        ),
        (
            pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
            0,
            InstanceState.FAILED,
            "EVICTED",
            "low on resource",
            None,
            None,
        ),
        (
            pod("Failed", terminated(143), reason="NodeShutdown", message="Pod was terminated for a node shutdown."),
            0,
            InstanceState.EXITED,
            "NODE_SHUTDOWN",
            "node shutdown",
            143,
            15,
        ),
        (
            pod("Failed", reason="UnexpectedAdmissionError", message="no healthy devices"),
            0,
            InstanceState.FAILED,
            "UNEXPECTED_ADMISSION_ERROR",
            "no healthy devices",
            None,
            None,
        ),
    ],
)
def test_a_status_is_read(
    item: State,
    waited_s: float,
    state: InstanceState,
    reason: str,
    words: str,
    exit_code: int | None,
    signal: int | None,
) -> None:
    found = look(item, seconds(CREATED) + waited_s, LIMIT_S)
    assert (found.state, found.reason, found.exit_code, found.signal) == (state, reason, exit_code, signal)
    assert words in found.message


def test_a_pod_that_is_being_deleted_is_stopping_and_says_why() -> None:
    item = pod("Running", {"running": {}})
    item["metadata"]["deletionTimestamp"] = CREATED
    assert look(item, 0, LIMIT_S).state is InstanceState.STOPPING
    item["status"]["conditions"] = [
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "preempted by train",
        }
    ]
    assert "preempted by train" in look(item, 0, LIMIT_S).message


def test_the_wait_for_an_image_begins_with_the_node() -> None:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T01:00:00Z"}
    item = pod("Pending", waiting("ErrImagePull"), conditions=[scheduled])
    assert look(item, seconds("2026-01-01T01:05:00Z"), LIMIT_S).state is InstanceState.PENDING
    assert look(item, seconds("2026-01-01T01:11:00Z"), LIMIT_S).state is InstanceState.FAILED


def test_a_cluster_whose_clock_is_wrong_fails_no_pod() -> None:
    item = pod("Pending", conditions=UNSCHEDULABLE)
    item["metadata"]["annotations"] = {"orchestration-gateway/created-at": "1800000000.5"}
    assert look(item, 1_800_000_000 + 500, LIMIT_S).state is InstanceState.PENDING
    assert look(item, 1_800_000_000 + 700, LIMIT_S).state is InstanceState.FAILED


def test_a_pod_that_makes_room_by_preemption_is_not_unschedulable() -> None:
    item = pod("Pending", conditions=UNSCHEDULABLE, nominatedNodeName="gpu-1")
    assert look(item, seconds(CREATED) + 9999, LIMIT_S).state is InstanceState.PENDING


@pytest.mark.parametrize(
    ("text", "amount"), [("500m", 0.5), ("2", 2.0), ("1.5Gi", 1.5 * 2**30), ("1e3", 1000.0), ("128974848", 128974848.0)]
)
def test_a_quantity_is_read(text: str, amount: float) -> None:
    assert quantity(text) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "four", "1Gb", "-", "1 2"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)
