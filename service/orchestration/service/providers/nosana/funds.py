"""Credits: nothing is asked of an account that cannot pay, until it can."""

from __future__ import annotations

import time

import structlog

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.nosana.api import NosanaApi
from orchestration.service.providers.nosana.states import INSUFFICIENT_FUNDS

log = structlog.get_logger(__name__)

RETRY_S = 60.0
"""How often an account without funds is looked at again."""
_EPSILON = 1e-6


class Funds:
    """Whether one account can pay."""

    def __init__(self, api: NosanaApi) -> None:
        self._api = api
        self._look_at = 0.0
        """When the balance is to be read again, on the monotonic clock."""
        self._short_at: float | None = None
        """The balance with which Nosana said that it is not enough; None: it did not say so."""
        self._told = ""

    async def check(self) -> None:
        """Raises `ProviderUnavailableError` INSUFFICIENT_FUNDS, saying what there is."""
        if self._told and time.monotonic() < self._look_at:
            raise self._error(self._look_at - time.monotonic())
        balance = await self._api.balance()
        if balance is None:  # not an account of credits: only Nosana itself can tell
            self._told = ""
            return
        short = balance <= _EPSILON or (self._short_at is not None and balance <= self._short_at + _EPSILON)
        if not short:
            self._told, self._short_at = "", None
            return
        self._told = f"the account has {balance:.2f} USD of credits left at Nosana, which is too little for a replica"
        self._look_at = time.monotonic() + RETRY_S
        raise self._error(RETRY_S)

    async def ran_out(self) -> None:
        """Nosana said that they are not enough: with what there is now nothing more is asked for."""
        if self._told:
            return
        try:
            self._short_at = await self._api.balance()
        except ProviderError as error:
            log.info("the balance cannot be read", error=error.message)
        self._told = "Nosana says that the account has too few credits for a replica"
        self._look_at = time.monotonic() + RETRY_S

    def _error(self, retry_after_s: float) -> ProviderUnavailableError:
        text = f"{self._told}; add some, and it goes on by itself"
        return ProviderUnavailableError(text, reason=INSUFFICIENT_FUNDS, retry_after_s=retry_after_s)
