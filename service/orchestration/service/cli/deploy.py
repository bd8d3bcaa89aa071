"""`orchestration deploy`: make a deployment, and wait for it when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.errors import CliError
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.service.cli.client import Client
    from orchestration.v1.model_deployments_pb2 import DeployModelResponse


def deploy(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A registered model's name.")],
    pool: Annotated[str, typer.Option(help="Id of the pool to run in.")],
    version: Annotated[str, typer.Option(help="Its version; empty: the newest.")] = "",
    replicas: Annotated[int, typer.Option(help="How many replicas.")] = 1,
    gpus: Annotated[int, typer.Option(help="GPUs for each replica; 0: CPU only.")] = 1,
    fallback_pool: Annotated[list[str] | None, typer.Option(help="Pool to try next; repeatable, in order.")] = None,
    engine: Annotated[str, typer.Option(help="Engine; empty: the model's backend.")] = "",
    workload: Annotated[str, typer.Option(help="inference, embedding or batch.")] = "",
    inference_model: Annotated[str, typer.Option(help="What the engine loads; empty: the model's artifact.")] = "",
    configuration: options.Configuration = "",
    setting: options.Settings = None,
    env: options.Env = None,
    label: options.Labels = None,
    owner: Annotated[str, typer.Option(help="Who owns it.")] = "",
    org: Annotated[str, typer.Option(help="The organisation that it belongs to.")] = "",
    max_surge: Annotated[int | None, typer.Option(help="Replicas that an update may add.")] = None,
    max_unavailable: Annotated[int | None, typer.Option(help="Replicas that an update may take away.")] = None,
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Only say where it would run.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is RUNNING, or FAILED.")] = False,
    wait_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait at most.")] = 600.0,
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Deploy a model. Returns at once, unless --wait."""
    from orchestration.service.cli import values
    from orchestration.service.cli.client import DEPLOYMENTS, connect
    from orchestration.v1 import model_deployments_pb2 as pb

    request = pb.DeployModelRequest(
        model_name=model,
        model_version=version,
        replicas=replicas,
        gpu_per_replica=gpus,
        pool_id=pool,
        fallback_pool_ids=fallback_pool or (),
        workload_type=workload,
        engine=engine,
        owner_id=owner,
        org_id=org,
        inference_model=inference_model,
        env=values.pairs("--env", env),
        labels=values.pairs("--label", label),
        request_id=request_id,
        validate_only=validate_only,
    )
    given = values.configuration(configuration, setting)
    if given.fields:
        request.configuration.CopyFrom(given)
    if max_surge is not None or max_unavailable is not None:
        strategy = pb.UpdateStrategy(max_surge=max_surge, max_unavailable=max_unavailable)
        request.update_strategy.CopyFrom(strategy)
    with connect(server, timeout) as client:
        reply = client.call(DEPLOYMENTS + "DeployModel", request, pb.DeployModelResponse)
        if wait and not validate_only:
            _wait(client, reply.deployment_id, wait_timeout, output)
        else:
            _show(reply, output, validate_only=validate_only)


def _show(reply: DeployModelResponse, output: Output, *, validate_only: bool) -> None:
    from orchestration.service.cli.output import price, print_rows, say

    if not validate_only:
        say(reply, output, f"deploying as {reply.deployment_id}; follow it: orchestration deployments watch")
        return
    say(reply, output, "valid; nothing was made")
    if output is Output.TABLE and reply.candidates:
        print_rows(
            reply.candidates,
            (
                ("POOL ID", lambda candidate: candidate.pool_id),
                ("NODE ID OR OFFER", lambda candidate: candidate.node_id or candidate.provider_resource_id or "-"),
                ("GPU", lambda candidate: candidate.gpu_type or "-"),
                ("PRICING", lambda candidate: candidate.pricing_model or "-"),
                ("FITS", lambda candidate: "yes" if candidate.feasible else "no"),
                ("PRICE/H", lambda candidate: price(candidate.price_per_hour)),
                ("WHY", lambda candidate: candidate.message or candidate.reason),
            ),
            empty="",
        )


def _wait(client: Client, deployment_id: str, timeout_s: float, output: Output) -> None:
    from orchestration.service.cli.output import console, say
    from orchestration.service.cli.progress import ReplicaProgress, failure, is_running, wait_until

    try:
        with ReplicaProgress(console(stderr=True)) as progress:
            last = wait_until(client, deployment_id, is_running, timeout_s=timeout_s, show=progress.show)
    except KeyboardInterrupt:
        typer.echo(f"\nno longer watching; deployment {deployment_id} goes on", err=True)
        raise
    if not is_running(last):
        raise CliError(failure(client, last))
    say(last, output, f"deployment {deployment_id} is RUNNING at {last.endpoint}")
