"""`orchestration deployments update|scale|start|terminate|purge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.v1.model_deployments_pb2 import Deployment

DeploymentId = Annotated[str, typer.Argument(metavar="DEPLOYMENT_ID")]


def update(
    deployment_id: DeploymentId,
    version: Annotated[str | None, typer.Option(help="Another registered version.")] = None,
    replicas: Annotated[int | None, typer.Option(help="How many replicas.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs for each replica.")] = None,
    fallback_pool: Annotated[list[str] | None, typer.Option(help="Pool to try next; repeatable, in order.")] = None,
    engine: Annotated[str | None, typer.Option(help="Another engine.")] = None,
    inference_model: Annotated[str | None, typer.Option(help="What the engine loads.")] = None,
    configuration: options.Configuration = "",
    setting: options.Settings = None,
    env: options.Env = None,
    label: options.Labels = None,
    max_surge: Annotated[int | None, typer.Option(help="Replicas that an update may add.")] = None,
    max_unavailable: Annotated[int | None, typer.Option(help="Replicas that an update may take away.")] = None,
    clear: options.Clear = None,
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Change what is given and leave the rest; configuration, env and labels are replaced whole."""
    from orchestration.service.cli import values
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.masks import mask
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.UpdateDeploymentRequest(
        model_version=version,
        replicas=replicas,
        gpu_per_replica=gpus,
        fallback_pool_ids=fallback_pool or (),
        engine=engine,
        inference_model=inference_model,
        env=values.pairs("--env", env),
        labels=values.pairs("--label", label),
    )
    given = values.configuration(configuration, setting)
    if given.fields:
        request.configuration.CopyFrom(given)
    if max_surge is not None or max_unavailable is not None:
        strategy = pb.UpdateStrategy(max_surge=max_surge, max_unavailable=max_unavailable)
        request.update_strategy.CopyFrom(strategy)
    request.update_mask.CopyFrom(mask(request, clear))
    request.MergeFrom(pb.UpdateDeploymentRequest(deployment_id=deployment_id, etag=etag, request_id=request_id))
    with connect(server, timeout) as client:
        deployment = client.call(DEPLOYMENTS + "UpdateDeployment", request, pb.Deployment)
    show(deployment, output)


def scale(
    deployment_id: DeploymentId,
    replicas: Annotated[int, typer.Argument(min=0, help="How many; 0 keeps the deployment and runs none.")],
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Say how many replicas there are to be."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.ScaleDeploymentRequest(
        deployment_id=deployment_id, replicas=replicas, etag=etag, request_id=request_id
    )
    with connect(server, timeout) as client:
        reply = client.call(DEPLOYMENTS + "ScaleDeployment", request, pb.ScaleDeploymentResponse)
    status = pb.Deployment.Status.Name(reply.status)
    say(reply, output, f"deployment {deployment_id}: {status}, {reply.replicas} replicas wanted")


def start(
    deployment_id: DeploymentId,
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Start a stopped or failed deployment again."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.StartDeploymentRequest(deployment_id=deployment_id, etag=etag, request_id=request_id)
    with connect(server, timeout) as client:
        reply = client.call(DEPLOYMENTS + "StartDeployment", request, pb.StartDeploymentResponse)
    say(reply, output, f"deployment {deployment_id}: {pb.Deployment.Status.Name(reply.status)}")


def terminate(
    deployment_id: DeploymentId,
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Stop a deployment; its record stays, and it can be started again."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.DeleteDeploymentRequest(deployment_id=deployment_id, etag=etag, request_id=request_id)
    with connect(server, timeout) as client:
        reply = client.call(DEPLOYMENTS + "DeleteDeployment", request, pb.DeleteDeploymentResponse)
    say(reply, output, f"deployment {deployment_id}: {pb.Deployment.Status.Name(reply.status)}")


def purge(
    deployment_id: DeploymentId,
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Delete a stopped or failed deployment for good, its logs and events with it."""
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.PurgeDeploymentRequest(deployment_id=deployment_id, etag=etag, request_id=request_id)
    with connect(server, timeout) as client:
        reply = client.call(DEPLOYMENTS + "PurgeDeployment", request, pb.PurgeDeploymentResponse)
    say(reply, output, f"deployment {deployment_id}: {pb.PurgeDeploymentResponse.Status.Name(reply.status)}")


def show(deployment: Deployment, output: Output) -> None:
    """A deployment with its replicas."""
    from orchestration.service.cli.columns import REPLICAS
    from orchestration.service.cli.output import clock, print_record, print_rows

    model = deployment.model_name + (f":{deployment.model_version}" if deployment.model_version else "")
    print_record(
        deployment,
        output,
        (
            ("deployment_id", deployment.deployment_id),
            ("model", model),
            ("status", type(deployment).Status.Name(deployment.status)),
            ("error", deployment.error_message),
            ("ready", f"{deployment.ready_replicas} of {deployment.replicas}"),
            ("endpoint", deployment.endpoint),
            ("engine", deployment.engine),
            ("pool", ", then ".join([deployment.pool_id, *deployment.fallback_pool_ids])),
            ("generation", deployment.generation),
            ("cost", f"{deployment.cost_so_far:.4g} so far, {deployment.cost_per_hour:.4g} an hour"),
            ("created", clock(deployment.created_at)),
            ("etag", deployment.etag),
        ),
    )
    if output is Output.TABLE:
        typer.echo()
        print_rows(deployment.replica_statuses, REPLICAS, empty="No replicas.")
