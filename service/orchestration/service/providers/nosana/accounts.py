"""The accounts at Nosana of which this gateway has keys, by the names under which pools mean them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.service.providers.base import InstanceRejectedError, ProviderUnavailableError
from orchestration.service.providers.http_client import HttpLimits
from orchestration.service.providers.nosana.api import NosanaApi
from orchestration.service.providers.nosana.funds import Funds
from orchestration.service.providers.nosana.markets import Markets
from orchestration.service.providers.nosana.settings import NosanaSettings

_TAG_DIGITS = 12
_MISSING_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """One account."""

    name: str
    """Of its credential; empty: the default."""
    api: NosanaApi
    funds: Funds


class Accounts:
    """All of them."""

    def __init__(self, settings: NosanaSettings, limits: HttpLimits | None = None) -> None:
        self._accounts: Mapping[str, Account] = {
            name: Account(name, api, Funds(api))
            for name, key in settings.keys.items()
            for api in [NosanaApi(settings.base_url, key, limits)]
        }
        first = next(iter(self._accounts.values()))
        self.markets = Markets(first.api, assumed_available=settings.assumed_available)
        """What there is to be had, which is the same for everyone."""

    async def start(self) -> None:
        """Prepare to ask."""
        for account in self._accounts.values():
            await account.api.start()

    async def close(self) -> None:
        """End every connection."""
        for account in self._accounts.values():
            await account.api.close()

    def all(self) -> list[Account]:
        """Every account."""
        return list(self._accounts.values())

    def of(self, name: str) -> Account:
        """The account that holds something already.

        Raises `ProviderUnavailableError` when its key was taken out of the configuration: what runs there is not gone.
        """
        account = self._accounts.get(name)
        if account is None:
            what = f"credential.{name}.api_key" if name else "api_key"
            text = f"provider nosana has instances of an account whose key is no longer configured: set {what}"
            raise ProviderUnavailableError(text, reason="CREDENTIAL_MISSING", retry_after_s=_MISSING_RETRY_S)
        return account

    def get(self, name: str) -> Account:
        """The account of a credential. Raises `InstanceRejectedError` CREDENTIAL_UNKNOWN naming those there are."""
        account = self._accounts.get(name)
        if account is not None:
            return account
        known = ", ".join(repr(item) for item in self._accounts if item) or "none"
        if name:
            text = f"provider nosana has no credential {name!r}; credentials with a name: {known}"
        else:
            text = f"provider nosana has no api_key without a name; name one of its credentials: {known}"
        raise InstanceRejectedError("CREDENTIAL_UNKNOWN", text)


def tag_of(owner: str) -> str:
    """What names at Nosana begin with: this installation's mark, which tells nothing else of it."""
    return f"og-{hashlib.sha256(owner.encode()).hexdigest()[:_TAG_DIGITS]}-"
