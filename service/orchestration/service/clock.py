"""The gateway's time: Unix seconds that never jump.

Time-outs, leases, backoffs and silences are differences of two times. When somebody sets the machine's clock, or a time
server steps it, such a difference is anything at all: engines that are starting would be given up, nodes held to be
lost, and pauses last for hours. So the wall clock is read once, and from there on time passes as the machine's
monotonic clock says, the time during which it was suspended included. When the wall clock is somewhere else, this one
runs a tenth faster or slower until it is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

log = structlog.get_logger(__name__)

TOLERANCE_S = 1.0
"""A difference from the wall clock up to this is left as it is."""
SLEW = 0.1
"""Share of the time that passed by which this clock may run fast or slow: an hour is made up for in ten."""
_REACHED_S = 0.001


_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_monotonic: Callable[[], float] = time.monotonic if _BOOT_CLOCK is None else partial(time.clock_gettime, _BOOT_CLOCK)
"""Seconds since the machine was started, suspended or not, where the system has such a clock."""


class SteadyClock:
    """Call it for the time, in Unix seconds: it never goes back, and passes at 0.9 to 1.1 times the real pace.

    Any thread may call it.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = _monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._read_at = monotonic()
        self._now = wall()
        self._told_of = 0.0
        self._slewing = False
        self._reading = threading.Lock()

    def __call__(self) -> float:
        """The time."""
        with self._reading:  # both clocks too: a time that was read before another's would be added once more
            read_at = self._monotonic()
            passed = max(0.0, read_at - self._read_at)
            self._read_at = read_at
            self._now += passed
            off = self._wall() - self._now
            if (self._slewing or not -TOLERANCE_S <= off <= TOLERANCE_S) and self._is_off(off):
                self._now += max(-SLEW * passed, min(SLEW * passed, off))
            return self._now

    @property
    def offset_s(self) -> float:
        """By how many seconds the wall clock is ahead of this one now; negative when it is behind."""
        now = self()
        return self._wall() - now

    def _is_off(self, off: float) -> bool:
        """Whether to run towards the wall clock: from the moment that it has jumped until it is met again."""
        if self._slewing and abs(off) <= _REACHED_S:
            self._slewing = False
            log.info("the wall clock is met again")
        if abs(off) > TOLERANCE_S and (not self._slewing or abs(off) > abs(self._told_of) + TOLERANCE_S):
            self._slewing = True
            self._told_of = off
            hours = abs(off) / SLEW / 3600
            text = "the wall clock jumped; the gateway's time goes on steadily and runs towards it"
            log.warning(text, off_s=round(off, 3), hours=round(hours, 2))
        return self._slewing


def bounded(at: float, *, earliest: float, latest: float) -> float:
    """A time that another clock has told, held to be within what can be."""
    return min(latest, max(earliest, at))
