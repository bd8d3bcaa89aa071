"""Results of jobs that ended: from Nosana's manager, from the chain, or from IPFS; kept on disk once they are there."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.ipfs.files import IpfsFiles
from orchestration.service.providers.nosana.api import NosanaApi
from orchestration.service.providers.nosana.flows import Flow, parse_result, to_flow
from orchestration.service.providers.nosana.models import NO_RESULT, NosanaJob, mapping, text
from orchestration.service.providers.nosana.records import remove_older, write_json

log = structlog.get_logger(__name__)

_IN_MEMORY = 64
_LARGEST_REMEMBERED = 256 * 1024
"""Characters of a log that is kept in memory; a larger one is read from disk each time."""
_FIRST_RETRY_S = 0.2
_LONGEST_RETRY_S = 60.0
"""How often a result that is not there is looked for: it comes within seconds, or after long, or never."""
_UNREADABLE = frozenset({"BAD_ANSWER", "ANSWER_TOO_LARGE"})
_PATIENCE_S = 2.0
"""Less than a look at an instance may take."""


@dataclass(frozen=True, slots=True)
class _Known:
    flow: Flow
    complete: bool
    """Its lines are with it."""


class Results:
    """What came of jobs."""

    def __init__(self, root: Path, ipfs: IpfsFiles) -> None:
        self._root = root / "results"
        self._ipfs = ipfs
        self._flows: OrderedDict[str, _Known] = OrderedDict()
        self._missing: dict[str, tuple[float, float]] = {}
        """By job, when to look again, and the pause after that."""
        self._looking: dict[str, asyncio.Task[Flow | None]] = {}

    async def get(self, api: NosanaApi, name: str, nosana_id: str, job: NosanaJob, *, with_lines: bool) -> Flow | None:
        """The result of a job that ended; None when it is not there, or not yet. Raises `ProviderUnavailableError`.

        Gateways may be slow: whoever asks waits a moment, and the work goes on for whoever asks next. Without
        ``with_lines`` it may come without them, which spares reading it again.
        """
        known = self._flows.get(job.address)
        if known is not None and (known.complete or not with_lines):
            self._flows.move_to_end(job.address)
            return known.flow
        task = self._looking.get(job.address)
        if task is None:
            if time.monotonic() < self._missing.get(job.address, (0.0, 0.0))[0]:
                return None
            task = self._looking[job.address] = asyncio.create_task(self._look(api, name, nosana_id, job))
            task.add_done_callback(lambda done: self._looked(job.address, done))
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE_S)
        return task.result() if done else None

    def _looked(self, job: str, task: asyncio.Task[Flow | None]) -> None:
        del self._looking[job]
        if not task.cancelled() and task.exception() is not None:
            log.debug("a result cannot be looked for", job=job, error=str(task.exception()))

    async def close(self) -> None:
        """End what is under way; it is begun again by who asks."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, api: NosanaApi, name: str, nosana_id: str, job: NosanaJob) -> Flow | None:
        path = self._path(name, nosana_id, job.address)
        told = await asyncio.to_thread(_read, path)
        if told is None:
            told = await self._fetch(api, nosana_id, job.address)
            if told is None:
                pause = self._missing.get(job.address, (0.0, _FIRST_RETRY_S))[1]
                self._missing[job.address] = (time.monotonic() + pause, min(2 * pause, _LONGEST_RETRY_S))
                return None
            try:
                await asyncio.to_thread(write_json, path, {"created_at": job.created_at, "result": told})
            except (OSError, RecursionError) as error:  # it can be nested deeper than it can be written
                log.warning("the result of a job cannot be kept on disk", job=job.address, error=str(error))
        self._missing.pop(job.address, None)
        return self._remember(job.address, await asyncio.to_thread(to_flow, told))

    def _remember(self, job: str, flow: Flow) -> Flow:
        small = sum(len(entry.message) for entry in flow.entries) <= _LARGEST_REMEMBERED
        self._flows[job] = _Known(flow if small else replace(flow, entries=()), complete=small)
        if len(self._flows) > _IN_MEMORY:
            self._flows.popitem(last=False)
        return flow

    async def _fetch(self, api: NosanaApi, nosana_id: str, job: str) -> Mapping[str, Any] | None:
        found = await asyncio.to_thread(parse_result, (await _readable(api.job(nosana_id, job), job)).get("jobResult"))
        if found is not None:
            return found
        on_chain = await _readable(api.chain_job(job), job)
        found = await asyncio.to_thread(parse_result, on_chain.get("jobResult"))
        cid = text(on_chain.get("ipfsResult"))
        if found is not None or cid in ("", NO_RESULT):
            return found
        try:
            file = await self._ipfs.read(cid)
            return await asyncio.to_thread(lambda: parse_result(file.decode("utf-8", "replace")))
        except ProviderError as error:
            log.warning("the result of a job cannot be read from IPFS", job=job, cid=cid, error=error.message)
            return None

    async def kept(self, name: str) -> list[tuple[str, Flow]]:
        """Jobs and results of the latest deployment of a name that is gone, oldest first."""
        return await asyncio.to_thread(self._kept, name)

    def _kept(self, name: str) -> list[tuple[str, Flow]]:
        folder = self._root / name
        if not folder.exists():
            return []
        latest = max(folder.iterdir(), key=lambda entry: entry.stat().st_mtime, default=None)
        found: list[tuple[float, str, Flow]] = []
        for path in latest.glob("*.json") if latest is not None else ():
            told = _read_all(path)
            result = parse_result(told.get("result")) if told else None
            if told and result is not None:
                found.append((float(told.get("created_at", 0.0)), path.stem, to_flow(result)))
        return [(job, flow) for _, job, flow in sorted(found, key=lambda item: item[:2])]

    async def forget_older(self, before: float) -> None:
        """Remove results of names whose last one came before then (Unix seconds)."""
        await asyncio.to_thread(remove_older, self._root, before)

    def _path(self, name: str, nosana_id: str, job: str) -> Path:
        return self._root / name / nosana_id / f"{job}.json"


async def _readable(asked: Awaitable[Mapping[str, Any]], job: str) -> Mapping[str, Any]:
    """What was asked for; nothing where a host's result within makes it unreadable."""
    try:
        return await asked
    except ProviderError as error:
        if error.reason not in _UNREADABLE:
            raise
        log.warning("the result of a job cannot be read", job=job, error=error.message)
        return {}


def _read(path: Path) -> Mapping[str, Any] | None:
    told = _read_all(path)
    return parse_result(told.get("result")) if told else None


def _read_all(path: Path) -> Mapping[str, Any] | None:
    try:
        told: Any = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("a result on disk cannot be read", path=str(path), error=str(error))
        return None
    return mapping(told) or None
