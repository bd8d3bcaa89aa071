"""A provider that is known by name and cannot be used here: pools of it may be made, and every use says why not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from orchestration.service.providers.base import (
    Capabilities,
    Instance,
    InstanceSpec,
    LogRecord,
    ProviderUnavailableError,
    Resource,
)


class UnconfiguredProvider:
    """Stands in for a known provider whose adapter or credentials are not on this gateway."""

    def __init__(self, name: str, capabilities: Capabilities, reason: str = "") -> None:
        """``reason``: why it cannot be used here, and what would change that."""
        self._name = name
        self._capabilities = capabilities
        self.reason = reason or (
            f"provider {name} is not configured on this gateway: it has no credentials, and no adapter is installed"
        )

    @property
    def name(self) -> str:
        """The name callers use."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What the provider could do if it were configured."""
        return self._capabilities

    def _error(self) -> ProviderUnavailableError:
        return ProviderUnavailableError(self.reason, reason="PROVIDER_NOT_CONFIGURED", retry_after_s=300.0)

    async def start(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to release."""

    async def list_resources(self) -> Sequence[Resource]:
        """Raises `ProviderUnavailableError`."""
        raise self._error()

    async def create(self, spec: InstanceSpec) -> Instance:
        """Raises `ProviderUnavailableError`."""
        raise self._error()

    async def describe(self, name: str) -> Instance | None:
        """Raises `ProviderUnavailableError`."""
        raise self._error()

    async def list_owned(self) -> Sequence[Instance]:
        """Raises `ProviderUnavailableError`."""
        raise self._error()

    async def delete(self, name: str) -> None:
        """Raises `ProviderUnavailableError`."""
        raise self._error()

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """Raises `ProviderUnavailableError`."""
        raise self._error()
        yield  # pragma: no cover  makes this an asynchronous generator, as the protocol asks
