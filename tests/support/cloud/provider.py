"""The provider over the fake cloud: what an adapter of a real one would be."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp

from orchestration.service.engines.table import ENGINE_NAMES
from orchestration.service.providers.base import (
    Capabilities,
    CapacityError,
    Instance,
    InstanceRejectedError,
    InstanceSpec,
    InstanceState,
    LogRecord,
    ProviderError,
    ProviderUnavailableError,
    Resource,
)
from tests.support.cloud.server import NOW_HEADER


def cloud_capabilities(*, kind: str = "marketplace", places_on_nodes: bool = False) -> Capabilities:
    """A cloud that runs every engine."""
    return Capabilities(
        kind=kind,
        log_streaming=True,
        spot=True,
        multi_gpu=True,
        multi_node=False,
        ephemeral=False,
        pricing_model="on_demand",
        engines=ENGINE_NAMES,
        places_on_nodes=places_on_nodes,
    )


class CloudProvider:
    """One account of the cloud. `reached` is told of each call before it is sent and after its answer came.

    ``answer_within_s``: how long it waits for an answer that does not come.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        owner: str,
        capabilities: Capabilities,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.time,
        follow_poll_s: float = 2.0,
        answer_within_s: float = 5.0,
        reached: Callable[[str, str], None] = lambda kind, where: None,
    ) -> None:
        self._name = name
        self._url = url
        self._owner = owner
        self._capabilities = capabilities
        self._session = session
        self._clock = clock
        self._follow_poll_s = follow_poll_s
        self._answer_within_s = answer_within_s
        self._reached = reached

    @property
    def name(self) -> str:
        """The name callers use."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._capabilities

    async def start(self) -> None:
        """Nothing to prepare: the cloud keeps everything."""

    async def close(self) -> None:
        """Nothing to release: the session is the caller's."""

    async def _call(self, what: str, method: str, path: str, body: object = None, **query: str) -> Any:
        self._reached("cloud", f"{what} before")
        headers = {NOW_HEADER: repr(self._clock())}
        async with self._session.request(
            method, f"{self._url}{path}", json=body, params=query, headers=headers
        ) as answer:
            told = await answer.json()
        self._reached("cloud", f"{what} after")
        if answer.status == 200:
            if told["lag_s"]:
                await asyncio.sleep(told["lag_s"])
            return told["result"]
        raise await self._error(told["error"], told["message"])

    async def _error(self, error: str, message: str) -> ProviderError:
        match error:
            case "capacity":
                return CapacityError(message)
            case "rejected":
                return InstanceRejectedError("IMAGE_NOT_FOUND", message)
            case "unavailable":
                return ProviderUnavailableError(message)
            case "late":
                await asyncio.sleep(self._answer_within_s)
                return ProviderError("NO_ANSWER", message, retryable=True)
            case _:
                return ProviderError("CLOUD_BROKEN", message, retryable=True)

    async def list_resources(self) -> Sequence[Resource]:
        """What the account is offered."""
        return [
            Resource(
                provider=self._name,
                provider_resource_id=offer["resource_id"],
                gpu_type=offer["gpu_type"],
                gpu_count=offer["gpu_count"],
                vcpu=offer["vcpu"],
                ram_gb=512.0,
                region=offer["region"],
                pricing_model=offer["pricing_model"],
                price_per_hour=offer["price_per_hour"],
                available_count=offer["available"],
            )
            for offer in await self._call("resources", "GET", "/resources")
        ]

    async def create(self, spec: InstanceSpec) -> Instance:
        """Start it, or give the one of this name."""
        body = dataclasses.asdict(spec)
        return _instance(await self._call("create", "POST", "/instances", body))

    async def describe(self, name: str) -> Instance | None:
        """The instance, or None."""
        found = await self._call("describe", "GET", "/instance", name=name)
        return None if found is None else _instance(found)

    async def list_owned(self) -> Sequence[Instance]:
        """Every instance of this owner that the cloud tells of yet, and still."""
        return [_instance(item) for item in await self._call("list", "GET", "/instances", owner=self._owner)]

    async def delete(self, name: str) -> None:
        """End it."""
        await self._call("delete", "DELETE", "/instance", name=name)

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """The lines after the cursor, which is the number of the last line that was read, from 1."""
        read = int(after or "0")
        while True:
            told = await self._call("logs", "GET", "/logs", name=name, after=str(read))
            for number, at in told["lines"]:
                read = number + 1
                yield LogRecord(time=at, stream="stdout", message=f"{told['prefix']}line {number}", cursor=str(read))
            if told["ended"] or not follow:
                return
            await asyncio.sleep(self._follow_poll_s)


def _instance(told: dict[str, Any]) -> Instance:
    return Instance(
        name=told["name"],
        provider_instance_id=told["instance_id"],
        state=InstanceState(told["state"]),
        endpoint=told["endpoint"],
        exit_code=told.get("exit_code"),
        signal=told.get("signal"),
        reason=told.get("reason", ""),
        message=told.get("message", ""),
        price_per_hour=told["price_per_hour"],
        started_at=told["started_at"],
        deployment_id=told["deployment_id"],
        replica_id=told["replica_id"],
    )
