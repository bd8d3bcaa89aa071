"""`orchestration key`: a key for a caller, and what the gateway is to be told of it."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from orchestration.service.cli.errors import CliError, ExitCode


def key(
    name: Annotated[str, typer.Argument(help="Who will use it, such as ci or agents: shown where a call is refused.")],
    role: Annotated[str, typer.Option(help="What it allows: viewer, operator, admin or agent.")] = "viewer",
) -> None:
    """Make a key, once: the gateway keeps only its SHA-256.

    Prints the key, which callers send as `authorization: Bearer KEY` and the commands here take from
    ORCHESTRATION_API_KEY, and the line for the gateway's configuration.
    """
    from orchestration.service.keys import Role, new_key

    if role not in list(Role):
        raise CliError(f"{role!r} is no role; give one of {', '.join(Role)}", ExitCode.USAGE)
    if not re.fullmatch("[a-z0-9_-]+", name):
        raise CliError(f"{name!r} is no name; give small letters, digits, - and _", ExitCode.USAGE)
    made, stored = new_key(Role(role))
    typer.echo(f"key:           {made}")
    typer.echo(f'configuration: [api_keys]\n               {name} = "{stored}"')
