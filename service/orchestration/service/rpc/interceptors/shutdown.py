"""Streams end when the gateway stops: a watch or a tail would otherwise hold the shutdown up for its whole grace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from orchestration.service.errors import UnavailableError
from orchestration.service.rpc.interceptors.base import RpcCall, Stage


class ShutdownStage(Stage):
    """Ends open streams with UNAVAILABLE, reason SHUTTING_DOWN, when it is told to; unary calls are left to finish."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._closing = False
        self._ended = asyncio.Event()

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """Unary calls end by themselves."""
        return self if streaming else None

    def begin(self, call: RpcCall) -> None:
        """Make a stream one that `close` can end."""
        call.scope = self._endable()

    @asynccontextmanager
    async def _endable(self) -> AsyncGenerator[None]:
        timeout = asyncio.timeout(0 if self._closing else None)
        try:
            async with timeout:
                self._open.add(timeout)
                try:
                    yield
                finally:
                    self._open.discard(timeout)
                    if not self._open:
                        self._ended.set()
        except TimeoutError:
            if not timeout.expired():
                raise
            text = "this gateway is stopping; connect again, with the last cursor or token"
            raise UnavailableError("SHUTTING_DOWN", text) from None

    async def close(self, within_s: float) -> None:
        """End every open stream, and each that is opened from now on; wait for those open, but not longer."""
        self._closing = True
        now = asyncio.get_running_loop().time()
        for timeout in self._open:
            timeout.reschedule(now)
        if self._open:
            self._ended.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), within_s)
