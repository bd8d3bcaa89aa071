"""Starting on a full database: seconds until it serves, and memory."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psutil

from tests.bench.measuring import in_turns
from tests.bench.results import Row, Target
from tests.bench.seed import leases_held
from tests.bench.servers import LARGE, Servers, gateway


async def rows(servers: Servers) -> list[Row]:
    """Against a start on an empty database."""
    full, empty = await servers.data_of(LARGE, "startup"), servers.folder / "startup-empty" / "data"
    memory: dict[Path, list[float]] = {full: [], empty: []}

    async def start(data_dir: Path) -> float:
        async with AsyncExitStack() as stack:
            if data_dir == full:
                await stack.enter_async_context(leases_held(data_dir))
            server = await stack.enter_async_context(gateway(data_dir))
            await server.get("/deployment/deployments?page_size=100")
            memory[data_dir].append(psutil.Process(server.pid).memory_info().rss / 1e6)
            return server.start_s

    rounds = await in_turns(3, {"full": partial(start, full), "empty": partial(start, empty)})
    rss = {data_dir: max(found) for data_dir, found in memory.items()}
    held = f"{LARGE:,} deployments, replicas and nodes"
    return [
        Row(
            figure=f"start-up with {held}",
            value=rounds.median("full"),
            unit="s",
            peer="start-up with none",
            peer_value=rounds.median("empty"),
            ratio=rounds.ratio("full", "empty"),
            target=Target("<=", 3, "value"),
        ),
        Row(
            figure=f"memory with {held}",
            value=rss[full],
            unit="MB",
            peer="memory with none",
            peer_value=rss[empty],
            ratio=rss[full] / rss[empty],
            target=Target("<=", 300, "value"),
        ),
    ]
