"""The reference pages docs/configuration.md and docs/cli.md, written from the knobs and the commands themselves.

``python -m orchestration.service.cli.reference`` writes both below the current folder's docs/; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup
from typer.testing import CliRunner

from orchestration.service.cli.main import app
from orchestration.service.settings import SECTIONS
from orchestration.service.settings_values import DefaultText

_WIDTH = 110
_PLAIN = {"NO_COLOR": "1", "ORCHESTRATION_SERVER": None}

_CONFIGURATION = """\
# Configuration

Every knob has a default, so `orchestration serve` needs none. Values are read, the first one found counting, from

1. flags of `orchestration serve` (the knobs of common interest: see [cli.md](cli.md)),
2. the environment: `ORCHESTRATION_` and the knob's name in capitals, such as `ORCHESTRATION_LOG_LEVEL=debug`; an empty
   variable counts as unset,
3. a TOML file, named by `--config FILE` or `ORCHESTRATION_CONFIG`, that holds knobs by name,
4. the defaults below.

Everything is checked at start, and everything that is wrong is told at once: the knob, where its value is from, and
what would be right. An unknown knob is an error, in the file and in the environment alike.
`orchestration serve --print-config` prints the values that count, where each is from, and no secret.

Times are in seconds. Lists are TOML arrays in the file, comma-separated in the environment.
"""

_CLI = """\
# Command line

`orchestration serve` is the gateway; the other commands are clients of its gRPC API, or of any server of it named by
`--server` or `ORCHESTRATION_SERVER`. They show the key in `ORCHESTRATION_API_KEY`, if there is one. Results go to
standard output and everything else to standard error. `-o json` prints ProtoJSON with the names of the protos: one
document, or one line for each message of a stream.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | the server, or what was asked of it, failed; `health`: not ready |
| 2 | the command line, the configuration, or a value in the request is wrong |
| 3 | not found |
| 4 | the state of things does not allow it: failed precondition, exists already, changed meanwhile |
| 5 | the server could not be reached, or did not answer in time |
| 6 | the key is missing, wrong, or does not allow it |
| 130 | interrupted by Ctrl-C |
"""


def configuration_page() -> str:
    """docs/configuration.md."""
    return "\n".join([_CONFIGURATION, *(_section(section) for section in SECTIONS)])


def cli_page() -> str:
    """docs/cli.md."""
    root = typer.main.get_command(app)
    if not isinstance(root, TyperGroup):
        raise TypeError("the command line has no commands")
    return "\n".join([_CLI, *(_command(path) for path in _leaves(root))])


def _section(section: type[BaseModel]) -> str:
    rows = [_knob(name, field) for name, field in section.model_fields.items()]
    title = (section.__doc__ or "").rstrip(".")
    return "\n".join([f"## {title}", "", "| knob | default | limits | meaning |", "|---|---|---|---|", *rows, ""])


def _knob(name: str, field: FieldInfo) -> str:
    described = [note.text for note in field.metadata if isinstance(note, DefaultText)]
    default = described[0] if described else _value(field.get_default(call_default_factory=True))
    return f"| `{name}` | `{default}` | {_limits(field)} | {field.description} |"


def _value(value: object) -> str:
    if isinstance(value, tuple | dict):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limits(field: FieldInfo) -> str:
    choices = re.findall(r"'([^']+)'", str(field.annotation)) if "Literal" in str(field.annotation) else []
    signs = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ "}
    bounds = [
        f"{sign}{getattr(note, name):,}".replace(",", " ")
        for note in field.metadata
        for name, sign in signs.items()
        if getattr(note, name, None) is not None
    ]
    return ", ".join([f"`{choice}`" for choice in choices] or bounds)


def _leaves(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _leaves(command, (*path, name))
        else:
            yield (*path, name)


def _command(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(app, [*path, "--help"], prog_name="orchestration", terminal_width=_WIDTH, env=_PLAIN)
    text = "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())
    return f"## {' '.join(path)}\n\n```text\n{text}\n```\n"


def main() -> None:
    """Write both pages."""
    Path("docs/configuration.md").write_text(configuration_page(), encoding="utf-8")
    Path("docs/cli.md").write_text(cli_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
