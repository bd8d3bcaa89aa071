"""A deployment's view is made once for the same records, and anew for any other."""

from __future__ import annotations

from dataclasses import replace

from orchestration.service.usecases.views import DeploymentViews, deployment_list, deployment_view
from orchestration.store.records import Deployment, Replica, ReplicaState
from orchestration.v1 import model_deployments_pb2 as pb
from tests.support import stores

NOW = stores.FakeClock()


def ready(deployment: Deployment, ordinal: int) -> Replica:
    return stores.replica(deployment.id, ordinal=ordinal, state=ReplicaState.READY, endpoint=f"http://e{ordinal}")


def test_the_same_records_have_the_same_view() -> None:
    deployment = stores.deployment("p", replicas=2)
    replicas = [ready(deployment, 0), ready(deployment, 1)]
    assert deployment_view(deployment, replicas, clock=NOW) is deployment_view(deployment, list(replicas), clock=NOW)


def test_any_other_record_makes_another_view() -> None:
    deployment = stores.deployment("p", replicas=2)
    one, two = ready(deployment, 0), ready(deployment, 1)
    assert deployment_view(deployment, [one, two], clock=NOW).status == pb.Deployment.RUNNING
    assert deployment_view(deployment, [one], clock=NOW).ready_replicas == 1
    assert deployment_view(deployment, [], clock=NOW).ready_replicas == 0
    assert deployment_view(deployment, [one, replace(two, state=ReplicaState.FAILED)], clock=NOW).ready_replicas == 1
    assert deployment_view(replace(deployment, replicas=3), [one, two], clock=NOW).replicas == 3
    assert deployment_view(deployment, [one, two], clock=NOW).ready_replicas == 2


def test_a_revision_that_is_given_out_again_does_not_bring_the_old_view() -> None:
    deployment = stores.deployment("p", revision=7, model_version="rolled-back")
    assert deployment_view(deployment, [], clock=NOW).model_version == "rolled-back"
    assert deployment_view(replace(deployment, model_version="kept"), [], clock=NOW).model_version == "kept"


def test_only_those_asked_for_last_are_kept() -> None:
    views = DeploymentViews(size=2)
    first, second, third = (stores.deployment("p") for _ in range(3))
    view_of_first, view_of_second = views.get(first, []), views.get(second, [])
    assert views.get(first, []) is view_of_first
    views.get(third, [])  # the second has not been asked for the longest
    assert views.get(first, []) is view_of_first
    assert views.get(second, []) is not view_of_second


def test_a_list_shows_what_each_view_shows() -> None:
    priced = stores.deployment("p", accrued_cost=2.5, model_version="x" * 300)
    running = stores.replica(
        priced.id, state=ReplicaState.READY, instance_name="i", price_per_hour=3.0, billed_from=100.0
    )
    idle = stores.deployment("p")
    listed: list[tuple[Deployment, list[Replica]]] = [(priced, [running]), (idle, []), (priced, [running])]
    answer = pb.ListDeploymentsResponse.FromString(deployment_list(listed, now=3700.0))
    assert list(answer.deployments) == [deployment_view(*each, clock=lambda: 3700.0) for each in listed]
    assert answer.deployments[0].cost_so_far == 5.5
    assert deployment_list([], now=0.0) == b""
