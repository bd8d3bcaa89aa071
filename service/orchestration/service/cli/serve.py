"""`orchestration serve`: the gateway's process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from orchestration.service.app import RunningApp
    from orchestration.service.settings import Settings


def serve(
    config: Annotated[Path | None, typer.Option(help="TOML file of knobs; also ORCHESTRATION_CONFIG.")] = None,
    grpc_listen: Annotated[str | None, typer.Option(help="Where gRPC is served, as host:port.")] = None,
    http_listen: Annotated[str | None, typer.Option(help="Where REST is served, as host:port.")] = None,
    database_url: Annotated[str | None, typer.Option(help="SQLite or PostgreSQL URL.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for what the gateway keeps.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the configuration and exit.")] = False,
) -> None:
    """Serve the API: gRPC, and REST made from the same definitions.

    Flags go before ORCHESTRATION_* variables, those before the file, the file before the defaults; every knob is
    described in docs/configuration.md.
    """
    flags = {
        "grpc_listen": grpc_listen,
        "http_listen": http_listen,
        "database_url": database_url,
        "data_dir": data_dir,
        "log_level": log_level,
        "log_format": log_format,
    }
    settings = _load(flags, config)
    if print_config:
        _print_settings(settings)
        return
    _serve(settings)


def _load(flags: dict[str, str | Path | None], config: Path | None) -> Settings:
    from orchestration.service.settings import SettingsError, load_settings

    try:
        return load_settings(flags, config=config)
    except SettingsError as error:
        problems = "\n  ".join(error.problems)
        raise CliError(f"the configuration is wrong:\n  {problems}", ExitCode.USAGE) from error


def _print_settings(settings: Settings) -> None:
    import json

    for name, value in settings.public_dump().items():
        typer.echo(f"{name} = {json.dumps(value)}  # {settings.source_of(name)}")


def _serve(settings: Settings) -> None:
    import uvloop

    from orchestration.service.app import run
    from orchestration.service.errors import StartError
    from orchestration.service.logging import configure_logging

    configure_logging(settings.log_level, settings.log_format)
    try:
        uvloop.run(run(settings, ready=_announce))
    except StartError as error:
        raise CliError(f"cannot start: {error}") from error


def _announce(running: RunningApp) -> None:
    import structlog

    structlog.stdlib.get_logger(__name__).info("serving", grpc=running.grpc_address, http=running.http_address)
