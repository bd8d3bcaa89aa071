"""Gateways, asked one after the other until one gives the block that was meant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.http_client import HttpClient, HttpLimits
from orchestration.service.providers.ipfs.cid import Cid

log = structlog.get_logger(__name__)

MAX_BLOCK_BYTES = 2 * 1024 * 1024
"""More than this no block has: the limit of the network's own exchange of blocks."""
_RAW = "application/vnd.ipld.raw"
_DISTRUST_S = 300.0
"""How long a gateway is left alone that gave something else than was asked for."""
_REDIRECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """One gateway, and how it is to be treated."""

    url: str
    timeout_s: float = 10.0
    """For one block."""
    at_once: int = 4
    """Requests under way at the same time."""


def parse_gateways(text: str) -> tuple[GatewaySpec, ...]:
    """Gateways in their order: ``https://host;timeout_s=5;at_once=2, https://other``.

    Raises ValueError naming the part that is wrong and what would be right.
    """
    return tuple(_parse_gateway(part.strip()) for part in text.split(",") if part.strip())


def _parse_gateway(text: str) -> GatewaySpec:
    url, *options = (part.strip() for part in text.split(";"))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no gateway: expected https://host without a query")
    timeout_s, at_once = GatewaySpec(url=url).timeout_s, GatewaySpec(url=url).at_once
    for option in options:
        key, _, value = option.partition("=")
        try:
            if key == "timeout_s" and 0 < float(value) <= 600:
                timeout_s = float(value)
                continue
            if key == "at_once" and 1 <= int(value) <= 100:
                at_once = int(value)
                continue
        except ValueError:
            pass  # told below, as what is out of range
        raise ValueError(f"{option!r} of gateway {url} is wrong: timeout_s=0.1 to 600 and at_once=1 to 100 are known")
    return GatewaySpec(url=url.rstrip("/"), timeout_s=timeout_s, at_once=at_once)


class _Gateway:
    def __init__(self, spec: GatewaySpec) -> None:
        limits = HttpLimits(
            total_s=spec.timeout_s,
            connect_s=spec.timeout_s,
            attempts=1,
            max_body_bytes=MAX_BLOCK_BYTES,
            circuit_failures=3,
            circuit_open_s=60.0,
        )
        self.client = HttpClient(f"IPFS gateway {spec.url}", spec.url, limits=limits, redirects=_REDIRECTS)
        self._turns = asyncio.Semaphore(spec.at_once)

    async def block(self, cid: Cid) -> bytes:
        """The block. Raises `ProviderError` when the gateway does not give it, or gives another."""
        async with self._turns:
            answer = await self.client.call("GET", f"/ipfs/{cid}", params={"format": "raw"}, headers={"Accept": _RAW})
        if not cid.matches(answer.body):
            text = f"gave {len(answer.body)} bytes that are not block {cid}"
            self.client.leave_alone(_DISTRUST_S, text)
            raise ProviderError("IPFS_WRONG_BLOCK", text, retryable=True)
        return answer.body


class Gateways:
    """All gateways of this installation."""

    def __init__(self, specs: Sequence[GatewaySpec]) -> None:
        self._gateways = [(spec.url, _Gateway(spec)) for spec in specs]

    async def start(self) -> None:
        """Make the connections' sessions."""
        for _, gateway in self._gateways:
            await gateway.client.start()

    async def close(self) -> None:
        """End every connection."""
        for _, gateway in self._gateways:
            await gateway.client.close()

    async def block(self, cid: Cid) -> bytes:
        """The block, checked. Raises `ProviderUnavailableError` IPFS_UNAVAILABLE with what each gateway did."""
        failures: list[str] = []
        for url, gateway in self._gateways:
            try:
                return await gateway.block(cid)
            except ProviderError as error:
                failures.append(error.message if url in error.message else f"{url} {error.message}")
                log.info("an IPFS gateway did not give a block", gateway=url, cid=str(cid), error=error.message)
        why = "; ".join(failures) or "no gateway is configured"
        raise ProviderUnavailableError(f"block {cid} cannot be had: {why}", reason="IPFS_UNAVAILABLE")
