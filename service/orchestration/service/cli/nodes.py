"""`orchestration nodes ...`: nodes and their heartbeats."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.options import DEFAULT_SERVER, Output

app = typer.Typer(help="Nodes: list, register, and send heartbeats for them.", no_args_is_help=True)

Provider = Annotated[str, typer.Option("--provider", help="The provider that the node is from.")]
Instance = Annotated[str, typer.Option("--instance", help="The provider's own id of it.")]


@app.command("list")
def list_nodes(
    provider: Annotated[str, typer.Option(help="Only this provider's.")] = "",
    show_terminated: Annotated[bool, typer.Option("--all", help="Terminated nodes too.")] = False,
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List nodes of every pool, newest first."""
    from orchestration.service.cli.client import POOLS, connect, fetch_pages
    from orchestration.service.cli.columns import NODES
    from orchestration.service.cli.output import print_list
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.ListNodesRequest(provider=provider, show_terminated=show_terminated)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(POOLS + "ListNodes", request, pb.ListNodesResponse),
            request,
            lambda page: len(page.nodes),
            limit,
        )
    empty = "No nodes. They come with deployments, or with: orchestration nodes register"
    print_list(reply, output, reply.nodes, NODES, empty=empty)


@app.command("register")
def register(
    provider: Provider,
    instance: Instance,
    pool: Annotated[str, typer.Option(help="Id of the pool that it joins.")],
    gpu_type: Annotated[str, typer.Option(help="Type of its GPUs.")] = "",
    gpus: Annotated[int, typer.Option(help="Its GPUs.")] = 0,
    vcpu: Annotated[float, typer.Option(help="Its CPU cores.")] = 0.0,
    ram_gb: Annotated[float, typer.Option(help="Its memory in GB.")] = 0.0,
    url: Annotated[str, typer.Option(help="Where it can be reached.")] = "",
    price: Annotated[float, typer.Option(help="Its price an hour.")] = 0.0,
    hostname: Annotated[str, typer.Option(help="Its host name.")] = "",
    region: Annotated[str, typer.Option(help="Where it stands, as in the pool's regions.")] = "",
    incarnation: Annotated[int, typer.Option(help="Grows each time it starts anew.")] = 0,
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Register a node in a pool."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.RegisterNodeRequest(
        provider=provider,
        provider_instance_id=instance,
        pool_id=pool,
        gpu_type=gpu_type,
        gpu_total=gpus,
        vcpu_total=vcpu,
        ram_gb_total=ram_gb,
        expose_url=url,
        price_per_hour=price,
        hostname=hostname,
        region=region,
        incarnation=incarnation,
        request_id=request_id,
    )
    with connect(server, timeout) as client:
        reply = client.call(POOLS + "RegisterNode", request, pb.RegisterNodeResponse)
    say(reply, output, f"registered node {reply.node_id}; heartbeats every {reply.interval_seconds:g} s")


@app.command("heartbeat")
def heartbeat(
    provider: Provider,
    instance: Instance,
    pool: Annotated[str, typer.Option(help="Registers an unknown node in this pool.")] = "",
    state: Annotated[str | None, typer.Option(help="Its state, such as ready.")] = None,
    health: Annotated[float | None, typer.Option(help="Its health, 0 to 100.")] = None,
    gpus_allocated: Annotated[int | None, typer.Option(help="GPUs in use.")] = None,
    url: Annotated[str | None, typer.Option(help="Where it can be reached.")] = None,
    incarnation: Annotated[int | None, typer.Option(help="Grows each time the node starts anew.")] = None,
    sequence: Annotated[int | None, typer.Option(help="Grows with each heartbeat of an incarnation.")] = None,
    telemetry: Annotated[
        list[str] | None, typer.Option(metavar="KEY=NUMBER", help="A measurement; repeatable.")
    ] = None,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Send one heartbeat for a node."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.HeartbeatRequest(
        provider=provider,
        provider_instance_id=instance,
        pool_id=pool,
        state=state,
        health_score=health,
        gpu_allocated=gpus_allocated,
        expose_url=url,
        incarnation=incarnation,
        sequence=sequence,
        telemetry=_numbers(telemetry),
    )
    with connect(server, timeout) as client:
        reply = client.call(POOLS + "Heartbeat", request, pb.HeartbeatResponse)
    say(reply, output, f"{reply.status}: node {reply.node_id}; the next one within {reply.interval_seconds:g} s")


def _numbers(given: list[str] | None) -> dict[str, float]:
    from orchestration.service.cli.values import pairs

    try:
        return {key: float(value) for key, value in pairs("--telemetry", given).items()}
    except ValueError as error:
        raise CliError(f"--telemetry: expected KEY=NUMBER: {error}", ExitCode.USAGE) from error
