"""Whole files, put together from verified blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.ipfs.cache import BlockCache
from orchestration.service.providers.ipfs.cid import Cid, CidError, parse
from orchestration.service.providers.ipfs.gateways import Gateways, GatewaySpec
from orchestration.service.providers.ipfs.unixfs import BlockError, decode

MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_BLOCKS = 4096


class IpfsFiles:
    """Reads files by their CIDs, over gateways and a cache that is never out of date."""

    def __init__(self, gateways: Sequence[GatewaySpec], cache: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._gateways = Gateways(gateways)
        self._cache = BlockCache(cache)
        self._max_bytes = max_bytes

    async def start(self) -> None:
        """Prepare to ask the gateways."""
        await self._gateways.start()

    async def close(self) -> None:
        """End every connection."""
        await self._gateways.close()

    async def read(self, text: str) -> bytes:
        """The file of a CID, every block of it checked.

        Raises `ProviderUnavailableError` when a block cannot be had now, and `ProviderError` IPFS_NO_FILE, not
        retryable, when the CID names no file that can be read here, or one over the limit.
        """
        try:
            return await self._read(parse(text))
        except (CidError, BlockError) as error:
            raise ProviderError("IPFS_NO_FILE", str(error), retryable=False) from None

    async def forget_older(self, before: float) -> None:
        """Remove blocks that were kept before then (Unix seconds): whoever needs one fetches it again."""
        await self._cache.forget_older(before)

    async def _read(self, root: Cid) -> bytes:
        file = bytearray()
        waiting = [root]
        for _ in range(_MAX_BLOCKS):
            if not waiting:
                return bytes(file)
            cid = waiting.pop()
            part = decode(cid, await self._block(cid))
            if len(file) + max(part.size or 0, len(part.data)) > self._max_bytes:
                raise BlockError(f"the file {root} has more than {self._max_bytes} bytes")
            file += part.data
            if len(waiting) + len(part.links) > _MAX_BLOCKS:
                break
            waiting.extend(reversed(part.links))
        raise BlockError(f"the file {root} has more than {_MAX_BLOCKS} blocks")

    async def _block(self, cid: Cid) -> bytes:
        if cid.inline is not None:
            return cid.inline
        known = await self._cache.get(cid)
        if known is not None:
            return known
        block = await self._gateways.block(cid)
        await self._cache.put(cid, block)
        return block
