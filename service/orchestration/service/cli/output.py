"""Results on standard output: tables for people, ProtoJSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from orchestration.service.cli.options import Output

_PIPE_WIDTH = 10_000
"""Without a terminal there is no edge at which a line would have to end."""

Row = TypeVar("Row")
Column = tuple[str, Callable[[Row], object]]


def console(*, stderr: bool = False) -> Console:
    """A console that prints texts as they are, in colour on a terminal only."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=not stream.isatty())


def print_json(message: Message, *, line: bool = False) -> None:
    """ProtoJSON with proto field names; on one line for streams."""
    document = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    typer.echo(json.dumps(document, ensure_ascii=False, indent=None if line else 2))


def table(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> Table:
    """A table without rules, so that it can be cut with the usual tools."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, _ in columns:
        drawn.add_column(heading, overflow="fold", no_wrap=heading.endswith("ID"))
    for row in rows:
        drawn.add_row(*(str(value(row)) for _, value in columns))
    return drawn


def print_rows(rows: Sequence[Row], columns: Sequence[Column[Row]], *, empty: str) -> None:
    """A table of the rows, or the sentence ``empty``, which names the next command."""
    console().print(table(rows, columns) if rows else empty)


def print_list(
    message: Message, output: Output, rows: Sequence[Row], columns: Sequence[Column[Row]], *, empty: str
) -> None:
    """A list reply as asked for; says on standard error when there are more rows than shown."""
    if output is Output.JSON:
        print_json(message)
        return
    print_rows(rows, columns, empty=empty)
    total = getattr(message, "total_size", len(rows))
    if total > len(rows):
        typer.echo(f"{len(rows)} of {total} shown; --limit shows more", err=True)


def print_record(message: Message, output: Output, fields: Sequence[tuple[str, object]]) -> None:
    """One resource: a line for each field that holds something, or ProtoJSON."""
    if output is Output.JSON:
        print_json(message)
        return
    width = max(len(name) for name, _ in fields) + 1
    for name, value in fields:
        if value not in ("", (), []):
            typer.echo(f"{name + ':':<{width}} {value}")


def say(message: Message, output: Output, sentence: str) -> None:
    """The answer to a change: a sentence, or ProtoJSON."""
    if output is Output.JSON:
        print_json(message)
    else:
        typer.echo(sentence)


def age(moment: Timestamp) -> str:
    """How long ago, in the largest unit that fits; "-" when it never happened."""
    if not moment.seconds:
        return "-"
    seconds = max(0, int(datetime.now(UTC).timestamp() - moment.seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock(moment: Timestamp) -> str:
    """A time of day in UTC with milliseconds."""
    return moment.ToDatetime(tzinfo=UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00") + "Z"


def price(per_hour: float) -> str:
    """US dollars an hour."""
    return f"{per_hour:.4g}" if per_hour else "-"
