"""An answer that several ask for at once, or soon after each other, and that is had once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from orchestration.service.providers.base import ProviderError

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """The last outcome of a call, good for some seconds; a refusal is kept as an answer is.

    Who asks while a call is under way has its outcome, however long it takes. It ends early only when nobody waits for
    it any more.
    """

    def __init__(self, ask: Callable[[], Awaitable[_T]], keep_s: float, clock: Callable[[], float]) -> None:
        """``keep_s``: seconds from the end of a call for which its outcome is given again."""
        self._ask = ask
        self._keep_s = keep_s
        self._clock = clock
        self._outcome: tuple[_T, float] | ProviderError | None = None
        self._ended = 0.0
        self._call: asyncio.Task[tuple[_T, float] | ProviderError] | None = None
        self._waiting = 0

    async def get(self) -> tuple[_T, float]:
        """The answer, and when it was asked for by the clock. Raises the `ProviderError` that the call ended with."""
        outcome = self._outcome
        if outcome is None or time.monotonic() - self._ended >= self._keep_s:
            outcome = await self._share()
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def _share(self) -> tuple[_T, float] | ProviderError:
        """The outcome of the call that is under way, which is begun when there is none."""
        if self._call is None:
            self._outcome, self._waiting = None, 0
            self._call = asyncio.create_task(self._look())
        call = self._call
        self._waiting += 1
        try:
            return await asyncio.shield(call)
        finally:
            if self._call is call:  # else it is another one that is waited for by now
                self._waiting -= 1
                if not self._waiting:
                    self._call = None
                    call.cancel()  # of one that has ended nothing

    async def _look(self) -> tuple[_T, float] | ProviderError:
        asked_at = self._clock()
        outcome: tuple[_T, float] | ProviderError
        try:
            outcome = (await self._ask(), asked_at)
        except ProviderError as error:
            outcome = error
        self._outcome, self._ended = outcome, time.monotonic()
        return outcome
