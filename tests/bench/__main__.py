"""Measure everything beside its limit: ``python -m tests.bench [--only NAME]...``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench import (
    bench_deploy,
    bench_envoy,
    bench_gateway,
    bench_heartbeats,
    bench_lists,
    bench_logs,
    bench_nodes,
    bench_rest,
    bench_routes,
    bench_startup,
    bench_store,
)
from tests.bench.results import LATEST, Row, circumstances, print_table, write_json
from tests.bench.servers import Servers

FIGURES: dict[str, Callable[[Servers], Awaitable[list[Row]]]] = {
    "rest": bench_rest.rows,
    "envoy": bench_envoy.rows,
    "transcoder": bench_gateway.rows,
    "routes": bench_routes.rows,
    "lists": bench_lists.rows,
    "heartbeats": bench_heartbeats.rows,
    "commits": bench_store.rows,
    "deploy": bench_deploy.rows,
    "startup": bench_startup.rows,
    "logs": bench_logs.rows,
    "nodes": bench_nodes.rows,
}


def main(arguments: Sequence[str]) -> None:
    """Print the table; write it as JSON too when nothing was left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure each figure beside its limit.")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=f"figures whose name has this in it, of: {', '.join(FIGURES)}"
    )
    parser.add_argument(
        "--folder", type=Path, help="where databases are made; its disk is measured (default: a temporary one)"
    )
    parser.add_argument("--json", type=Path, help=f"where to write the results (default of a whole run: {LATEST.name})")
    given = parser.parse_args(arguments)
    chosen = [name for name in FIGURES if not given.only or any(part in name for part in given.only)]
    if not chosen:
        parser.error(f"--only {' '.join(given.only)}: no figure is called so; there are {', '.join(FIGURES)}")
    about = circumstances()
    rows = asyncio.run(_measure(chosen, given.folder))
    print_table(rows)
    path = given.json or (LATEST if len(chosen) == len(FIGURES) else None)
    if path is not None:
        write_json(about, rows, path)


async def _measure(chosen: Sequence[str], folder: Path | None) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as name:
        async with AsyncExitStack() as stack:
            servers = Servers(Path(name), stack)
            for figure in chosen:
                began = time.monotonic()
                rows += await FIGURES[figure](servers)
                print(f"{figure}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
