"""`orchestration gateway`: any annotated gRPC server as REST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor_pb2 import FileDescriptorSet


def gateway(
    upstream: Annotated[str, typer.Option(help="The gRPC server, as host:port.")],
    http_listen: Annotated[str, typer.Option(help="Where REST is served, as host:port.")] = "127.0.0.1:8080",
    descriptor_set: Annotated[
        Path | None, typer.Option(help="FileDescriptorSet with all imports; without it the server is asked.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Reach the server by TLS.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="PEM file of the CAs to believe; turns --tls on.")] = None,
    max_body_bytes: Annotated[int, typer.Option(min=1, help="Largest request body.")] = 4 * 1024 * 1024,
    cors_origin: Annotated[list[str] | None, typer.Option(help="Origin that browsers may call from.")] = None,
    trusted_proxy: Annotated[list[str] | None, typer.Option(help="Network whose X-Forwarded-* count.")] = None,
    openapi: Annotated[bool, typer.Option(help="Serve /openapi.json, and a page that shows it at /docs.")] = True,
    api_title: Annotated[str, typer.Option(help="Title of the OpenAPI document; else the services' names.")] = "",
    api_version: Annotated[str, typer.Option(help="Version of the API in it.")] = "0",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the annotated methods of any gRPC server as REST, from its reflection or a descriptor set."""
    import uvloop

    from orchestration.gateway import ChannelUpstream, GatewayConfig, OpenApiConfig
    from orchestration.service.address import parse_address
    from orchestration.service.cli.gateway_server import serve
    from orchestration.service.logging import configure_logging

    if log_level not in ("debug", "info", "warning", "error"):
        raise CliError("--log-level: expected debug, info, warning or error", ExitCode.USAGE)
    try:
        address = parse_address(http_listen)
        config = GatewayConfig(
            max_body_bytes=max_body_bytes,
            cors_origins=cors_origin or (),
            trusted_proxies=trusted_proxy or (),
            openapi=OpenApiConfig(enabled=openapi, title=api_title, version=api_version),
        )
    except ValueError as error:
        raise CliError(f"the command line is wrong: {error}", ExitCode.USAGE) from error
    configure_logging(log_level)
    target = ChannelUpstream(
        upstream,
        descriptor_set=None if descriptor_set is None else _descriptors(descriptor_set),
        credentials=_credentials(ca_file) if tls or ca_file else None,
    )
    uvloop.run(serve(target, config, address, upstream))


def _descriptors(path: Path) -> FileDescriptorSet:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    try:
        return FileDescriptorSet.FromString(_read("--descriptor-set", path))
    except DecodeError as error:
        raise CliError(f"--descriptor-set: {path} is no serialized FileDescriptorSet", ExitCode.USAGE) from error


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{option}: cannot read {path}: {error.strerror}", ExitCode.USAGE) from error


def _credentials(ca_file: Path | None) -> grpc.ChannelCredentials:
    import grpc

    return grpc.ssl_channel_credentials(None if ca_file is None else _read("--ca-file", ca_file))
