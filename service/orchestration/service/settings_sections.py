"""Every knob of the gateway: its default, its meaning and its limits.

A section of the configuration is a class; `orchestration.service.settings.Settings` joins them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from orchestration.service.address import parse_address
from orchestration.service.keys import check_keys
from orchestration.service.settings_values import DefaultText, Sensitive, mask_url_password, mask_values, split_commas

Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Strings = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]


def _checked_address(text: str) -> str:
    return str(parse_address(text))


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "orchestration"


ListenAddress = Annotated[str, AfterValidator(_checked_address)]
Folder = Annotated[Path, AfterValidator(_absolute)]

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def _database_url(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found or scheme not in _DRIVERS:
        raise ValueError(
            f'"{scheme}" is no database that is supported: expected sqlite+aiosqlite:////absolute/path.db '
            "or postgresql+asyncpg://user:password@host/database"
        )
    return f"{_DRIVERS[scheme]}://{rest}"


class _Section(BaseSettings):
    """Part of the configuration; ``not_below`` names fields that may not be less than another one."""

    not_below: ClassVar[Mapping[str, str]] = {}

    @field_validator("*", mode="after")
    @classmethod
    def _check_order(cls, value: object, info: ValidationInfo) -> object:
        other = cls.not_below.get(info.field_name or "")
        least = info.data.get(other) if other else None
        if isinstance(value, int | float) and isinstance(least, int | float) and value < least:
            raise ValueError(f"must not be less than {other}, which is {least}")
        return value


class ListenSettings(_Section):
    """Listening and calls."""

    grpc_listen: ListenAddress = Field(
        default="127.0.0.1:50051", description="Where gRPC is served; port 0 takes a free one."
    )
    http_listen: ListenAddress = Field(
        default="127.0.0.1:8080", description="Where REST is served; port 0 takes a free one."
    )
    gateway_upstream: Literal["inprocess", "channel"] = Field(
        default="inprocess", description="How REST reaches the services: in the same process, or over a gRPC channel."
    )
    shutdown_grace_s: Seconds = Field(
        default=10.0, description="How long calls may go on after the gateway was told to stop."
    )
    max_message_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=1024**3, description="Largest request, over gRPC and over REST."
    )
    max_concurrent_rpcs: Count = Field(
        default=1000, description="Unary calls served at the same time; more are RESOURCE_EXHAUSTED."
    )
    default_deadline_s: Seconds = Field(default=30.0, description="Deadline of a unary call whose caller sets none.")
    max_deadline_s: Seconds = Field(
        default=300.0, description="Longest deadline of a unary call; a longer one is cut to it."
    )
    trusted_proxies: Strings = Field(
        default=(), description="Networks of proxies whose X-Forwarded-* headers are believed, such as 10.0.0.0/8."
    )
    cors_origins: Strings = Field(
        default=(), description='Origins that browsers may call from, such as https://console.example.org; "*" is any.'
    )

    not_below: ClassVar[Mapping[str, str]] = {"max_deadline_s": "default_deadline_s"}

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(network)) for network in networks)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, host = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not host or "/" in host):
                raise ValueError(f'"{origin}" is not an origin: expected "*" or scheme://host[:port] without a path')
        return origins


class AccessSettings(_Section):
    """Access."""

    api_keys: Annotated[dict[str, str], AfterValidator(check_keys), Sensitive(mask_values)] = Field(
        default_factory=dict[str, str],
        description="Keys of callers by name, each a role and the SHA-256 of the key, as `orchestration key` prints "
        "them: a table [api_keys] in the file, ORCHESTRATION_API_KEYS__NAME in the environment. Without any, whoever "
        "reaches a port may do everything. Values are never shown.",
    )


class StorageSettings(_Section):
    """Storage."""

    data_dir: Annotated[Folder, DefaultText("$XDG_DATA_HOME/orchestration, or ~/.local/share/orchestration")] = Field(
        default_factory=_default_data_dir,
        description="Folder of the embedded database and of what providers keep; made when absent.",
    )
    database_url: Annotated[
        str,
        AfterValidator(_database_url),
        Sensitive(mask_url_password),
        DefaultText("sqlite+aiosqlite:///<data_dir>/orchestration.db"),
    ] = Field(
        default_factory=lambda data: f"sqlite+aiosqlite:///{data['data_dir']}/orchestration.db",
        description="SQLite for the gateways of one machine, PostgreSQL for those of several. "
        "A password in it is never shown.",
    )
    events_retention_s: Seconds = Field(
        default=30 * 86_400.0,
        description="How long events are kept, also those of what is gone by then.",
    )
    events_max_per_subject: Count = Field(
        default=10_000,
        description="Events kept of each deployment, node, pool and model; the oldest go first.",
    )


class LogSettings(_Section):
    """Logs of the gateway and of replicas."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ] = Field(default="info", description="Least level of the gateway's own log.")
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="console is for people, json one object a line; auto is console on a terminal."
    )
    replica_log_max_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=65_536,
        le=1024**4,
        description="Log bytes kept of each deployment; the oldest lines go first.",
    )
    replica_log_retention_s: Seconds = Field(default=7 * 86_400.0, description="How long log lines are kept.")
    log_purge_grace_s: Seconds = Field(
        default=3600.0,
        description="How long the log files of a purged deployment stay on disk, for whoever looks into what happened.",
    )


class ControlSettings(_Section):
    """Keeping deployments true."""

    lease_ttl_s: Seconds = Field(
        default=10.0,
        description="How long a gateway's claim on a piece of work holds when it is not renewed: another takes it over "
        "within this time. The same for all gateways on one database.",
    )
    reconcile_interval_s: Seconds = Field(
        default=30.0, description="Pause between full passes over everything; changes are acted on at once."
    )
    probe_interval_s: Seconds = Field(default=5.0, description="Pause between two health probes of a ready replica.")
    probe_timeout_s: Seconds = Field(default=3.0, description="How long a replica may take to answer a probe.")
    probe_failures: Count = Field(
        default=3, description="Failed probes in a row that make a replica unhealthy; twice as many replace it."
    )
    backoff_initial_s: Seconds = Field(
        default=1.0, description="Pause before the first new attempt; doubles each time."
    )
    backoff_max_s: Seconds = Field(default=300.0, description="Longest pause between attempts.")
    backoff_reset_s: Seconds = Field(
        default=600.0, description="How long a replica must be ready to forget its failures."
    )
    restart_max_attempts: Count = Field(
        default=5,
        description="Attempts in a row after which a replica is given up, unless its restart policy says otherwise.",
    )
    progress_deadline_s: Seconds = Field(
        default=600.0,
        description="How long a replica of an update may wait for a place before the update is rolled back.",
    )

    not_below: ClassVar[Mapping[str, str]] = {"backoff_max_s": "backoff_initial_s"}


class NodeSettings(_Section):
    """Nodes and their heartbeats."""

    heartbeat_interval_s: Seconds = Field(
        default=10.0, description="Pause between heartbeats that agents are told to keep."
    )
    node_suspect_intervals: float = Field(
        default=1.5,
        ge=1,
        le=1000,
        description="Silent heartbeat intervals until a node is suspect: nothing new goes there.",
    )
    node_lost_intervals: float = Field(
        default=3.0,
        ge=1,
        le=1000,
        description="Silent heartbeat intervals until a node is lost: its replicas are replaced.",
    )
    brake_fraction: float = Field(
        default=0.55,
        gt=0,
        le=1,
        description="Part of a pool's nodes that, silent together, is taken for our own outage.",
    )
    brake_minimum: Count = Field(default=3, description="Fewest silent nodes for which the brake holds evictions back.")

    not_below: ClassVar[Mapping[str, str]] = {"node_lost_intervals": "node_suspect_intervals"}


class ProviderSettings(_Section):
    """Providers."""

    local_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address that engines of the local provider listen on."
    )
    local_price_per_hour: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Price of this machine, held against the price caps of pools.",
    )
    local_region: str = Field(
        default="", max_length=100, description="Where this machine stands, in the words of pools' region_constraint."
    )
    offers_interval_s: Seconds = Field(
        default=30.0, description="Pause between two questions to a provider for what it offers."
    )
    offers_max_age_s: Seconds = Field(
        default=600.0,
        description="How old a provider's last answer may be; nothing is placed on an older one.",
    )
    nodes_interval_s: Seconds = Field(
        default=15.0, description="Pause between two questions to a provider for the nodes of its clusters."
    )
    providers: Annotated[dict[str, dict[str, str]], Sensitive(mask_values)] = Field(
        default_factory=dict[str, dict[str, str]],
        description="What each provider needs, credentials included: a table [providers.NAME] in the file, "
        "ORCHESTRATION_PROVIDERS__NAME__KEY in the environment. Values are never shown.",
    )

    not_below: ClassVar[Mapping[str, str]] = {"offers_max_age_s": "offers_interval_s"}


SECTIONS: tuple[type[BaseSettings], ...] = (
    ListenSettings,
    AccessSettings,
    StorageSettings,
    LogSettings,
    ControlSettings,
    NodeSettings,
    ProviderSettings,
)
