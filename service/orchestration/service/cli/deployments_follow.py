"""`orchestration deployments events|watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.deployments_change import DeploymentId
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.v1.model_deployments_pb2 import WatchDeploymentsResponse


def events(
    deployment_id: DeploymentId,
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List what happened to a deployment, newest first."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect, fetch_pages
    from orchestration.service.cli.output import age, print_list
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.ListDeploymentEventsRequest(deployment_id=deployment_id)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(DEPLOYMENTS + "ListDeploymentEvents", request, pb.ListDeploymentEventsResponse),
            request,
            lambda page: len(page.events),
            limit,
        )
    print_list(
        reply,
        output,
        reply.events,
        (
            ("AGE", lambda event: age(event.time)),
            ("TYPE", lambda event: pb.DeploymentEvent.Type.Name(event.type)),
            ("REASON", lambda event: event.reason),
            ("ACTOR", lambda event: event.actor),
            ("REPLICA", lambda event: f"{event.replica_id} #{event.attempt}" if event.replica_id else "-"),
            ("MESSAGE", lambda event: event.message),
        ),
        empty=f"No events. See the deployment: orchestration deployments get {deployment_id}",
    )


def watch(
    deployment_id: Annotated[str, typer.Argument(metavar="[DEPLOYMENT_ID]", help="Only this one.")] = "",
    org: Annotated[str, typer.Option(help="Only this organisation's.")] = "",
    pool: Annotated[str, typer.Option(help="Only in this pool.")] = "",
    model: Annotated[str, typer.Option(help="Only of this model.")] = "",
    resume: Annotated[str, typer.Option(help="Go on after this resume_token.")] = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
) -> None:
    """Print deployments as they are now, and each change, until Ctrl-C."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.output import print_json
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.WatchDeploymentsRequest(
        org_id=org, pool_id=pool, deployment_id=deployment_id, model_name=model, resume_token=resume
    )
    with connect(server, timeout_s=30.0) as client:
        for change in client.stream(DEPLOYMENTS + "WatchDeployments", request, pb.WatchDeploymentsResponse):
            if output is Output.JSON:
                print_json(change, line=True)
            elif change.HasField("deployment"):
                typer.echo(_line(change))


def _line(change: WatchDeploymentsResponse) -> str:
    item = change.deployment
    return "  ".join(
        (
            f"{type(change).Type.Name(change.type):<8}",
            item.deployment_id,
            f"{type(item).Status.Name(item.status):<11}" if item.status else "-",
            f"{item.ready_replicas}/{item.replicas} ready",
            item.model_name,
            item.error_message,
        )
    ).rstrip()
