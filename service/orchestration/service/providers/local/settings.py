"""What an operator can set for the local provider."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.service.providers.setting_numbers import number

_KNOWN = ("host", "price_per_hour", "region", "inherit_env", "log_segment_bytes", "log_segments")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """The settings, checked."""

    host: str = "127.0.0.1"
    """Address the engines listen on; ``0.0.0.0`` when other machines are to reach them."""
    price_per_hour: float = 0.0
    """What one hour of an instance costs, in the currency of the pools' caps."""
    region: str = ""
    """Where this machine stands; empty: not told."""
    inherit_env: tuple[str, ...] = ()
    """More variables that engines inherit from the gateway; a name may end in ``*``."""
    log_segment_bytes: int = 16 * 1024 * 1024
    log_segments: int = 4

    @property
    def endpoint_host(self) -> str:
        """The host name to put in URLs: an engine that listens everywhere is reached at this machine's name."""
        if self.host in ("0.0.0.0", "::"):
            return socket.gethostname()
        return f"[{self.host}]" if ":" in self.host else self.host


def parse(values: Mapping[str, str]) -> LocalSettings:
    """Check settings as they come from the configuration. Raises ValueError naming the one that is wrong."""
    unknown = sorted(set(values) - set(_KNOWN))
    if unknown:
        raise ValueError(f"local provider: unknown setting {unknown[0]!r}; there are {', '.join(_KNOWN)}")
    defaults = LocalSettings()
    host = values.get("host", defaults.host)
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        raise ValueError(f"local provider: host {host!r} is not an IP address of this machine") from None
    return LocalSettings(
        host=host,
        price_per_hour=number("local", values, "price_per_hour", defaults.price_per_hour, minimum=0),
        region=values.get("region", defaults.region).strip(),
        inherit_env=tuple(name.strip() for name in values.get("inherit_env", "").split(",") if name.strip()),
        log_segment_bytes=int(number("local", values, "log_segment_bytes", defaults.log_segment_bytes, minimum=1024)),
        log_segments=int(number("local", values, "log_segments", defaults.log_segments, minimum=1)),
    )
