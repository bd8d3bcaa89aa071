"""`orchestration providers` and `orchestration resources`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.v1.compute_pools_pb2 import ProviderInfo

_CAPABILITIES = ("log_streaming", "spot", "multi_gpu", "multi_node")


def providers(
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List the providers and what they can do."""
    from orchestration.service.cli.client import POOLS, connect
    from orchestration.service.cli.output import print_list
    from orchestration.v1 import compute_pools_pb2 as pb

    with connect(server, timeout) as client:
        reply = client.call(POOLS + "ListProviders", pb.ListProvidersRequest(), pb.ListProvidersResponse)
    print_list(
        reply,
        output,
        reply.providers,
        (
            ("NAME", lambda item: item.name),
            ("KIND", lambda item: item.kind),
            ("AVAILABLE", lambda item: "yes" if item.is_available else f"no: {item.unavailable_reason}"),
            ("PRICING", lambda item: item.pricing_model),
            ("CAN", _abilities),
            ("ENGINES", lambda item: " ".join(item.engines)),
        ),
        empty="No providers are installed.",
    )


def resources(
    provider: Annotated[str, typer.Option(help='A provider\'s name; "*" asks all of them.')] = "*",
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 60.0,
) -> None:
    """List the machines that providers offer, with prices."""
    from orchestration.service.cli.client import POOLS, connect, fetch_pages
    from orchestration.service.cli.output import price, print_list
    from orchestration.v1 import compute_pools_pb2 as pb

    request = pb.ListProviderResourcesRequest(provider=provider)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(POOLS + "ListProviderResources", request, pb.ListProviderResourcesResponse),
            request,
            lambda page: len(page.resources),
            limit,
        )
    for name, why in {failed.provider: failed.error for failed in reply.errors}.items():
        typer.echo(f"warning: {name}: {why}", err=True)
    print_list(
        reply,
        output,
        reply.resources,
        (
            ("PROVIDER", lambda item: item.provider),
            ("RESOURCE ID", lambda item: item.provider_resource_id),
            ("GPU", lambda item: f"{item.gpu_count} x {item.gpu_type}" if item.gpu_count else "-"),
            ("GPU GB", lambda item: f"{item.gpu_memory_gb:g}"),
            ("VCPU", lambda item: item.vcpu),
            ("RAM GB", lambda item: f"{item.ram_gb:.3g}"),
            ("REGION", lambda item: item.region or "-"),
            ("PRICE/H", lambda item: price(item.price_per_hour)),
            ("FREE", lambda item: item.available_count),
        ),
        empty="Nothing is offered. See which providers there are: orchestration providers",
    )


def _abilities(item: ProviderInfo) -> str:
    can = [name for name in _CAPABILITIES if getattr(item, f"supports_{name}")]
    return " ".join(can) or "-"
