"""Engines as the machine has them, known by what stands in their environment; the gateway is not asked."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.service.providers.local.processes import INSTANCE_TAG, SUPERVISOR_TAG, send
from tests.chaos.soak_ledger import Kind, Ledger, Promise


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine process."""

    pid: int
    key: str
    version: int
    instance: str

    @property
    def replica_id(self) -> str:
        """The replica that it is an attempt of."""
        return self.instance.removeprefix("r-").rpartition("-")[0]


def engines(keys: Iterable[str]) -> list[Engine]:
    """The engines of these promises that run now."""
    wanted = set(keys)
    found: list[Engine] = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        key = environment.get("SOAK_KEY", "")
        if key in wanted and SUPERVISOR_TAG not in environment:
            version = int(environment["SOAK_VERSION"])
            found.append(Engine(process.pid, key, version, environment[INSTANCE_TAG]))
    return found


class Sampler:
    """Looks again and again for engines that are there twice, or more of them than can be wanted."""

    def __init__(self, database: Path, ledger: Ledger, seed: int) -> None:
        self._database = database
        self._ledger = ledger
        self._random = random.Random(f"{seed} engines")
        self.samples = 0
        self.duplicates: set[str] = set()

    def sample(self) -> None:
        """Look once."""
        promises = self._ledger.by_key()
        begun = {key: promise.requests for key, promise in promises.items()}
        running = engines(promises)
        self.samples += 1
        twice = Counter(engine.replica_id for engine in running)
        self.duplicates |= {f"replica {name} had {count} engines" for name, count in twice.items() if count > 1}
        kept = self._kept()
        if kept is None:
            return
        counts = Counter(engine.key for engine in running if engine.replica_id in kept)
        rows = Counter(kept.values())
        for key, promise in promises.items():
            steady = promise.requests == begun[key] and not promise.busy
            # Engines follow their rows: with more rows than are wanted, others may be on their way from before.
            self._judge(promise, counts[key], settled=steady and rows[promise.id] <= promise.replicas)

    def _judge(self, promise: Promise, count: int, *, settled: bool) -> None:
        if count > promise.ceiling + promise.surge:
            most = f"{promise.ceiling} wanted and {promise.surge} more"
            self.duplicates.add(f"{promise.key} had {count} engines, of at most {most}")
        if settled and count <= promise.replicas:
            promise.ceiling = promise.replicas

    def _kept(self) -> dict[str, str] | None:
        """The replicas that are not being ended, and whose each is; None when the database cannot be read just now.

        Read after the processes: an engine without a row is being ended, or is an orphan, which is looked for later.
        """
        try:
            with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=1)) as connection:
                rows = connection.execute(
                    "SELECT id, deployment_id FROM replicas WHERE state <> 'TERMINATING'"
                ).fetchall()
        except sqlite3.OperationalError:
            return None
        return {str(name): str(deployment) for name, deployment in rows}

    def kill_one(self) -> None:
        """Kill an engine of those that may be."""
        keys = [p.key for p in self._ledger.promises if p.kind is Kind.CRASHING and not p.purged]
        running = engines(keys)
        if running:
            send(self._random.choice(running).pid, signal.SIGKILL)
            self._ledger.engine_kills += 1
