"""What an operator can set for the Nosana provider: the section ``[providers.nosana]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from orchestration.service.providers.ipfs.gateways import GatewaySpec, parse_gateways

_T = TypeVar("_T")

STRATEGIES = ("SIMPLE-EXTEND", "INFINITE", "SIMPLE")
_CREDENTIAL = re.compile(r"credential\.(?P<name>[^.]+)\.(?P<key>[^.]+)")
_GATEWAYS = "https://nosana.mypinata.cloud, https://trustless-gateway.link, https://ipfs.io"
_INFINITE_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NosanaSettings:
    """The settings, checked."""

    keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """API keys by credential name; the one without a name is the default."""
    base_url: str = "https://dashboard.k8s.prd.nos.ci"
    node_url: str = "https://{node}.node.k8s.prd.nos.ci"
    """Where a host is reached; ``{node}`` is its address."""
    strategy: str = "SIMPLE-EXTEND"
    """What Nosana does when a job's time-out nears; one of `STRATEGIES`."""
    timeout_minutes: int = 120
    """Length of a job, and of each extension of it; from 1, with INFINITE from 60."""
    confidential: bool = True
    """Keep job definitions, which hold the environment, and results off the public IPFS."""
    model_resources: bool = True
    """Have hosts fetch models, which they keep for others, rather than engines."""
    assumed_available: int = 10
    """Machines that a market is taken to have when it does not tell."""
    poll_s: float = 5.0
    """Pause between two looks at what is under way; 0.01 to 300."""
    result_wait_s: float = 120.0
    """How long the result of a job that ended is waited for; 0 to 3600."""
    results_kept_hours: float = 24.0
    """How long results stay in the data folder after their deployment was deleted; up to a year."""
    ipfs_gateways: tuple[GatewaySpec, ...] = parse_gateways(_GATEWAYS)


def parse(values: Mapping[str, str]) -> NosanaSettings:
    """Check settings as they come from the configuration. Raises ValueError naming the one that is wrong."""
    defaults = NosanaSettings()
    keys = _keys(values)
    strategy = values.get("strategy", defaults.strategy).strip().upper()
    if strategy not in STRATEGIES:
        raise ValueError(f"nosana provider: strategy is {strategy!r}; there are {', '.join(STRATEGIES)}")
    minutes = int(_number(values, "timeout_minutes", defaults.timeout_minutes, 1, 7 * 24 * 60))
    if strategy == "INFINITE" and minutes < _INFINITE_MINUTES:
        raise ValueError(f"nosana provider: timeout_minutes is {minutes}; INFINITE needs at least {_INFINITE_MINUTES}")
    return NosanaSettings(
        keys=keys,
        base_url=_url(values, "base_url", defaults.base_url),
        node_url=_url(values, "node_url", defaults.node_url),
        strategy=strategy,
        timeout_minutes=minutes,
        confidential=_flag(values, "confidential", default=defaults.confidential),
        model_resources=_flag(values, "model_resources", default=defaults.model_resources),
        assumed_available=int(_number(values, "assumed_available", defaults.assumed_available, 0, 100_000)),
        poll_s=_number(values, "poll_s", defaults.poll_s, 0.01, 300),
        result_wait_s=_number(values, "result_wait_s", defaults.result_wait_s, 0, 3600),
        results_kept_hours=_number(values, "results_kept_hours", defaults.results_kept_hours, 0, 8760),
        ipfs_gateways=_checked("ipfs_gateways", values.get("ipfs_gateways", _GATEWAYS), parse_gateways),
    )


_KNOWN = (
    *("api_key", "base_url", "node_url", "strategy", "timeout_minutes", "confidential", "model_resources"),
    *("assumed_available", "poll_s", "result_wait_s", "results_kept_hours", "ipfs_gateways"),
)


def _keys(values: Mapping[str, str]) -> dict[str, str]:
    """API keys by credential name; every other key must be known."""
    keys: dict[str, str] = {}
    for name, value in values.items():
        if name in _KNOWN and name != "api_key":
            continue
        found = _CREDENTIAL.fullmatch(name)
        if name != "api_key" and (found is None or found["key"] != "api_key"):
            known = ", ".join((*_KNOWN, "credential.<NAME>.api_key"))
            raise ValueError(f"nosana provider: unknown setting {name!r}; there are {known}")
        if not value.strip():
            raise ValueError(f"nosana provider: {name} is empty; leave it out, or give an API key (nos_...)")
        keys[found["name"] if found else ""] = value.strip()
    return keys


def _checked(name: str, text: str, check: Callable[[str], _T]) -> _T:
    try:
        return check(text)
    except ValueError as error:
        raise ValueError(f"nosana provider: {name}: {error}") from None


def _url(values: Mapping[str, str], name: str, default: str) -> str:
    text = values.get(name, default).strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"nosana provider: {name} is {text!r}; expected http://host or https://host")
    return text


def _flag(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = values.get(name, str(default)).strip().lower()
    if text not in ("true", "false"):
        raise ValueError(f"nosana provider: {name} is {text!r}; expected true or false")
    return text == "true"


def _number(values: Mapping[str, str], name: str, default: float, minimum: float, maximum: float) -> float:
    text = values.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"nosana provider: {name} is {text!r}, which is not a number") from None
    if not minimum <= value <= maximum:
        raise ValueError(f"nosana provider: {name} is {text}; expected {minimum:g} to {maximum:g}")
    return value
