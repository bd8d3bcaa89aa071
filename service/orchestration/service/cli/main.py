"""The command `orchestration`: its groups, and the one place where failures become a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from orchestration.service.cli import (
    deploy,
    deployments,
    gateway,
    health,
    keys,
    logs,
    models,
    nodes,
    pools,
    providers,
    quickstart,
    serve,
    version,
)
from orchestration.service.cli.errors import CliError

app = typer.Typer(
    name="orchestration",
    help="A control plane for LLM inference on whatever GPUs you can get.",
    epilog="Exit codes: 0 done, 1 the server failed, 2 wrong usage or request, 3 not found, "
    "4 the state does not allow it, 5 unreachable or too slow, 6 not allowed, "
    "130 interrupted.",
    no_args_is_help=True,
    # Plain help: loading rich for it would take longer than everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.callback()(version.root)
app.command("serve")(serve.serve)
app.command("gateway")(gateway.gateway)
app.command("quickstart")(quickstart.quickstart)
app.command("key")(keys.key)
app.command("health")(health.health)
app.command("version")(version.version)
app.add_typer(pools.app, name="pool")
app.add_typer(models.app, name="model")
app.command("deploy")(deploy.deploy)
app.add_typer(deployments.app, name="deployments")
app.command("logs")(logs.logs)
app.add_typer(nodes.app, name="nodes")
app.command("providers")(providers.providers)
app.command("resources")(providers.resources)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        app(args=list(arguments), prog_name="orchestration")
    except CliError as error:
        typer.echo(f"error: {error.message}", err=True)
        return int(error.code)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
