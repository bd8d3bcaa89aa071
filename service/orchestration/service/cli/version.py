"""`orchestration version` and `orchestration --version`."""

from __future__ import annotations

from typing import Annotated

import typer

DISTRIBUTION = "orchestration-gateway"


def installed_version() -> str:
    """The version of the installed distribution."""
    from importlib.metadata import version as distribution_version

    return distribution_version(DISTRIBUTION)


def _print_and_exit(wanted: bool) -> None:
    if wanted:
        typer.echo(f"orchestration {installed_version()}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_and_exit, is_eager=True)
    ] = False,
) -> None:
    """A control plane for LLM inference on whatever GPUs you can get."""


def version() -> None:
    """Print the version."""
    typer.echo(f"orchestration {installed_version()}")
