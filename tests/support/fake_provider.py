"""A provider for tests that has nothing and does nothing, to be given what a test needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from orchestration.service.providers.base import Capabilities, Instance, InstanceSpec, LogRecord, Resource


class FakeProvider:
    """An empty place."""

    def __init__(self, name: str, capabilities: Capabilities) -> None:
        self._name = name
        self._capabilities = capabilities

    @property
    def name(self) -> str:
        """The name callers use."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._capabilities

    async def start(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to release."""

    async def list_resources(self) -> Sequence[Resource]:
        """Nothing."""
        return ()

    async def create(self, spec: InstanceSpec) -> Instance:
        """Not without a test saying how."""
        raise NotImplementedError(spec.name)

    async def describe(self, name: str) -> Instance | None:
        """Nothing."""
        return None

    async def list_owned(self) -> Sequence[Instance]:
        """Nothing."""
        return ()

    async def delete(self, name: str) -> None:
        """Nothing is there."""

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """No lines."""
        no_records: tuple[LogRecord, ...] = ()
        for record in no_records:
            yield record
