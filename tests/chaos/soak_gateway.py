"""A gateway that is killed at random, also while it is still starting."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.gateway import GatewayProcess

_START_WITHIN_S = 60.0
_LONGEST_LIFE_S = 2.0
_MOST_ACCEPTS = 12
"""Requests that it answers in half of its lives, at most."""
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

    async def start(self) -> None:
        """Start it and have callers come."""
        began = time.monotonic()
        await self.process.launch()
        announced = await self.process.announced(within_s=_START_WITHIN_S)
        self._start_s = time.monotonic() - began
        self._base = f"http://{announced['http']}"
        self._up.set()

    async def kill_at_random(self, accepts: Callable[[], int]) -> None:
        """Kill it after a while, or after it has accepted a few requests: at the next await, as it were."""
        life_s = self._random.uniform(0.0, _LONGEST_LIFE_S)
        if self._random.random() < 0.5:
            await asyncio.sleep(life_s)
        else:
            most = accepts() + self._random.randint(1, _MOST_ACCEPTS)
            deadline = time.monotonic() + _LONGEST_LIFE_S
            while accepts() < most and time.monotonic() < deadline:
                await asyncio.sleep(0.001)
            await asyncio.sleep(life_s / 100)
        await self._kill()

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
