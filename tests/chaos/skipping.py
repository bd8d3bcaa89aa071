"""Time that is skipped: when nothing can happen until a timer is due, the clocks jump there.

A scenario that waits minutes of backoff, leases and grace then takes as long as its work does, with the gateway's own
intervals. While something is under way its clocks go slowly: a process that gets no CPU for seconds does not run out of
patience with its database, and the order of events hardly depends on how busy the machine is. All clocks of the process
go and jump alike (`install` replaces those of the module ``time``), so that nothing can tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Generator
from typing import Any

_real_time = time.time
_real_clock = time.clock_gettime
real_monotonic = time.monotonic
"""The clock that is not skipped."""
_OF_WORK = (time.CLOCK_PROCESS_CPUTIME_ID, time.CLOCK_THREAD_CPUTIME_ID)
_SETTLE_S = 0.0005
"""How long the loop listens for what may come from outside before it skips."""
_SPEED = 0.1
"""Seconds that the clocks go on in a second while nothing is skipped."""
_skipped = 0.0


def install() -> None:
    """Replace the process's clocks. To be called before anything else is imported that takes a clock by value."""
    began = real_monotonic()

    def gone() -> float:
        """By how much the clocks are ahead of the real ones; less than 0 when they are behind."""
        return _skipped - (real_monotonic() - began) * (1 - _SPEED)

    time.time = lambda: _real_time() + gone()
    time.monotonic = lambda: real_monotonic() + gone()
    time.clock_gettime = lambda clock: _real_clock(clock) + (0.0 if clock in _OF_WORK else gone())


def skip(seconds: float) -> None:
    """Let the clocks jump ahead."""
    global _skipped
    _skipped += max(0.0, seconds)


def skip_to(now: float) -> None:
    """Let the wall clock be at least at `now` (Unix seconds)."""
    skip(now - time.time())


class Busy:
    """Counts what is under way outside the loop: while anything is, time passes by itself."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.contextmanager
    def while_outside(self) -> Generator[None]:
        """Something is under way outside for the time of the block."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    def ended(self, _: object = None) -> None:
        """One thing that was counted has ended; takes what a callback is given."""
        self.count -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, busy: Busy) -> None:
        super().__init__()
        self._busy = busy

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0 or self._busy.count:
            return super().select(timeout)
        found = super().select(min(timeout, _SETTLE_S))
        if not found:
            skip(timeout - _SETTLE_S * _SPEED)
        return found


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop that skips ahead to its next timer when nothing is under way."""

    def __init__(self, busy: Busy) -> None:
        super().__init__(_Selector(busy))
        self.busy = busy

    def run_in_executor(  # type: ignore[override]  # the base class is generic over the arguments
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As the base class; time is not skipped until the function has returned."""
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self.busy.count += 1
        future.add_done_callback(self.busy.ended)
        return future
