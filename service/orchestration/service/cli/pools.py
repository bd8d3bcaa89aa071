"""`orchestration pool ...`: compute pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.v1.compute_pools_pb2 import Pool

app = typer.Typer(help="Compute pools: where deployments run.", no_args_is_help=True)

PoolId = Annotated[str, typer.Argument(metavar="POOL_ID")]
GpuTypes = Annotated[list[str] | None, typer.Option("--gpu-type", help="A GPU type it may have; repeatable.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="A region it may be in; repeatable.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Unique for its owner.")],
    provider: Annotated[str, typer.Option(help="Where its nodes come from; see `orchestration providers`.")],
    owner: Annotated[str, typer.Option(help="Who owns it.")],
    owner_type: Annotated[str, typer.Option(help="org, user or system.")] = "user",
    gpu_type: GpuTypes = None,
    region: Regions = None,
    max_cost: Annotated[float, typer.Option(help="Price cap an hour; 0: none.")] = 0.0,
    gpu_count: Annotated[int, typer.Option(help="GPUs of each node.")] = 0,
    max_nodes: Annotated[int, typer.Option(help="Most nodes; 0: no limit.")] = 0,
    dedicated: Annotated[bool, typer.Option("--dedicated", help="Only for the owner's deployments.")] = False,
    provider_pool_id: Annotated[str, typer.Option(help="The provider's own name for it (market, namespace).")] = "",
    credential: Annotated[str, typer.Option(help="Name of the provider's credential to use.")] = "",
    scheduling_policy: Annotated[str, typer.Option(metavar="JSON", help="Scheduling policy, a JSON object.")] = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Make a pool."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.RegisterPoolRequest(
        pool_name=name,
        owner_type=owner_type,
        owner_id=owner,
        provider=provider,
        allowed_gpu_types=gpu_type or (),
        max_cost_per_hour=max_cost,
        is_dedicated=dedicated,
        provider_pool_id=provider_pool_id,
        scheduling_policy_json=scheduling_policy,
        provider_credential_name=credential,
        gpu_count=gpu_count,
        region_constraint=region or (),
        max_nodes=max_nodes,
        request_id=request_id,
    )
    with connect(server, timeout) as client:
        reply = client.call(POOLS + "RegisterPool", request, pb.RegisterPoolResponse)
    say(reply, output, f"created pool {reply.pool_id}")


@app.command("list")
def list_pools(
    owner: Annotated[str, typer.Option(help="Only this owner's.")] = "",
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List pools, newest first."""
    from orchestration.service.cli.client import POOLS, connect, fetch_pages
    from orchestration.service.cli.output import age, price, print_list
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.ListPoolsRequest(owner_id=owner)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(POOLS + "ListPools", request, pb.ListPoolsResponse),
            request,
            lambda page: len(page.pools),
            limit,
        )
    print_list(
        reply,
        output,
        reply.pools,
        (
            ("POOL ID", lambda pool: pool.pool_id),
            ("NAME", lambda pool: pool.pool_name),
            ("PROVIDER", lambda pool: pool.provider),
            ("OWNER", lambda pool: f"{pool.owner_type}/{pool.owner_id}"),
            ("STATE", lambda pool: pb.Pool.State.Name(pool.state)),
            ("NODES", lambda pool: pool.node_count),
            ("GPUS", lambda pool: f"{pool.gpu_allocated}/{pool.gpu_total}"),
            ("COST/H", lambda pool: price(pool.cost_per_hour)),
            ("CAP/H", lambda pool: price(pool.max_cost_per_hour)),
            ("AGE", lambda pool: age(pool.created_at)),
        ),
        empty="No pools. Make one: orchestration pool create NAME --provider local --owner NAME",
    )


@app.command("get")
def get(
    pool_id: PoolId,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Show a pool."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.v1 import compute_pools_pb2 as pb

    with connect(server, timeout) as client:
        pool = client.call(POOLS + "GetPool", pb.GetPoolRequest(pool_id=pool_id), pb.Pool)
    _show(pool, output)


@app.command("update")
def update(
    pool_id: PoolId,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    gpu_type: GpuTypes = None,
    region: Regions = None,
    max_cost: Annotated[float | None, typer.Option(help="Price cap an hour; 0: none.")] = None,
    gpu_count: Annotated[int | None, typer.Option(help="GPUs of each node.")] = None,
    max_nodes: Annotated[int | None, typer.Option(help="Most nodes; 0: no limit.")] = None,
    dedicated: Annotated[bool | None, typer.Option(help="Only for the owner's deployments, or for all.")] = None,
    active: Annotated[bool | None, typer.Option(help="Takes new replicas, or not.")] = None,
    provider_pool_id: Annotated[str | None, typer.Option(help="The provider's own name for it.")] = None,
    credential: Annotated[str | None, typer.Option(help="Name of the provider's credential.")] = None,
    scheduling_policy: Annotated[str | None, typer.Option(metavar="JSON", help="Scheduling policy.")] = None,
    clear: options.Clear = None,
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Change what is given of a pool, and leave the rest."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.service.cli.masks import mask
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.UpdatePoolRequest(
        pool_name=name,
        allowed_gpu_types=gpu_type or (),
        max_cost_per_hour=max_cost,
        is_dedicated=dedicated,
        provider_pool_id=provider_pool_id,
        scheduling_policy_json=scheduling_policy,
        provider_credential_name=credential,
        gpu_count=gpu_count,
        region_constraint=region or (),
        max_nodes=max_nodes,
        is_active=active,
    )
    request.update_mask.CopyFrom(mask(request, clear))
    request.MergeFrom(pb.UpdatePoolRequest(pool_id=pool_id, etag=etag, request_id=request_id))
    with connect(server, timeout) as client:
        pool = client.call(POOLS + "UpdatePool", request, pb.Pool)
    _show(pool, output)


@app.command("delete")
def delete(
    pool_id: PoolId,
    force: Annotated[bool, typer.Option("--force", help="Terminate its deployments first.")] = False,
    etag: options.Etag = "",
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Delete a pool."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.DeletePoolRequest(pool_id=pool_id, force=force, etag=etag, request_id=request_id)
    with connect(server, timeout) as client:
        reply = client.call(POOLS + "DeletePool", request, pb.DeletePoolResponse)
    say(reply, output, f"pool {pool_id}: {pb.DeletePoolResponse.Status.Name(reply.status)}")


@app.command("inventory")
def inventory(
    pool_id: PoolId,
    show_terminated: Annotated[bool, typer.Option("--all", help="Terminated nodes too.")] = False,
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List a pool's nodes."""
    from orchestration.service.cli.client import POOLS, connect, fetch_pages
    from orchestration.service.cli.columns import NODES
    from orchestration.service.cli.output import print_list
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.ListPoolInventoryRequest(pool_id=pool_id, show_terminated=show_terminated)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(POOLS + "ListPoolInventory", request, pb.ListPoolInventoryResponse),
            request,
            lambda page: len(page.nodes),
            limit,
        )
    empty = "No nodes. They come with deployments, or with: orchestration nodes register"
    print_list(reply, output, reply.nodes, NODES, empty=empty)


def _show(pool: Pool, output: Output) -> None:
    from orchestration.service.cli.output import clock, price, print_record

    print_record(
        pool,
        output,
        (
            ("pool_id", pool.pool_id),
            ("name", pool.pool_name),
            ("owner", f"{pool.owner_type}/{pool.owner_id}"),
            ("provider", pool.provider),
            ("state", type(pool).State.Name(pool.state) + ("" if pool.is_active else " (inactive)")),
            ("nodes", f"{pool.node_count}" + (f" of at most {pool.max_nodes}" if pool.max_nodes else "")),
            ("gpus", f"{pool.gpu_allocated} of {pool.gpu_total} allocated"),
            ("gpu types", ", ".join(pool.allowed_gpu_types) or "any"),
            ("regions", ", ".join(pool.region_constraint) or "any"),
            ("cost", price(pool.cost_per_hour)),
            ("price cap", price(pool.max_cost_per_hour)),
            ("created", clock(pool.created_at)),
            ("etag", pool.etag),
        ),
    )
