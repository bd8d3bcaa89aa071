"""`orchestration gateway`: any annotated gRPC server as REST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.service.cli import gateway_options as options
from orchestration.service.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from orchestration.gateway import ChannelUpstream, GatewayConfig
    from orchestration.service.cli.gateway_server import Listening


def gateway(
    upstream: options.Upstream,
    http_listen: options.HttpListen = "127.0.0.1:8080",
    descriptor_set: options.DescriptorSet = None,
    service: options.Services = None,
    upstream_wait: options.UpstreamWait = 30.0,
    upstream_keepalive: options.UpstreamKeepalive = 0.0,
    tls: options.Tls = False,
    ca_file: options.CaFile = None,
    client_cert: options.ClientCert = None,
    client_key: options.ClientKey = None,
    server_name: options.ServerName = None,
    health_routes: options.HealthRoutes = True,
    max_line_bytes: options.MaxLineBytes = 64 * 1024,
    idle_timeout: options.IdleTimeout = 75.0,
    max_body_bytes: options.MaxBodyBytes = 4 * 1024 * 1024,
    body_timeout: options.BodyTimeout = 60.0,
    write_timeout: options.WriteTimeout = 60.0,
    default_timeout: options.DefaultTimeout = 0.0,
    max_timeout: options.MaxTimeout = 0.0,
    ignore_query: options.IgnoreQuery = None,
    ignore_unknown_json: options.IgnoreUnknownJson = False,
    map_query: options.MapQuery = False,
    lax_bools: options.LaxBools = False,
    keep_plus: options.KeepPlus = False,
    system_parameters: options.SystemParameters = True,
    max_query_parameters: options.MaxQueryParameters = 1000,
    error_format: options.ErrorFormats = options.ErrorFormat.envelope,
    error_domain: options.ErrorDomain = "gateway",
    allow_get_body: options.AllowGetBody = False,
    trusted_proxy: options.TrustedProxy = None,
    cors_origin: options.CorsOrigin = None,
    cors_credentials: options.CorsCredentials = False,
    cors_expose: options.CorsExpose = None,
    cors_max_age: options.CorsMaxAge = 600,
    forward_header: options.ForwardHeader = None,
    permanent_headers: options.PermanentHeaders = False,
    response_metadata: options.ResponseMetadata = None,
    metadata_status: options.MetadataStatus = False,
    etags: options.EtagMode = options.Etags.plain,
    body_etags: options.BodyEtags = False,
    page_links: options.PageLinks = True,
    compress_min_bytes: options.CompressMinBytes = 4096,
    keepalive: options.Keepalive = 15.0,
    stream_start: options.StreamStart = 1.0,
    event_retry: options.EventRetry = 2.0,
    stream_format: options.StreamFormat = options.StreamFormats.lines,
    compress_sockets: options.CompressSockets = False,
    openapi: options.OpenApi = True,
    api_title: options.ApiTitle = "",
    api_version: options.ApiVersion = "0",
    log_level: options.LogLevel = "info",
) -> None:
    """Serve the annotated methods of any gRPC server as REST, from its reflection or a descriptor set."""
    run(locals())


def run(given: dict[str, Any]) -> None:
    """Run the command with its options by name. Raises `CliError`."""
    import uvloop

    from orchestration.service.cli.gateway_server import serve
    from orchestration.service.logging import configure_logging

    if given["log_level"] not in ("debug", "info", "warning", "error"):
        raise CliError("--log-level: expected debug, info, warning or error", ExitCode.USAGE)
    listening, config = _listening(given), read_config(given)
    target = _upstream(given)
    configure_logging(given["log_level"])
    uvloop.run(serve(target, config, listening))


def _listening(given: dict[str, Any]) -> Listening:
    from orchestration.service.address import parse_address
    from orchestration.service.cli.gateway_server import Listening

    try:
        address = parse_address(given["http_listen"])
    except ValueError as error:
        raise CliError(f"the command line is wrong: {error}", ExitCode.USAGE) from error
    return Listening(
        address=address,
        upstream=given["upstream"],
        services=given["service"] or None,
        wait_s=given["upstream_wait"],
        health_routes=given["health_routes"],
        max_line_bytes=given["max_line_bytes"],
        idle_s=given["idle_timeout"],
    )


def read_config(given: dict[str, Any]) -> GatewayConfig:
    """The transcoder's settings from the options. Raises `CliError` naming the setting that is wrong."""
    from orchestration.gateway import GatewayConfig, OpenApiConfig

    ignored = given["ignore_query"] or ()
    shown = given["response_metadata"]
    same = (
        *("max_body_bytes", "max_query_parameters", "error_domain", "allow_get_body", "cors_credentials"),
        *("permanent_headers", "metadata_status", "body_etags", "page_links"),
        *("map_query", "lax_bools", "keep_plus", "system_parameters", "compress_sockets"),
    )
    try:
        return GatewayConfig(
            **{name: given[name] for name in same},
            body_timeout_s=given["body_timeout"] or None,
            write_timeout_s=given["write_timeout"] or None,
            default_timeout_s=given["default_timeout"] or None,
            max_timeout_s=given["max_timeout"] or None,
            unknown_query="ignore" if "*" in ignored else frozenset(ignored) if ignored else "error",
            unknown_json="ignore" if given["ignore_unknown_json"] else "error",
            error_format=given["error_format"].value,
            trusted_proxies=given["trusted_proxy"] or (),
            cors_origins=given["cors_origin"] or (),
            cors_expose=given["cors_expose"] or (),
            cors_max_age_s=given["cors_max_age"],
            forward_headers=given["forward_header"] or (),
            response_metadata=("*",) if shown is None else [key for key in shown if key],
            etags=given["etags"].value,
            compress_min_bytes=given["compress_min_bytes"] or None,
            keepalive_s=given["keepalive"],
            stream_start_s=given["stream_start"],
            event_retry_s=given["event_retry"],
            stream_format=given["stream_format"].value,
            openapi=OpenApiConfig(enabled=given["openapi"], title=given["api_title"], version=given["api_version"]),
        )
    except ValueError as error:
        raise CliError(f"the command line is wrong: {error}", ExitCode.USAGE) from error


def _upstream(given: dict[str, Any]) -> ChannelUpstream:
    from orchestration.gateway import ChannelUpstream

    path: Path | None = given["descriptor_set"]
    more: list[tuple[str, Any]] = []
    if given["server_name"] is not None:
        more += [("grpc.ssl_target_name_override", given["server_name"])]
    if given["upstream_keepalive"]:
        more += [
            ("grpc.keepalive_time_ms", max(1, int(given["upstream_keepalive"] * 1000))),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    return ChannelUpstream(
        given["upstream"],
        descriptor_set=None if path is None else _descriptors(path),
        credentials=_credentials(given),
        more_options=more,
    )


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


def _credentials(given: dict[str, Any]) -> grpc.ChannelCredentials | None:
    import grpc

    ca, certificate, key = given["ca_file"], given["client_cert"], given["client_key"]
    if (certificate is None) != (key is None):
        raise CliError("--client-cert and --client-key go together: give both", ExitCode.USAGE)
    secure = given["tls"] or ca is not None or certificate is not None
    if not secure:
        if given["server_name"] is not None:
            raise CliError("--server-name: there is no certificate to compare without --tls", ExitCode.USAGE)
        return None
    return grpc.ssl_channel_credentials(
        None if ca is None else _read("--ca-file", ca),
        None if key is None else _read("--client-key", key),
        None if certificate is None else _read("--client-cert", certificate),
    )
