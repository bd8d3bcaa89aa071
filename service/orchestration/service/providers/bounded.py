"""A provider whose calls all end: each within its time, and only so many at once, whatever answers or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestration.service.providers.base import (
    Capabilities,
    Instance,
    InstanceSpec,
    LogRecord,
    Provider,
    ProviderUnavailableError,
    Resource,
)
from orchestration.service.providers.inventory import ClusterNodes, NodeLister, NodeScope

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How long calls to one provider may take, in seconds, and how many may be under way.

    Calls are made by name and may be made again, so that nothing is lost with an answer that is not waited for.
    """

    create_s: float = 30.0
    describe_s: float = 5.0
    """Short: what runs on a node that is lost waits for it before it is given up."""
    delete_s: float = 10.0
    list_s: float = 30.0
    at_once: int = 64
    """Creations, and as many others: creations that hang do not keep what runs from being looked at."""
    turn_s: float = 1.0
    """How long a call waits for others to end before it is refused: who waits keeps a worker from other providers."""


class ProviderBusyError(ProviderUnavailableError):
    """So many calls to the provider are under way that this one was not made."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="PROVIDER_BUSY")


class BoundedProvider:
    """Passes calls on to a provider, within limits. Logs stream for as long as they come."""

    def __init__(self, provider: Provider, limits: CallLimits | None = None) -> None:
        self._provider = provider
        self._limits = limits or CallLimits()
        self._creations = asyncio.Semaphore(self._limits.at_once)
        self._others = asyncio.Semaphore(self._limits.at_once)

    @property
    def name(self) -> str:
        """The name callers use."""
        return self._provider.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._provider.capabilities

    async def start(self) -> None:
        """Prepare; takes as long as it takes."""
        await self._provider.start()

    async def close(self) -> None:
        """Release what this process holds."""
        await self._provider.close()

    async def list_resources(self) -> Sequence[Resource]:
        """What can be had. Raises `ProviderUnavailableError` as every call here, also when there is no answer."""
        return await self._call("list_resources", self._limits.list_s, self._others, self._provider.list_resources)

    async def list_nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        """The nodes of its clusters; TypeError of a provider that is no `NodeLister`."""
        lister = self._provider
        if not isinstance(lister, NodeLister):
            raise TypeError(f"provider {self.name} tells no nodes")
        return await self._call("list_nodes", self._limits.list_s, self._others, lambda: lister.list_nodes(scope))

    async def create(self, spec: InstanceSpec) -> Instance:
        """Start the instance; after PROVIDER_TIMEOUT it may be there, or come to be there yet."""
        return await self._call("create", self._limits.create_s, self._creations, lambda: self._provider.create(spec))

    async def describe(self, name: str) -> Instance | None:
        """The instance, or None when there is none."""
        return await self._call(
            "describe", self._limits.describe_s, self._others, lambda: self._provider.describe(name)
        )

    async def list_owned(self) -> Sequence[Instance]:
        """Every instance of this installation."""
        return await self._call("list_owned", self._limits.list_s, self._others, self._provider.list_owned)

    async def delete(self, name: str) -> None:
        """End the instance."""
        await self._call("delete", self._limits.delete_s, self._others, lambda: self._provider.delete(name))

    def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """Lines after the cursor, without a limit."""
        return self._provider.logs(name, after=after, follow=follow)

    async def _call(self, what: str, limit_s: float, turns: asyncio.Semaphore, call: Callable[[], Awaitable[_T]]) -> _T:
        await self._turn(what, turns)
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                return await call()
        except TimeoutError as error:
            if not limit.expired():
                raise  # the provider's own
            text = f"provider {self.name} did not answer {what} within {limit_s:g} s"
            raise ProviderUnavailableError(text, reason="PROVIDER_TIMEOUT") from error
        finally:
            turns.release()

    async def _turn(self, what: str, turns: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._limits.turn_s):
                await turns.acquire()
        except TimeoutError as error:
            text = f"provider {self.name} has not answered {self._limits.at_once} calls yet; {what} was not called"
            raise ProviderBusyError(text) from error
