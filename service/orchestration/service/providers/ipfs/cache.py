"""Blocks that were fetched once, kept on disk under their names: what a name means never changes."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

import structlog

from orchestration.service.providers.ipfs.cid import Cid

log = structlog.get_logger(__name__)


class BlockCache:
    """A folder of blocks. A disk that fails costs a fetch, never an answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, cid: Cid) -> bytes | None:
        """The block, checked again: a disk may have damaged it. None when it is not there."""
        return await asyncio.to_thread(self._get, cid)

    async def put(self, cid: Cid, block: bytes) -> None:
        """Keep a block that was checked."""
        await asyncio.to_thread(self._put, cid, block)

    async def forget_older(self, before: float) -> None:
        """Remove blocks that were kept before then (Unix seconds), and what was left half written. Raises OSError."""
        await asyncio.to_thread(self._forget_older, before)

    def _forget_older(self, before: float) -> None:
        for path in self._folder.glob("*/*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _path(self, cid: Cid) -> Path:
        name = str(cid)
        return self._folder / name[-2:] / name

    def _get(self, cid: Cid) -> bytes | None:
        path = self._path(cid)
        try:
            block = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("a cached block cannot be read; it is fetched again", cid=str(cid), error=str(error))
            return None
        if cid.matches(block):
            return block
        log.warning("a cached block is damaged; it is fetched again", cid=str(cid))
        return None

    def _put(self, cid: Cid, block: bytes) -> None:
        path = self._path(cid)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with part.open("wb") as file:
                file.write(block)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            log.warning("a block cannot be cached", cid=str(cid), error=str(error))
