"""The provider protocol: what a place that runs replicas must be able to do.

A provider is found by the entry-point group ``orchestration.providers``; the entry point is a callable that takes a
`ProviderContext` and returns a `Provider`. A provider holds no desired state: it does what it is asked, by the name it
is given, and tells what is there. Every method may be called again after a crash or an answer that never came.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from orchestration.service.engines.base import OverNodes

PROVIDER_CLOSED = "PROVIDER_CLOSED"
"""Reason of a provider that is closed: this process ends, and the next one goes on."""


class InstanceState(StrEnum):
    """What the provider knows of an instance; whether the engine in it answers is asked at its health path."""

    PENDING = "PENDING"
    """Accepted; no process exists yet."""
    RUNNING = "RUNNING"
    """The process (job, pod) exists."""
    STOPPING = "STOPPING"
    """Asked to end; the process may still exist."""
    EXITED = "EXITED"
    """The process ended; `Instance.exit_code` or `Instance.signal` says how."""
    FAILED = "FAILED"
    """It never ran, or the place it ran in is gone; `Instance.reason` and `Instance.message` say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do, told to callers by ListProviders and held against each request before it is accepted."""

    kind: str
    """``local``, ``cluster`` or ``marketplace``."""
    log_streaming: bool
    spot: bool
    multi_gpu: bool
    multi_node: bool
    ephemeral: bool
    """Instances end by themselves (a marketplace job's timeout) and must be rotated."""
    pricing_model: str
    """``fixed``, ``spot``, ``auction`` or ``on_demand``."""
    engines: tuple[str, ...]
    """Names from the engine table that it can run."""
    places_on_nodes: bool = False
    """Replicas run on nodes that agents registered in the pool, and `InstanceSpec.node` names one. Otherwise, unless
    the provider is this machine, they run on what `Provider.list_resources` offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of machine that can be had from a provider, with its price and how many there are."""

    provider: str
    provider_resource_id: str
    gpu_type: str = ""
    gpu_count: int = 0
    gpu_memory_gb: float = 0.0
    vcpu: int = 0
    ram_gb: float = 0.0
    region: str = ""
    pricing_model: str = "fixed"
    price_per_hour: float = 0.0
    available_count: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    nodes: int = 1
    """Machines that one replica takes. Above 1 `gpu_count` and the price are those of all of them together, and a
    replica has exactly so many GPUs."""
    way: str = ""
    """How an engine must be able to run over them: one of `orchestration.service.engines.base` RAY and GROUP."""
    one_node_because: str = ""
    """Why no replica spans several machines of this kind; empty where some may, or no more is known than that."""
    more_machines: str = ""
    """How more machines of this kind may come than there are; empty where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """Everything a provider needs to start one replica attempt.

    ``command`` and ``env`` values may hold ``{port}``, ``{host}`` and ``{model}``; the provider replaces them, since it
    alone knows the port and the address the engine listens on, and also sets ``PORT``, ``HOST`` and ``MODEL`` in the
    environment.
    """

    name: str
    """Written down before it is asked for: creating it again gives the same instance, never a second."""
    owner: str
    """This installation's ownership tag; `Provider.list_owned` returns only instances that carry it."""
    deployment_id: str
    replica_id: str
    engine: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    model: str
    image: str
    port: int
    """0: the provider picks a free one."""
    container_port: int = 0
    """Where the engine listens in a container of its own; 0: not told."""
    health_path: str = ""
    """Where a 2xx means ready; empty: ready when the port accepts a connection."""
    startup_timeout_s: float = 0.0
    """How long the engine may take to be ready; 0: not told."""
    gpu_count: int
    gpu_types: tuple[str, ...]
    """Empty: any. Otherwise normalised names (`orchestration.service.domain.gpu.normalise`)."""
    stop_grace_s: float
    labels: Mapping[str, str]
    provider_pool_id: str
    provider_credential_name: str
    org_id: str = ""
    """The organisation of the deployment's owner; empty: none."""
    node: str = ""
    """The node to run on, as the provider calls it; empty: the provider chooses."""
    resource_id: str = ""
    """The offer to take (`Resource.provider_resource_id`); empty: the provider chooses."""
    pricing_model: str = ""
    """Of that offer: ``spot`` may be taken back at any time."""
    regions: tuple[str, ...] = ()
    """Where it may run; empty: anywhere."""
    over_nodes: OverNodes = field(default_factory=OverNodes)
    """How the engine is started on an offer of several machines, in place of ``command``."""
    install_hint: str
    """What to do when ``command[0]`` is not there, e.g. ``pip install vllm``; part of the error a person reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance as the provider sees it now."""

    name: str
    provider_instance_id: str
    state: InstanceState
    endpoint: str = ""
    """Base URL such as ``http://127.0.0.1:40123``; empty until it is known."""
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    """UPPER_SNAKE: why it is EXITED or FAILED, e.g. ``OOM_KILLED``, ``ENGINE_NOT_FOUND``, ``SIGNALED``, ``EXITED``."""
    message: str = ""
    hostname: str = ""
    gpu_ids: tuple[str, ...] = ()
    price_per_hour: float = 0.0
    started_at: float = 0.0
    """Unix seconds, 0 when it never started."""
    deployment_id: str = ""
    replica_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One line that an instance printed."""

    time: float
    """Unix seconds at which the provider saw the line."""
    stream: str
    """``stdout`` or ``stderr``."""
    message: str
    """The line without its newline; invalid UTF-8 is replaced by U+FFFD."""
    cursor: str
    """Opaque; reading after it gives the next line, also after a restart of the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """What a provider is given when it is made."""

    name: str
    data_dir: Path
    """A folder of its own, which exists; what it writes there survives restarts."""
    owner: str
    """This installation's ownership tag."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    clock: Callable[[], float] = time.time
    """The gateway's time, in Unix seconds, to age things by: the wall clock may jump. Safe to call in any thread."""


class ProviderError(Exception):
    """A provider could not do what it was asked.

    ``retryable`` says whether the same call may succeed later. ``reason`` is UPPER_SNAKE and reaches the caller, as
    does the message; neither may hold a secret.
    """

    def __init__(self, reason: str, message: str, *, retryable: bool, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ProviderUnavailableError(ProviderError):
    """The provider is known but cannot be reached, or has no credentials; nothing was changed there."""

    def __init__(
        self, message: str, *, reason: str = "PROVIDER_UNAVAILABLE", retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, message, retryable=True, retry_after_s=retry_after_s)


class CapacityError(ProviderError):
    """There is no room for the instance now; another pool may have some."""

    def __init__(self, message: str, *, reason: str = "NO_CAPACITY") -> None:
        super().__init__(reason, message, retryable=True)


class InstanceConflictError(ProviderError):
    """Somebody else holds what the instance must have, such as its port: it can run once they are gone, if ever.

    Asking again counts as another attempt, so that a stranger who stays is not waited for without end.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, retryable=True)


class InstanceRejectedError(ProviderError):
    """The instance can never run as described, however often it is tried (engine not installed, say)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, retryable=False)


class Provider(Protocol):
    """A place that runs replicas."""

    @property
    def name(self) -> str:
        """The name callers use in ``provider`` fields."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; constant for the life of the process."""
        ...

    async def start(self) -> None:
        """Prepare, and adopt what an earlier process left running. Called once, before any other method."""
        ...

    async def close(self) -> None:
        """Release what this process holds. Instances go on running."""
        ...

    async def list_resources(self) -> Sequence[Resource]:
        """What can be had here now. Raises `ProviderUnavailableError`."""
        ...

    async def create(self, spec: InstanceSpec) -> Instance:
        """Start the instance, or return the one of this name that exists already, whatever its state.

        Raises `CapacityError`, `InstanceConflictError`, `InstanceRejectedError`, `ProviderUnavailableError`. After any
        other failure, or cancellation, the effect is unknown: ask `describe` before creating again.
        """
        ...

    async def describe(self, name: str) -> Instance | None:
        """The instance, or None when there is none of this name (never created, or deleted)."""
        ...

    async def list_owned(self) -> Sequence[Instance]:
        """Every instance that carries this installation's tag, in any state, oldest first."""
        ...

    async def delete(self, name: str) -> None:
        """End the instance and forget it once it has ended; no error when there is none.

        Returns as soon as the request is made: `describe` says STOPPING until the instance is gone, then None. Its logs
        stay readable until then, and should for a minute more: what it printed last is copied once it is gone.
        """
        ...

    def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        """Lines after the cursor (empty: from the first kept one), in order; with ``follow`` until the instance ends.

        An instance that does not exist, or has printed nothing, gives no lines.
        """
        ...
