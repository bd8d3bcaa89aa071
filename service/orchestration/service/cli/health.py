"""`orchestration health`: is a server ready?"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.errors import CliError
from orchestration.service.cli.options import DEFAULT_SERVER

METHOD = "/grpc.health.v1.Health/Check"


def health(
    server: options.Server = DEFAULT_SERVER,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds that the answer may take.")] = 3.0,
) -> None:
    """Tell whether a server is ready. Exit code 0 when it is and 1 when not, as container health checks expect."""
    from grpc_health.v1 import health_pb2

    from orchestration.service.cli.client import connect

    try:
        with connect(server, timeout) as client:
            reply = client.call(METHOD, health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse)
    except CliError as error:
        raise CliError(error.message) from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise CliError(f"{server} is {status}")
    typer.echo(status)
