"""What providers offer for rent, as they last told: asked in the background, so that nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from orchestration.service.providers.base import Capabilities, Provider, ProviderError, Resource

log = structlog.get_logger(__name__)

INTERVAL_S = 30.0
MAX_AGE_S = 600.0
TIME_LIMIT_S = 10.0
"""How long one provider may take to tell its resources."""
AGE = "age_seconds"
"""Key of a resource's metadata: how old the answer is that it stands in."""
_LEAST_PAUSE_S = 1.0
"""Between two passes, however often one is asked for."""


def rents(able: Capabilities) -> bool:
    """Whether replicas run on what the provider offers, rather than on nodes."""
    return able.kind != "local" and not able.places_on_nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A provider's last good answer, and what went wrong since."""

    resources: tuple[Resource, ...] = ()
    asked_at: float = 0.0
    """Unix seconds just before the provider was asked: what was made later is not in it. 0.0: it never answered."""
    heard_at: float = 0.0
    """The same moment on a clock that never jumps, to tell its age by."""
    error: str = ""
    """Why the latest call failed; empty when it did not."""


def _aged(resource: Resource, age_s: float) -> Resource:
    """The resource with its age in seconds, on top of what the provider itself says of it."""
    own = resource.metadata.get(AGE, "0")
    if not own.isdecimal():  # a provider's own idea of the key
        return resource
    return replace(resource, metadata={**resource.metadata, AGE: f"{int(own) + age_s:.0f}"})


class Offers:
    """Keeps the last good answer of each provider that rents, and asks again and again."""

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        interval_s: float = INTERVAL_S,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._providers = {item.name: item for item in providers if rents(item.capabilities)}
        self._clock = clock
        self._monotonic = monotonic
        self._interval_s = interval_s
        self._max_age_s = max_age_s
        self._listings = {name: Listing() for name in self._providers}
        self._asked = asyncio.Event()

    def of(self, provider: str) -> Listing:
        """What the provider last told; an empty listing of one that does not rent."""
        return self._listings.get(provider, Listing())

    def recent(self, provider: str, within_s: float) -> tuple[Resource, ...] | None:
        """What the provider told in the last seconds, each with its age; None when it told nothing then."""
        listing = self.of(provider)
        age_s = self._monotonic() - listing.heard_at
        if not listing.asked_at or listing.error or age_s > within_s:
            return None
        return tuple(_aged(resource, age_s) for resource in listing.resources)

    def unknown_reason(self, provider: str) -> str:
        """Why it is not known what the provider offers; empty when it is."""
        listing = self.of(provider)
        why = f": {listing.error}" if listing.error else ""
        if not listing.asked_at:
            return f"provider {provider} has not told yet what it offers{why}"
        if self._monotonic() - listing.heard_at > self._max_age_s:
            # Not for how long: everyone who waits writes this down, and again whenever it differs.
            return f"provider {provider} has not told what it offers for more than {self._max_age_s:g} s{why}"
        return ""

    def refresh_soon(self) -> None:
        """Ask again without waiting for the interval: something was not as the listing says."""
        self._asked.set()

    async def refresh(self) -> None:
        """Ask every provider once, in parallel."""
        await asyncio.gather(*(self._refresh(name) for name in self._providers))

    async def _refresh(self, name: str) -> None:
        asked_at, heard_at = self._clock(), self._monotonic()
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                found = tuple(await self._providers[name].list_resources())
        except TimeoutError:
            self._failed(name, f"it did not answer within {TIME_LIMIT_S:g} s")
        except ProviderError as error:
            self._failed(name, error.message)
        except Exception as error:  # a defect of one provider must not keep the others' offers from being read
            log.warning("offers cannot be read", provider=name, exc_info=error)
            self._failed(name, "the provider failed; see the gateway's log")
        else:
            self._listings[name] = Listing(resources=found, asked_at=asked_at, heard_at=heard_at)

    def _failed(self, name: str, why: str) -> None:
        before = self._listings[name]
        if why != before.error:
            log.warning("offers cannot be read; what was there before counts", provider=name, error=why)
        self._listings[name] = replace(before, error=why)

    async def run(self) -> None:
        """Ask at once, then every interval and whenever it was asked for, until cancelled."""
        while self._providers:
            self._asked.clear()
            await self.refresh()
            await asyncio.sleep(min(_LEAST_PAUSE_S, self._interval_s))
            try:
                async with asyncio.timeout(max(0.0, self._interval_s - _LEAST_PAUSE_S)):
                    await self._asked.wait()
            except TimeoutError:
                continue
