"""Listen addresses as people write them: ``host:port``, ``[::1]:0``, ``:8080``."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

_EXPECTED = 'expected "host:port", "[ipv6]:port" or ":port", such as "127.0.0.1:8080"'
_MAX_PORT = 65535


class Address(NamedTuple):
    """A host and a TCP port; port 0 lets the system choose a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it, as far as the host tells by itself."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Split ``host:port``. An empty host means every address of this machine (``0.0.0.0``).

    Raises ValueError saying what was wrong and what would be right.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        raise ValueError(f"has no port: {_EXPECTED}")
    if not (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        raise ValueError(f'"{port}" is not a port (0 to {_MAX_PORT}): {_EXPECTED}')
    return Address(_host(host), int(port))


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return str(IPv6Address(text[1:-1]))
    if ":" in text:
        raise ValueError(f"an IPv6 address stands in brackets: {_EXPECTED}")
    if any(character.isspace() or character in "[]/@" for character in text):
        raise ValueError(f'"{text}" is not a host: {_EXPECTED}')
    return text or "0.0.0.0"
