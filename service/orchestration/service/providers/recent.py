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

    def __init__(self, ask: Callable[[], Awaitable[_T]], keep_s: float) -> None:
        """``keep_s``: seconds from the beginning of a call for which its outcome is given again."""
        self._ask = ask
        self._keep_s = keep_s
        self._outcome: tuple[_T] | ProviderError | None = None
        self._asked_at = 0.0
        self._asking = asyncio.Lock()

    async def get(self) -> _T:
        """The answer. Raises the `ProviderError` that the call ended with."""
        async with self._asking:
            if self._outcome is None or time.monotonic() - self._asked_at >= self._keep_s:
                self._outcome, self._asked_at = None, time.monotonic()
                try:
                    self._outcome = (await self._ask(),)
                except ProviderError as error:
                    self._outcome = error
            outcome = self._outcome
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome[0]
