"""A gateway that is killed at random, also while it is still starting."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.gateway import GatewayProcess

_START_WITHIN_S = 60.0
_LONGEST_LIFE_S = 2.0
_LONGEST_WAIT_S = 5.0
_MOST_REQUESTS = 8
"""Requests that it is sent, or accepts, in the lives that end with one under way, at most."""
_LONGEST_REQUEST_S = 0.1
_TIMED, _SENT = 0.3, 0.3
"""Parts of the kills that come after some time, and soon after a request was sent. The rest comes when a request has
been committed: its answer is on its way."""
_CUT_START = 0.35
"""Part of the kills that come while it starts."""


class DyingGateway:
    """Kills and starts, and tells callers where the gateway answers now."""

    def __init__(self, data_dir: Path, seed: int, **knobs: Any) -> None:
        self.process = GatewayProcess(data_dir, **knobs)
        self.kills = 0
        self.errors: list[str] = []
        """What it logged as an error."""
        self._random = random.Random(f"{seed} kills")
        self._base = ""
        self._start_s = 1.0
        """How long it took to start the last time."""
        self._up = asyncio.Event()

    async def base(self) -> str:
        """Where it answers, once it does."""
        await self._up.wait()
        return self._base

    def has_answered(self, request_id: str) -> bool:
        """Whether the answer to a request is in the database."""
        with closing(self._read()) as connection:
            found = connection.execute("SELECT 1 FROM answers WHERE request_id = ?", (request_id,)).fetchone()
        return found is not None

    async def start(self) -> None:
        """Start it and have callers come."""
        began = time.monotonic()
        await self.process.launch()
        announced = await self.process.announced(within_s=_START_WITHIN_S)
        self._start_s = time.monotonic() - began
        self._base = f"http://{announced['http']}"
        self._up.set()

    async def kill_at_random(self, sent: Callable[[], int]) -> None:
        """Kill it after a while, or within a request; `sent` counts those that were sent."""
        life_s = self._random.uniform(0.0, _LONGEST_LIFE_S)
        kind, after = self._random.random(), self._random.randint(1, _MOST_REQUESTS)
        if kind < _TIMED:
            await asyncio.sleep(life_s)
        elif kind < _TIMED + _SENT:
            await _grows(sent, after)
            await asyncio.sleep(self._random.uniform(0.0, _LONGEST_REQUEST_S))
        else:
            with closing(self._read()) as connection:
                await _grows(lambda: int(connection.execute("SELECT count(*) FROM answers").fetchone()[0]), after)
        await self._kill()

    def _read(self) -> sqlite3.Connection:
        database = self.process.data_dir / "orchestration.db"
        return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)

    async def come_back(self, most_kills: int) -> None:
        """Start it again; now and then it is killed again before it serves, up to that many kills in all."""
        while self.kills < most_kills and self._random.random() < _CUT_START:
            await self.process.launch()
            await asyncio.sleep(self._random.uniform(0.0, self._start_s))
            await self._kill()
        await self.start()

    async def _kill(self) -> None:
        self._up.clear()
        await self.process.kill()
        self.kills += 1
        self.note_errors()

    def note_errors(self) -> None:
        """Keep what the process that ended had logged as errors."""
        for line in self.process.log.read_text(errors="replace").splitlines():
            try:
                entry: Any = json.loads(line)
                told = entry.get("level", "info")
            except (ValueError, AttributeError):
                told = "error"  # no line of the log at all, such as a traceback
            if told in {"error", "critical"} and line.strip():
                self.errors.append(line)


async def _grows(count: Callable[[], int], by: int) -> None:
    """Wait until something has grown by so much, for as long as a gateway may live while nothing comes."""
    last = count() + by
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while count() < last and time.monotonic() < deadline:
        await asyncio.sleep(0.0005)
