"""`orchestration deployments ...`: see and change deployments."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.service.cli import deployments_change, deployments_follow, options
from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.options import DEFAULT_SERVER, Output

app = typer.Typer(help="Deployments: see, change, stop, watch.", no_args_is_help=True)
app.command("update")(deployments_change.update)
app.command("scale")(deployments_change.scale)
app.command("start")(deployments_change.start)
app.command("terminate")(deployments_change.terminate)
app.command("purge")(deployments_change.purge)
app.command("events")(deployments_follow.events)
app.command("watch")(deployments_follow.watch)


@app.command("list")
def list_deployments(
    org: Annotated[str, typer.Option(help="Only this organisation's.")] = "",
    pool: Annotated[str, typer.Option(help="Only in this pool.")] = "",
    status: Annotated[str, typer.Option(help="Only with this status, such as running.")] = "",
    model: Annotated[str, typer.Option(help="Only of this model.")] = "",
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List deployments, newest first."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect, fetch_pages
    from orchestration.service.cli.columns import DEPLOYMENTS as COLUMNS
    from orchestration.service.cli.output import print_list
    from orchestration.v1 import model_deployments_pb2 as pb

    known = pb.Deployment.Status
    if status and status.upper() not in known.keys()[1:]:
        raise CliError(f"--status: expected one of {', '.join(known.keys()[1:])}", ExitCode.USAGE)
    request = pb.ListDeploymentsRequest(org_id=org, pool_id=pool, model_name=model, status=status.upper() or None)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(DEPLOYMENTS + "ListDeployments", request, pb.ListDeploymentsResponse),
            request,
            lambda page: len(page.deployments),
            limit,
        )
    empty = "No deployments. Make one: orchestration deploy MODEL --pool POOL_ID"
    print_list(reply, output, reply.deployments, COLUMNS, empty=empty)


@app.command("get")
def get(
    deployment_id: deployments_change.DeploymentId,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Show a deployment with its replicas."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.v1 import model_deployments_pb2 as pb

    with connect(server, timeout) as client:
        request = pb.GetDeploymentRequest(deployment_id=deployment_id)
        deployment = client.call(DEPLOYMENTS + "GetDeployment", request, pb.Deployment)
    deployments_change.show(deployment, output)
