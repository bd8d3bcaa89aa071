"""How figures are taken: CPU time of another process, and things compared in turns."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

_SCHED_CLOCK = 2


def cpu_seconds(pid: int) -> float:
    """CPU seconds, user and system, that all threads of a process have used.

    It is the clock that clock_getcpuclockid(3) gives for the process: nanoseconds, where /proc/PID/stat has 10 ms.
    """
    return time.clock_gettime((~pid << 3) | _SCHED_CLOCK)


@dataclass(frozen=True, slots=True)
class Rounds:
    """The figures of each round, by name."""

    figures: dict[str, list[float]]

    def median(self, name: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.figures[name])

    def ratio(self, name: str, peer: str) -> float:
        """The median of the rounds' own ratios: what slows a whole round is in both, and falls out."""
        pairs = zip(self.figures[name], self.figures[peer], strict=True)
        return statistics.median(one / other for one, other in pairs)


async def in_turns(
    rounds: int, measures: Mapping[str, Callable[[], Awaitable[float]]], *, warm_up: bool = True
) -> Rounds:
    """Measure each thing once a round, every other round in reverse order; the warm-up round is thrown away."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(-1 if warm_up else 0, rounds):
        names = list(measures)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            figure = await measures[name]()
            if number >= 0:
                figures[name].append(figure)
    return Rounds(figures)


async def cpu_per_call(pid: int, call: Callable[[int], Awaitable[object]], *, callers: int, each: int) -> float:
    """CPU microseconds that a server process uses for a call, when so many callers make so many calls each.

    `call` is given the number of its caller.
    """

    async def calls(caller: int) -> None:
        for _ in range(each):
            await call(caller)

    before = cpu_seconds(pid)
    await asyncio.gather(*(calls(caller) for caller in range(callers)))
    return (cpu_seconds(pid) - before) / (callers * each) * 1e6


def quantile(values: Sequence[float], part: float) -> float:
    """The value that this part of the values lies at or below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
