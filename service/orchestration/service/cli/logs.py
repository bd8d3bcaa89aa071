"""`orchestration logs`: what the replicas of a deployment print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.v1.model_deployments_pb2 import LogEntry


def logs(
    deployment_id: Annotated[str, typer.Argument(metavar="DEPLOYMENT_ID")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with lines as they come.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, max=5000, help="Begin with the last N lines.")] = 100,
    replica: Annotated[str, typer.Option("--replica", help="Only this replica's, by id.")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with its time.")] = False,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Print the log lines of a deployment, oldest first."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.output import print_json
    from orchestration.v1 import model_deployments_pb2 as pb

    with connect(server, timeout) as client:
        if follow:
            tailing = pb.TailDeploymentLogsRequest(
                deployment_id=deployment_id, follow=True, tail=tail, replica_id=replica
            )
            for entry in client.stream(DEPLOYMENTS + "TailDeploymentLogs", tailing, pb.LogEntry):
                _print(entry, output, timestamps=timestamps)
            return
        request = pb.GetDeploymentLogsRequest(deployment_id=deployment_id, tail=tail, replica_id=replica)
        reply = client.call(DEPLOYMENTS + "GetDeploymentLogs", request, pb.GetDeploymentLogsResponse)
    if output is Output.JSON:
        print_json(reply)
        return
    for entry in reply.logs:
        _print(entry, output, timestamps=timestamps)
    if not reply.logs:
        typer.echo(f"No lines yet. Follow them: orchestration logs -f {deployment_id}", err=True)


def _print(entry: LogEntry, output: Output, *, timestamps: bool) -> None:
    from orchestration.service.cli.output import clock, print_json

    if output is Output.JSON:
        print_json(entry, line=True)
    else:
        typer.echo(f"{clock(entry.time)} {entry.message}" if timestamps else entry.message)
