"""Durable mutations per second: 64 callers at once against one after the other, on the same file in one run.

The limit beside them is a bare SQLite commit with synchronous=FULL. Run: python -m tests.bench.bench_store [FOLDER]
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from orchestration.store.records import Deployment, Pool
from orchestration.store.store import Store
from tests.bench.results import Row, Target
from tests.bench.servers import Servers

CALLERS = 64
EACH = 40
SEQUENTIAL = 400
ROUNDS = 5


def bare_commits(path: Path) -> float:
    """Commits per second of one row each, with nothing around them."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (id TEXT PRIMARY KEY, body TEXT)")
        begin = time.perf_counter()
        for number in range(SEQUENTIAL):
            connection.execute("INSERT INTO t VALUES (?, ?)", (f"{number:06}", "x" * 600))
        return SEQUENTIAL / (time.perf_counter() - begin)
    finally:
        connection.close()


async def mutate(store: Store, count: int) -> None:
    """Add deployments, one to a transaction, each with its event."""
    for _ in range(count):
        record = Deployment(
            id=str(uuid.uuid4()),
            org_id="acme",
            owner_id="alice",
            pool_id="p",
            model_name="llama",
            engine="vllm",
            inference_model="meta/llama",
        )
        async with store.write(actor="bench") as tx:
            await tx.insert(record)
            tx.event(kind="deployment", subject_id=record.id, reason="CREATED", message="")


async def store_commits(path: Path) -> tuple[float, float]:
    """Mutations per second of the store: sequential, and by 64 callers."""
    async with await Store.open(f"sqlite+aiosqlite:///{path}") as store:
        async with store.write(actor="bench") as tx:
            await tx.insert(Pool(id="p", name="p", owner_type="org", owner_id="acme", provider="local"))
        begin = time.perf_counter()
        await mutate(store, SEQUENTIAL)
        sequential = SEQUENTIAL / (time.perf_counter() - begin)
        begin = time.perf_counter()
        await asyncio.gather(*(mutate(store, EACH) for _ in range(CALLERS)))
        return sequential, CALLERS * EACH / (time.perf_counter() - begin)


def measure(folder: Path) -> dict[str, float]:
    """Every figure, per second, and the ratio that decides."""
    bare = bare_commits(folder / "bare.db")
    sequential, together = asyncio.run(store_commits(folder / "store.db"))
    return {
        "bare_sqlite_full_commits_per_s": round(bare, 1),
        "store_sequential_per_s": round(sequential, 1),
        "store_64_callers_per_s": round(together, 1),
        "ratio_to_bare": round(together / bare, 2),
        "ratio_to_sequential": round(together / sequential, 2),
    }


async def rows(servers: Servers) -> list[Row]:
    """64 callers against bare commits, the median of a few rounds."""
    found: list[dict[str, float]] = []
    for number in range(ROUNDS):
        folder = servers.folder / f"commits-{number}"
        folder.mkdir()
        found.append(await asyncio.to_thread(measure, folder))
    median = {name: statistics.median(one[name] for one in found) for name in found[0]}
    return [
        Row(
            figure=f"durable mutations by {CALLERS} callers",
            value=median["store_64_callers_per_s"],
            unit="/s",
            peer="bare SQLite FULL commits, one after the other",
            peer_value=median["bare_sqlite_full_commits_per_s"],
            ratio=median["ratio_to_bare"],
            target=Target(">=", 2.0),
        ),
        Row(
            figure="durable mutations by one caller",
            value=median["store_sequential_per_s"],
            unit="/s",
            peer=f"by {CALLERS} callers",
            peer_value=median["store_64_callers_per_s"],
            ratio=1 / median["ratio_to_sequential"],
        ),
    ]


def main() -> None:
    """Print the figures as JSON."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        sys.stdout.write(json.dumps(measure(Path(folder)), indent=2) + "\n")


if __name__ == "__main__":
    main()
