"""Following a deployment by WatchDeployments until it is what was waited for, shown as it changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group
from rich.live import Live

from orchestration.service.cli.client import DEPLOYMENTS, Client
from orchestration.service.cli.columns import REPLICAS
from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.output import table
from orchestration.v1 import model_deployments_pb2 as pb

Status = pb.Deployment.Status


def watch(client: Client, deployment_id: str, timeout_s: float) -> Iterator[pb.Deployment]:
    """The deployment now, and after each change, until ``timeout_s`` seconds have passed. Raises `CliError`."""
    request = pb.WatchDeploymentsRequest(deployment_id=deployment_id)
    for change in client.stream(DEPLOYMENTS + "WatchDeployments", request, pb.WatchDeploymentsResponse, timeout_s):
        if change.type == pb.WatchDeploymentsResponse.DELETED:
            raise CliError(f"deployment {deployment_id} was deleted meanwhile", ExitCode.CONFLICT)
        if change.HasField("deployment"):
            yield change.deployment


def wait_until(
    client: Client,
    deployment_id: str,
    done: Callable[[pb.Deployment], bool],
    *,
    timeout_s: float,
    show: Callable[[pb.Deployment], None],
) -> pb.Deployment:
    """Follow the deployment until ``done`` or FAILED, calling ``show`` with each state; returns the last one.

    Raises `CliError` (UNAVAILABLE) when ``timeout_s`` seconds pass before.
    """
    ends = time.monotonic() + timeout_s
    status = "unknown"
    try:
        for deployment in watch(client, deployment_id, timeout_s):
            status = Status.Name(deployment.status)
            show(deployment)
            if done(deployment) or deployment.status == Status.FAILED:
                return deployment
    except CliError as error:
        if time.monotonic() < ends:
            raise
        raise CliError(
            f"gave up on deployment {deployment_id} after {timeout_s:g} s; it is {status}", ExitCode.UNAVAILABLE
        ) from error
    raise CliError(f"the server ended the watch of deployment {deployment_id}; it is {status}", ExitCode.UNAVAILABLE)


def is_running(deployment: pb.Deployment) -> bool:
    """Every wanted replica is ready."""
    return deployment.status == Status.RUNNING


def is_stopped(deployment: pb.Deployment) -> bool:
    """Nothing of it runs any more."""
    return deployment.status == Status.STOPPED


class ReplicaProgress:
    """Shows replicas while they start: a table redrawn in place on a terminal, a line for each change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told: dict[str, str] = {}
        self._started = time.monotonic()

    def __enter__(self) -> ReplicaProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, deployment: pb.Deployment) -> None:
        """Show the state that the deployment is in."""
        status = f"{Status.Name(deployment.status)} {deployment.ready_replicas}/{deployment.replicas} ready"
        if self._live:
            replicas = sorted(deployment.replica_statuses, key=lambda replica: replica.ordinal)
            self._live.update(Group(status, table(replicas, REPLICAS)), refresh=True)
            return
        for replica in deployment.replica_statuses:
            state = pb.ReplicaStatus.State.Name(replica.state)
            why = ": ".join(part for part in (replica.reason, replica.message) if part)
            self._tell(replica.replica_id, f"replica {replica.ordinal} {state}" + (f" ({why})" if why else ""))
        self._tell("", f"deployment {status}")

    def _tell(self, key: str, line: str) -> None:
        if self._told.get(key) != line:
            self._told[key] = line
            self._console.print(f"  {time.monotonic() - self._started:5.1f} s  {line}")


def failure(client: Client, deployment: pb.Deployment, lines: int = 10) -> str:
    """Why a deployment failed, with the last lines that its replicas printed."""
    text = f"deployment {deployment.deployment_id} FAILED: {deployment.error_message or 'no reason given'}"
    request = pb.GetDeploymentLogsRequest(deployment_id=deployment.deployment_id, tail=lines)
    logs = client.call(DEPLOYMENTS + "GetDeploymentLogs", request, pb.GetDeploymentLogsResponse).logs
    if not logs:
        return f"{text}\n  (its replicas printed nothing)"
    return "\n  ".join([text, "last log lines:", *(entry.message for entry in logs)])
