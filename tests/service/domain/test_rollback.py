"""Which generation is rolled back, to what, and which replicas are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.service.domain import rollback
from orchestration.service.domain.conditions import aspects
from orchestration.service.domain.rollout import plan
from orchestration.service.domain.status import DeploymentStatus, deployment_status
from orchestration.store.records import Deployment, DesiredState, Replica, ReplicaState

NOW = 1000.0
DEADLINE_S = 60.0
FIRST = Deployment(
    id="d",
    org_id="",
    owner_id="",
    pool_id="p",
    model_name="m",
    model_id="m1",
    model_version="1",
    engine="custom",
    inference_model="one",
    replicas=2,
    labels={"a": "old"},
)
RUNS = [
    Replica(id=f"r{number}", deployment_id="d", ordinal=number, generation=1, state=ReplicaState.READY, attempt=1)
    for number in range(2)
]
STABLE = rollback.noted(FIRST, RUNS)
UPDATE = rollback.renewed(replace(STABLE, model_id="m2", model_version="2", inference_model="two", labels={"a": "new"}))


def replica(number: int, generation: int, state: ReplicaState, **fields: object) -> Replica:
    made = Replica(id=f"r{number}", deployment_id="d", ordinal=number, generation=generation, state=state, attempt=1)
    return replace(made, **fields)  # type: ignore[arg-type]


OLD = replica(1, 1, ReplicaState.READY)
GIVEN_UP = replica(0, 2, ReplicaState.FAILED, reason="EXITED", message="exit code 3", exit_code=3)


def waiting(**fields: object) -> Replica:
    return replica(
        0, 2, ReplicaState.PENDING, **{"attempt": 0, "created_at": NOW - 61, "reason": "NO_CAPACITY", **fields}
    )


def test_what_is_complete_and_serves_is_what_to_go_back_to() -> None:
    assert (STABLE.complete_generation, STABLE.stable_generation) == (1, 1)
    assert STABLE.stable_template["inference_model"] == "one"
    assert rollback.noted(FIRST, RUNS[:1]) == FIRST
    assert rollback.noted(replace(FIRST, desired=DesiredState.STOPPED), RUNS) == replace(
        FIRST, desired=DesiredState.STOPPED
    )
    none = rollback.noted(replace(FIRST, replicas=0), [])
    assert (none.complete_generation, none.stable_generation) == (1, 0), "none proves nothing"


FAILURES: list[tuple[str, Deployment, Replica, str]] = [
    ("a replica was given up", UPDATE, GIVEN_UP, "EXITED"),
    ("a replica is to be tried again", UPDATE, replace(GIVEN_UP, retry_at=NOW + 1), ""),
    ("a replica of the generation before was given up", UPDATE, replace(GIVEN_UP, generation=1), ""),
    ("a batch job ended well", UPDATE, replace(GIVEN_UP, state=ReplicaState.TERMINATED, exit_code=0), ""),
    ("a batch job ended badly", replace(UPDATE, workload_type="batch"), GIVEN_UP, "EXITED"),
    ("a replica waits too long", UPDATE, waiting(), "PROGRESS_DEADLINE_EXCEEDED"),
    ("a replica waits", UPDATE, waiting(created_at=NOW - 59), ""),
    ("a replica was placed before, and waits again", UPDATE, waiting(attempt=1, state_changed_at=NOW - 59), ""),
    (
        "its provider cannot start it, and it was without an instance before",
        UPDATE,
        replace(waiting(attempt=2, state_changed_at=NOW - 1, waits_since=NOW - 61), state=ReplicaState.PROVISIONING),
        "PROGRESS_DEADLINE_EXCEEDED",
    ),
    ("its provider is being asked", UPDATE, replace(waiting(reason=""), state=ReplicaState.PROVISIONING), ""),
    ("nobody has looked for a place yet", UPDATE, waiting(reason=""), ""),
    ("nothing was ever complete", replace(UPDATE, stable_generation=0, stable_template={}), GIVEN_UP, ""),
    ("what was complete before fails now", STABLE, replace(GIVEN_UP, generation=1), ""),
    ("it is to be ended", replace(UPDATE, desired=DesiredState.STOPPED), GIVEN_UP, ""),
]


@pytest.mark.parametrize(("wanted", "shows", "reason"), [case[1:] for case in FAILURES], ids=[c[0] for c in FAILURES])
def test_a_generation_has_failed_when(wanted: Deployment, shows: Replica, reason: str) -> None:
    why = rollback.failure(wanted, [OLD, shows], NOW, DEADLINE_S)
    assert (why.reason if why else "") == reason


def test_waiting_while_nobody_was_there_does_not_count() -> None:
    assert rollback.failure(UPDATE, [waiting()], NOW, DEADLINE_S, since=NOW - 10) is None
    assert rollback.next_look_s(UPDATE, [waiting()], NOW, DEADLINE_S, since=NOW - 10) == 50.0


def test_the_deadline_is_looked_at_when_it_comes() -> None:
    assert rollback.next_look_s(UPDATE, [OLD, waiting(created_at=NOW - 15)], NOW, DEADLINE_S) == 45.0
    assert rollback.next_look_s(UPDATE, [OLD, GIVEN_UP], NOW, DEADLINE_S) is None
    assert rollback.next_look_s(STABLE, [replace(waiting(), generation=1)], NOW, DEADLINE_S) is None


def test_a_rollback_brings_back_what_is_run_and_keeps_what_is_wanted() -> None:
    scaled = replace(UPDATE, replicas=5, max_surge=2)
    why = rollback.failure(scaled, [GIVEN_UP], NOW, DEADLINE_S)
    assert why is not None
    after = rollback.rolled_back(scaled, why, NOW)
    assert (after.model_id, after.model_version, after.inference_model) == ("m1", "1", "one")
    assert (after.replicas, after.max_surge, after.labels) == (5, 2, {"a": "new"})
    assert (after.generation, after.stable_generation, after.version) == (3, 3, scaled.version + 1)
    assert (after.failed_generation, after.failed_reason, after.failed_at) == (2, "EXITED", NOW)
    assert rollback.explain_rollback(after) == "generation 2 was rolled back: exit code 3"
    (told,) = [aspect for aspect in aspects(after, [OLD]) if aspect.type == "RolledBack"]
    assert (told.holds, told.reason, told.since) == (True, "EXITED", NOW)


def test_what_runs_the_stable_generation_is_kept_unless_it_was_given_up_or_is_being_ended() -> None:
    rows = [
        OLD,
        replica(2, 1, ReplicaState.STARTING),
        replica(3, 1, ReplicaState.FAILED, retry_at=5.0),
        replica(4, 1, ReplicaState.FAILED),
        replica(5, 1, ReplicaState.TERMINATING),
        GIVEN_UP,
    ]
    after = rollback.rolled_back(UPDATE, rollback.Failure(GIVEN_UP, "EXITED", ""), NOW)
    kept = rollback.taken_over(UPDATE, after, rows)
    assert [(item.id, item.generation, item.state) for item in kept] == [
        ("r1", 3, ReplicaState.READY),
        ("r2", 3, ReplicaState.STARTING),
        ("r3", 3, ReplicaState.FAILED),
    ]


def test_an_update_back_to_what_was_complete_takes_its_replicas_over() -> None:
    back = rollback.renewed(replace(UPDATE, **rollback.template(STABLE)))  # type: ignore[arg-type]
    assert (back.generation, back.stable_generation) == (3, 3)
    assert [item.generation for item in rollback.taken_over(UPDATE, back, [OLD, GIVEN_UP])] == [3]
    other = rollback.renewed(replace(UPDATE, env={"x": "y"}))
    assert other.stable_generation == 1
    assert rollback.taken_over(UPDATE, other, [OLD, GIVEN_UP]) == []


def test_an_update_that_is_about_to_be_rolled_back_is_still_under_way() -> None:
    assert deployment_status(UPDATE, [OLD, GIVEN_UP]) is DeploymentStatus.UPDATING
    assert deployment_status(UPDATE, [GIVEN_UP]) is DeploymentStatus.UPDATING


def test_replicas_of_a_generation_between_go_idle_ones_first() -> None:
    third = rollback.renewed(replace(UPDATE, env={"x": "y"}, replicas=3))
    rows = [replica(1, 1, ReplicaState.READY), replica(2, 1, ReplicaState.READY), replica(0, 2, ReplicaState.STARTING)]
    assert [item.id for item in plan(third, rows).terminate] == ["r0"]


def test_scaling_down_while_updating_keeps_the_new_and_gives_up_unhealthy_and_newest_ones_first() -> None:
    rows = [
        replica(0, 2, ReplicaState.READY, created_at=5.0),
        replica(1, 2, ReplicaState.UNHEALTHY, created_at=4.0),
        replica(2, 2, ReplicaState.STARTING, created_at=6.0),
        replica(3, 2, ReplicaState.READY, created_at=7.0),
        replica(4, 1, ReplicaState.READY, created_at=1.0),
    ]
    assert [item.id for item in plan(replace(UPDATE, replicas=1), rows).terminate] == ["r1", "r2", "r3", "r4"]
    assert [item.id for item in plan(replace(UPDATE, replicas=3), rows).terminate] == ["r1", "r4"]


def test_replicas_that_must_move_are_replaced_within_the_budget() -> None:
    rows = [replica(number, 1, ReplicaState.READY, created_at=float(number)) for number in range(2)]
    moving = frozenset({"r0", "r1"})
    step = plan(STABLE, rows, moving)
    assert ([item.id for item in step.terminate], step.create) == (["r1"], ()), "max_unavailable is 1"
    rows[1] = replace(rows[1], state=ReplicaState.TERMINATING)
    assert plan(STABLE, rows, moving).create == (), "the new one waits for the place"
    assert plan(STABLE, rows[:1], moving).create == (1,)
    surging = replace(STABLE, max_surge=1, max_unavailable=0)
    step = plan(surging, rows[:1], moving)
    assert (step.create, step.terminate) == ((1, 2), ()), "replaced before they go"
