"""The providers of this gateway: found by entry point, made once, asked by name."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from orchestration.service.errors import InvalidArgumentError, StartError, Violation
from orchestration.service.providers.base import Provider, ProviderContext
from orchestration.service.providers.bounded import BoundedProvider, CallLimits
from orchestration.service.providers.inventory import NodeLister
from orchestration.service.providers.offers import INTERVAL_S, MAX_AGE_S, Offers, rents
from orchestration.service.providers.unconfigured import UnconfiguredProvider

ENTRY_POINT_GROUP = "orchestration.providers"


class ProviderRegistry:
    """All providers by name: those that are installed, of which some stand in for what is not configured."""

    offers: Offers
    """What those that rent offer; asked from `start` to `close`."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        offers_interval_s: float = INTERVAL_S,
        offers_max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.time,
        limits: CallLimits | None = None,
    ) -> None:
        bounded = {
            name: BoundedProvider(item, limits)
            for name, item in providers.items()
            if not isinstance(item, UnconfiguredProvider)
        }
        self._providers: dict[str, Provider] = dict(sorted((dict(providers) | bounded).items()))
        self._listers: dict[str, NodeLister] = {
            name: bounded[name]
            for name, item in sorted(providers.items())
            if isinstance(item, NodeLister) and rents(item.capabilities)
        }
        usable = [provider for name, provider in self._providers.items() if not self.unavailable_reason(name)]
        self.offers = Offers(usable, interval_s=offers_interval_s, max_age_s=offers_max_age_s, clock=clock)
        self._asking: asyncio.Task[None] | None = None

    @classmethod
    def discover(
        cls,
        data_dir: Path,
        owner: str,
        settings: Mapping[str, Mapping[str, str]],
        *,
        clock: Callable[[], float],
        offers_interval_s: float = INTERVAL_S,
        offers_max_age_s: float = MAX_AGE_S,
    ) -> ProviderRegistry:
        """Make every installed provider; `settings` holds each one's own by name.

        ``clock``: the gateway's time (Unix seconds), called in any thread; by it replicas are billed, and what was made
        since an answer is told. ``offers_interval_s``: pause between two questions to a provider for what it offers;
        ``offers_max_age_s``: how old an answer may be to be placed on. Raises `StartError` naming the provider that
        cannot be made.
        """
        providers: dict[str, Provider] = {}
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            folder = data_dir / "providers" / entry.name
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            context = ProviderContext(
                name=entry.name, data_dir=folder, owner=owner, settings=settings.get(entry.name, {}), clock=clock
            )
            try:
                create = cast("Callable[[ProviderContext], Provider]", entry.load())
                providers[entry.name] = create(context)
            except Exception as error:
                raise StartError(f"provider {entry.name!r} cannot be set up: {error}") from error
        return cls(providers, offers_interval_s=offers_interval_s, offers_max_age_s=offers_max_age_s, clock=clock)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(self._providers)

    def all(self) -> tuple[Provider, ...]:
        """All providers by name."""
        return tuple(self._providers.values())

    def get(self, name: str, *, field: str = "provider") -> Provider:
        """The provider of this name. Raises `InvalidArgumentError` naming those there are."""
        provider = self._providers.get(name)
        if provider is None:
            text = f"{name!r} is no provider of this gateway; there are {', '.join(self._providers)}"
            raise InvalidArgumentError(Violation(field, text), reason="UNKNOWN_PROVIDER")
        return provider

    @property
    def node_listers(self) -> Mapping[str, NodeLister]:
        """By name, the providers whose nodes the gateway keeps as their clusters tell them."""
        return self._listers

    def unavailable_reason(self, name: str) -> str:
        """Why the provider cannot be used; empty when it can."""
        provider = self._providers.get(name)
        if provider is None:
            return f"provider {name} is not installed on this gateway any more"
        return provider.reason if isinstance(provider, UnconfiguredProvider) else ""

    async def start(self) -> None:
        """Start every provider. Raises `StartError` naming the one that cannot."""
        for provider in self._providers.values():
            try:
                await provider.start()
            except Exception as error:
                raise StartError(f"provider {provider.name!r} cannot start: {error}") from error
        self._asking = asyncio.create_task(self.offers.run(), name="offers")

    async def close(self) -> None:
        """Close every provider; what runs there goes on running."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
        for provider in self._providers.values():
            await provider.close()
