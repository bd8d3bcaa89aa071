"""What an operator can set for the Ray provider."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestration.service.providers.setting_numbers import number

_CLUSTER_KEYS = ("address", "token")
_KEYS = (
    *_CLUSTER_KEYS,
    "cpus_per_replica",
    "memory_gb_per_replica",
    "price_per_gpu_hour",
    "region",
    "listen",
    "python",
)
_CREDENTIAL = "credential"
DEFAULT_CLUSTER = "default"
"""What the cluster without a name is called where a name must be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """One cluster, and how it lets the gateway in."""

    name: str
    """What a pool's ``provider_credential_name`` says; empty: the one for pools that say nothing."""
    address: str
    """Of the head's dashboard, such as ``http://10.0.0.5:8265``."""
    token: str = ""
    """Of Ray's token authentication; empty: the cluster asks for none."""

    @property
    def title(self) -> str:
        """The name, or the word for the one without."""
        return self.name or DEFAULT_CLUSTER


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """The settings, checked."""

    clusters: Mapping[str, ClusterSettings]
    """By name; none: the provider is not configured."""
    cpus_per_replica: float = 1.0
    """What a replica reserves of its node's CPUs, as Ray counts them."""
    memory_gb_per_replica: float = 0.0
    """What it reserves of the memory, in GiB; 0: nothing."""
    price_per_gpu_hour: float = 0.0
    """What an hour of one GPU costs, in the currency of the pools' caps."""
    region: str = ""
    """Of nodes that carry no label ``ray.io/region``."""
    listen: str = ""
    """IP address that engines listen on; empty: their node's, towards the head."""
    python: str = "python3"
    """The program that runs the launcher on the nodes."""


def parse(values: Mapping[str, str]) -> RaySettings:
    """Check settings as they come from the configuration. Raises ValueError naming the one that is wrong."""
    plain = {key: value for key, value in values.items() if not key.startswith(f"{_CREDENTIAL}.")}
    unknown = sorted(set(plain) - set(_KEYS))
    if unknown:
        known = ", ".join((*_KEYS, *(f"{_CREDENTIAL}.NAME.{key}" for key in _CLUSTER_KEYS)))
        raise ValueError(f"ray provider: unknown setting {unknown[0]!r}; there are {known}")
    defaults = RaySettings(clusters={})
    python = plain.get("python", defaults.python).strip()
    if not python or any(character in python for character in " \t\n'\"\\$`;&|<>()"):
        raise ValueError(f"ray provider: python is {python!r}, which is not the name or path of a program")
    return RaySettings(
        clusters=_clusters(values, plain),
        cpus_per_replica=number("ray", plain, "cpus_per_replica", defaults.cpus_per_replica, minimum=0.01),
        memory_gb_per_replica=number("ray", plain, "memory_gb_per_replica", defaults.memory_gb_per_replica, minimum=0),
        price_per_gpu_hour=number("ray", plain, "price_per_gpu_hour", defaults.price_per_gpu_hour, minimum=0),
        region=plain.get("region", "").strip(),
        listen=_listen(plain.get("listen", "").strip()),
        python=python,
    )


def _clusters(values: Mapping[str, str], plain: Mapping[str, str]) -> dict[str, ClusterSettings]:
    found: dict[str, dict[str, str]] = {"": {key: plain[key] for key in _CLUSTER_KEYS if plain.get(key)}}
    for key, value in values.items():
        if key in plain:
            continue
        name, _, field = key.removeprefix(f"{_CREDENTIAL}.").rpartition(".")
        if not name or field not in _CLUSTER_KEYS:
            wanted = " or ".join(f"{_CREDENTIAL}.NAME.{item}" for item in _CLUSTER_KEYS)
            raise ValueError(f"ray provider: {key!r} is not {wanted}")
        found.setdefault(name, {})[field] = value
    if DEFAULT_CLUSTER in found:
        raise ValueError(f"ray provider: a credential cannot be called {DEFAULT_CLUSTER!r}; leave the name out for it")
    return {name: _cluster(name, fields) for name, fields in found.items() if fields}


def _cluster(name: str, fields: Mapping[str, str]) -> ClusterSettings:
    key = f"{_CREDENTIAL}.{name}.address" if name else "address"
    address = fields.get("address", "").strip()
    try:
        url = urlsplit(address)
        right = url.scheme in {"http", "https"} and url.hostname and not url.query and not url.fragment
        right = right and url.username is None and (url.port is None or url.port > 0)
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"ray provider: {key} is {address!r}, not the dashboard's URL such as http://10.0.0.5:8265")
    token = fields.get("token", "").strip()
    if not token.isascii() or not token.isprintable():
        raise ValueError(f"ray provider: {key.removesuffix('address')}token holds characters that no token has")
    return ClusterSettings(name=name, address=address.rstrip("/"), token=token)


def _listen(text: str) -> str:
    if text:
        try:
            socket.getaddrinfo(text, None, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            raise ValueError(f"ray provider: listen {text!r} is not an IP address") from None
    return text
