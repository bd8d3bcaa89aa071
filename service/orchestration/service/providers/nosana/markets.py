"""The markets: kept for a while, offered as resources, and chosen from by GPU type and price."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.service.domain import gpu
from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec, Resource
from orchestration.service.providers.nosana.api import NosanaApi
from orchestration.service.providers.nosana.models import Market

KEPT_S = 30.0
"""How old a list of markets may be before it is asked for again."""
_NAMED = 8


@dataclass(frozen=True, slots=True)
class _Listing:
    markets: tuple[Market, ...]
    heard_at: float


class Markets:
    """What there is to be had."""

    def __init__(self, api: NosanaApi, *, assumed_available: int) -> None:
        self._api = api
        self._assumed = assumed_available
        self._listing: _Listing | None = None
        self._asking = asyncio.Lock()

    async def all(self, *, at_most_s: float = KEPT_S) -> tuple[Market, ...]:
        """Every market, from an answer that is at most so old. Raises `ProviderUnavailableError`."""
        async with self._asking:
            if self._listing is None or time.monotonic() - self._listing.heard_at > at_most_s:
                heard_at = time.monotonic()
                self._listing = _Listing(tuple(await self._api.markets()), heard_at)
            return self._listing.markets

    def price(self, address: str) -> float:
        """What an hour on a market costs in USD as last told; 0.0 when it is not known."""
        known = self._listing.markets if self._listing else ()
        return next((market.price_per_hour for market in known if market.address == address), 0.0)

    async def resources(self, provider: str) -> Sequence[Resource]:
        """The markets as resources."""
        markets = await self.all()
        age_s = time.monotonic() - self._listing.heard_at if self._listing else 0.0
        return [self._resource(provider, market, age_s) for market in markets]

    def _resource(self, provider: str, market: Market, age_s: float) -> Resource:
        available, how = self._available(market)
        told = {
            "slug": market.slug,
            "name": market.name,
            "market_type": market.kind,
            "gpu_types": ", ".join(market.gpu_types),
            "network_fee_percentage": f"{market.fee_percent:g}",
            "availability": how,
            "age_seconds": f"{age_s:.0f}",
        }
        return Resource(
            provider=provider,
            provider_resource_id=market.address,
            gpu_type=market.gpu_types[0] if market.gpu_types else "",
            gpu_count=market.gpu_count if market.gpu_types else 0,
            gpu_memory_gb=market.vram_gb,
            pricing_model="on_demand",
            price_per_hour=market.price_per_hour,
            available_count=available,
            metadata=told,
        )

    def _available(self, market: Market) -> tuple[int, str]:
        """How many machines can be had, and how that is known. Nothing is rented whose price is not known."""
        if not market.price_per_hour:
            return 0, "no price is told"
        return (self._assumed, "assumed") if market.hosts is None else (market.hosts, "told")

    async def choose(self, spec: InstanceSpec) -> Market:
        """The market that the instance is to run on: the one that is named, else the cheapest that fits.

        Raises `InstanceRejectedError` MARKET_UNKNOWN naming some that there are, and `CapacityError` when none fits.
        """
        wanted = spec.resource_id or spec.provider_pool_id
        if wanted:
            return _named(wanted, await self.all()) or await self._named_now(wanted)
        fitting = [market for market in await self.all() if _fits(market, spec)]
        if not fitting:
            types = ", ".join(spec.gpu_types) or "any type"
            raise CapacityError(f"no market has machines with {spec.gpu_count} GPUs of {types}", reason="NO_MARKET")
        return min(fitting, key=lambda market: (market.price_per_hour, market.address))

    async def _named_now(self, wanted: str) -> Market:
        """The market among those that there are now: it may be new."""
        markets = await self.all(at_most_s=0.0)
        found = _named(wanted, markets)
        if found is None:
            known = ", ".join(market.slug or market.address for market in markets[:_NAMED])
            text = f"Nosana has no market {wanted!r}; there are {known} and {max(0, len(markets) - _NAMED)} more"
            raise InstanceRejectedError("MARKET_UNKNOWN", text)
        return found


def _named(wanted: str, markets: Sequence[Market]) -> Market | None:
    return next((market for market in markets if wanted in (market.address, market.slug)), None)


def _fits(market: Market, spec: InstanceSpec) -> bool:
    if not market.price_per_hour:
        return False
    if not spec.gpu_count:
        return True
    enough = bool(market.gpu_types) and market.gpu_count >= spec.gpu_count
    return enough and gpu.allowed(market.gpu_types[0], spec.gpu_types)
