"""An answer that several ask for at once, or soon after each other, and that is had once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from orchestration.service.providers.base import ProviderError

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """The last outcome of a call, good for some seconds; a refusal is kept as an answer is."""

    def __init__(self, ask: Callable[[], Awaitable[_T]], keep_s: float, clock: Callable[[], float]) -> None:
        """``keep_s``: seconds from the beginning of a call for which its outcome is given again."""
        self._ask = ask
        self._keep_s = keep_s
        self._clock = clock
        self._outcome: tuple[_T, float] | ProviderError | None = None
        self._began = 0.0
        self._asking = asyncio.Lock()

    async def get(self) -> tuple[_T, float]:
        """The answer, and when it was asked for by the clock. Raises the `ProviderError` that the call ended with."""
        async with self._asking:
            if self._outcome is None or time.monotonic() - self._began >= self._keep_s:
                self._outcome, self._began, asked_at = None, time.monotonic(), self._clock()
                try:
                    self._outcome = (await self._ask(), asked_at)
                except ProviderError as error:
                    self._outcome = error
            outcome = self._outcome
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome
