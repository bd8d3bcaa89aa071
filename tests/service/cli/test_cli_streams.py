"""Commands that follow: logs -f, watch, deploy --wait."""

from __future__ import annotations

import json

import grpc
import pytest

from orchestration.v1 import model_deployments_pb2 as pb
from tests.support.command_line import Run
from tests.support.fake_api import Failure, FakeApi, Stream

State = pb.ReplicaStatus.State
Status = pb.Deployment.Status


def entry(number: int) -> pb.LogEntry:
    line = pb.LogEntry(message=f"line {number} [b]", replica_id="r1", stream="stdout", cursor=str(number))
    line.time.FromJsonString(f"2026-01-02T03:04:0{number}.500Z")
    return line


def change(
    status: pb.Deployment.Status, *states: pb.ReplicaStatus.State, error: str = ""
) -> pb.WatchDeploymentsResponse:
    replicas = [pb.ReplicaStatus(replica_id=f"r{i}", ordinal=i, state=state) for i, state in enumerate(states)]
    deployment = pb.Deployment(
        deployment_id="d1",
        model_name="m",
        status=status,
        replicas=len(states),
        ready_replicas=states.count(State.READY),
        replica_statuses=replicas,
        endpoint="http://127.0.0.1:9",
        error_message=error,
    )
    return pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.MODIFIED, deployment=deployment)


async def test_logs_are_printed_as_they_are(api: FakeApi, cli: Run) -> None:
    api.answers["GetDeploymentLogs"] = pb.GetDeploymentLogsResponse(logs=[entry(1), entry(2)])
    assert (await cli("logs", "d1")).out == "line 1 [b]\nline 2 [b]\n"
    timed = await cli("logs", "d1", "--timestamps")
    assert timed.out.splitlines()[0] == "2026-01-02 03:04:01.500Z line 1 [b]"


async def test_no_logs_is_told_beside_the_output(api: FakeApi, cli: Run) -> None:
    api.answers["GetDeploymentLogs"] = pb.GetDeploymentLogsResponse()
    result = await cli("logs", "d1")
    assert (result.code, result.out) == (0, "")
    assert "orchestration logs -f d1" in result.err


async def test_logs_follow_until_the_stream_ends(api: FakeApi, cli: Run) -> None:
    api.answers["TailDeploymentLogs"] = Stream([entry(1), entry(2), entry(3)])
    result = await cli("logs", "d1", "-f", "--tail", "2", "-o", "json")
    assert [json.loads(line)["cursor"] for line in result.out.splitlines()] == ["1", "2", "3"]
    assert api.asked("TailDeploymentLogs") == [pb.TailDeploymentLogsRequest(deployment_id="d1", follow=True, tail=2)]


async def test_watch_prints_a_line_for_each_change(api: FakeApi, cli: Run) -> None:
    synced = pb.WatchDeploymentsResponse(type=pb.WatchDeploymentsResponse.SYNCED)
    api.answers["WatchDeployments"] = Stream([change(Status.DEPLOYING, State.PENDING), synced])
    result = await cli("deployments", "watch", "d1")
    assert result.out.split() == ["MODIFIED", "d1", "DEPLOYING", "0/1", "ready", "m"]
    as_json = await cli("deployments", "watch", "d1", "-o", "json")
    assert [json.loads(line)["type"] for line in as_json.out.splitlines()] == ["MODIFIED", "SYNCED"]


async def test_an_error_in_a_stream_is_told(api: FakeApi, cli: Run) -> None:
    api.answers["WatchDeployments"] = Failure(grpc.StatusCode.OUT_OF_RANGE, "the resume token is too old")
    result = await cli("deployments", "watch", "--resume", "x")
    assert result.code == 2
    assert result.err == "error: OUT_OF_RANGE: the resume token is too old\n"


async def test_deploy_waits_until_it_runs_and_shows_each_step(api: FakeApi, cli: Run) -> None:
    api.answers["DeployModel"] = pb.DeployModelResponse(deployment_id="d1", status=Status.DEPLOYING)
    steps = [
        change(Status.DEPLOYING, State.PENDING, State.PENDING),
        change(Status.DEPLOYING, State.READY, State.STARTING),
        change(Status.RUNNING, State.READY, State.READY),
    ]
    api.answers["WatchDeployments"] = Stream(steps, open_end=True)
    result = await cli("deploy", "m", "--pool", "p", "--wait")
    assert result.code == 0
    assert result.out == "deployment d1 is RUNNING at http://127.0.0.1:9\n"
    told = [line.split("s  ", 1)[1] for line in result.err.splitlines()]
    assert told == [
        "replica 0 PENDING",
        "replica 1 PENDING",
        "deployment DEPLOYING 0/2 ready",
        "replica 0 READY",
        "replica 1 STARTING",
        "deployment DEPLOYING 1/2 ready",
        "replica 1 READY",
        "deployment RUNNING 2/2 ready",
    ]
    await api.ended.wait()


async def test_a_deployment_that_fails_shows_why_and_its_last_lines(api: FakeApi, cli: Run) -> None:
    api.answers["DeployModel"] = pb.DeployModelResponse(deployment_id="d1")
    api.answers["WatchDeployments"] = Stream([change(Status.FAILED, State.FAILED, error="exit code 3")], open_end=True)
    api.answers["GetDeploymentLogs"] = pb.GetDeploymentLogsResponse(logs=[entry(1)])
    result = await cli("deploy", "m", "--pool", "p", "--wait")
    assert result.code == 1
    assert "error: deployment d1 FAILED: exit code 3\n  last log lines:\n  line 1 [b]\n" in result.err


async def test_waiting_too_long_is_five(api: FakeApi, cli: Run) -> None:
    api.answers["DeployModel"] = pb.DeployModelResponse(deployment_id="d1")
    api.answers["WatchDeployments"] = Stream([change(Status.DEPLOYING, State.PENDING)], open_end=True)
    result = await cli("deploy", "m", "--pool", "p", "--wait", "--wait-timeout", "0.3")
    assert result.code == 5
    assert "gave up on deployment d1 after 0.3 s; it is DEPLOYING" in result.err


@pytest.mark.parametrize("feasible", [True, False])
async def test_validate_only_explains_the_placement(feasible: bool, api: FakeApi, cli: Run) -> None:
    candidate = pb.PlacementCandidate(pool_id="p", feasible=feasible, reason="GPU_COUNT", message="2 GPUs, 4 asked for")
    api.answers["DeployModel"] = pb.DeployModelResponse(candidates=[candidate])
    result = await cli("deploy", "m", "--pool", "p", "--validate-only")
    assert "nothing was made" in result.out
    assert ("yes" if feasible else "no") in result.out.splitlines()[-1].split()
    assert "2 GPUs, 4 asked for" in result.out
