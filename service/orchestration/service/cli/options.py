"""Options that many commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:50051"


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


Server = Annotated[
    str, typer.Option("--server", envvar="ORCHESTRATION_SERVER", help="gRPC address of the server, as host:port.")
]
Format = Annotated[
    Output, typer.Option("--output", "-o", help="A table, or ProtoJSON: one document, or a line for each message.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds that a call may take.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Rows to show at most.")]
Etag = Annotated[str, typer.Option("--etag", help="Only if the resource still has this etag.")]
RequestId = Annotated[str, typer.Option("--request-id", help="Key that makes a repeated command safe for 24 hours.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label; may be repeated.")]
Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="KEY=VALUE", help="Environment of the engine; may be repeated.")
]
Configuration = Annotated[
    str, typer.Option("--configuration", metavar="JSON|@FILE", help="The engine's configuration, a JSON object.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One key of the configuration, its value JSON or text; repeatable."
    ),
]
Clear = Annotated[list[str] | None, typer.Option("--clear", metavar="FIELD", help="Set a field to empty; repeatable.")]
