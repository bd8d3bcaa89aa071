"""The status of a deployment as a function of its rows."""

from __future__ import annotations

import pytest

from orchestration.service.domain.status import DeploymentStatus, deployment_status
from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState


def deployment(**fields: object) -> Deployment:
    base: dict[str, object] = {
        "id": "d",
        "org_id": "o",
        "owner_id": "u",
        "pool_id": "p",
        "model_name": "m",
        "engine": "custom",
        "inference_model": "",
        "replicas": 2,
    }
    return Deployment(**{**base, **fields})  # type: ignore[arg-type]


def replica(ordinal: int, state: ReplicaState, **fields: object) -> Replica:
    base: dict[str, object] = {"generation": 1, "retry_at": 5.0 if state is ReplicaState.FAILED else 0.0}
    return Replica(id=f"r{ordinal}", deployment_id="d", ordinal=ordinal, state=state, **{**base, **fields})  # type: ignore[arg-type]


READY, STARTING, FAILED = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.FAILED
DONE = ReplicaState.TERMINATED

CASES: list[tuple[str, dict[str, object], list[Replica], DeploymentStatus]] = [
    ("nothing yet", {}, [], DeploymentStatus.DEPLOYING),
    ("first start", {}, [replica(0, READY), replica(1, STARTING)], DeploymentStatus.DEPLOYING),
    ("all ready", {}, [replica(0, READY), replica(1, READY)], DeploymentStatus.RUNNING),
    ("none wanted", {"replicas": 0}, [], DeploymentStatus.RUNNING),
    ("all done", {}, [replica(0, DONE), replica(1, DONE)], DeploymentStatus.STOPPED),
    ("one done, one at work", {}, [replica(0, DONE), replica(1, READY)], DeploymentStatus.RUNNING),
    ("one done, one not yet at work", {}, [replica(0, DONE), replica(1, STARTING)], DeploymentStatus.DEPLOYING),
    (
        "one done, one given up",
        {"complete_generation": 1},
        [replica(0, DONE), replica(1, FAILED, retry_at=0.0)],
        DeploymentStatus.FAILED,
    ),
    (
        "scaled down, the surplus still there",
        {"complete_generation": 1},
        [replica(0, READY), replica(1, READY), replica(2, ReplicaState.TERMINATING)],
        DeploymentStatus.RUNNING,
    ),
    (
        "scaled down while one was lost",
        {"complete_generation": 1},
        [replica(0, READY), replica(1, FAILED), replica(2, ReplicaState.TERMINATING)],
        DeploymentStatus.DEGRADED,
    ),
    (
        "one lost after it was complete",
        {"complete_generation": 1},
        [replica(0, READY), replica(1, STARTING)],
        DeploymentStatus.DEGRADED,
    ),
    (
        "all lost after it was complete",
        {"complete_generation": 1},
        [replica(0, FAILED, ready_at=1.0), replica(1, FAILED, ready_at=1.0)],
        DeploymentStatus.DEGRADED,
    ),
    (
        "an update under way",
        {"complete_generation": 1, "generation": 2},
        [replica(0, READY), replica(0, STARTING, generation=2)],
        DeploymentStatus.UPDATING,
    ),
    ("one given up", {}, [replica(0, READY), replica(1, FAILED, retry_at=0.0)], DeploymentStatus.DEGRADED),
    (
        "all given up",
        {},
        [replica(0, FAILED, retry_at=0.0), replica(1, FAILED, retry_at=0.0)],
        DeploymentStatus.FAILED,
    ),
    ("retrying is not failed", {}, [replica(0, FAILED), replica(1, FAILED)], DeploymentStatus.DEPLOYING),
    ("being ended", {"desired": DesiredState.STOPPED}, [replica(0, READY)], DeploymentStatus.TERMINATING),
    ("ended", {"desired": DesiredState.STOPPED}, [], DeploymentStatus.STOPPED),
    (
        "an old replica left over",
        {"replicas": 1, "generation": 2, "complete_generation": 1},
        [replica(0, READY, generation=2), replica(1, ReplicaState.TERMINATING)],
        DeploymentStatus.UPDATING,
    ),
]


@pytest.mark.parametrize(("fields", "replicas", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_status(fields: dict[str, object], replicas: list[Replica], expected: DeploymentStatus) -> None:
    assert deployment_status(deployment(**fields), replicas) is expected
