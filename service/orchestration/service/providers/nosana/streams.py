"""Deployments as Nosana tells of them while they change, by server-sent events, so that each look is no request.

Not every server has them (``GET /api/deployments/{id}/stream``). Where they are not to be had, or break off, nothing is
known here, and whoever looks asks.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import structlog

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.http_client import HttpStatusError
from orchestration.service.providers.nosana.api import NosanaApi
from orchestration.service.providers.nosana.models import (
    NosanaDeployment,
    NosanaJob,
    mapping,
    text,
    to_deployment,
    to_job,
)
from orchestration.service.providers.nosana.states import Seen

log = structlog.get_logger(__name__)

_SILENCE_S = 60.0
"""The server sends a comment every 25 s: a longer silence is a connection that is gone."""
_AGAIN_S = 15.0
"""Pause before a stream that broke off is opened again; until then is asked."""
_NOT_SERVED_S = 900.0
"""How long a server that has no streams is not asked for one."""
_UNREAD_S = 120.0
"""A stream that nobody looks at for so long is ended."""
_CHECK_S = 60.0
"""How long a stream is believed before it is held against a request: it might have missed something."""
_CLOSED = -1
_LONGEST_LINE = 1024 * 1024


class _Stream:
    """What one stream has told."""

    def __init__(self) -> None:
        self.deployment: NosanaDeployment | None = None
        self.jobs: dict[str, NosanaJob] = {}
        self.read_at = time.monotonic()
        self.told = _CLOSED
        """How many messages came."""
        self.checked_at = -math.inf
        """Never: what it tells is only what changes, and the jobs that are not over."""
        self.task: asyncio.Task[None] | None = None

    def take(self, message: Mapping[str, Any]) -> None:
        """Note one message: of a deployment or of a job, which stands in one of several keys, whole or in part.

        Nosana's own tell ``type``, ``status``, ``replicas`` and ``active_revision`` of a deployment, and ``job``,
        ``state``, ``node``, ``timeStart`` and ``timeEnd`` of a job.
        """
        kind = text(message.get("type")) or ("job" if text(message.get("job")) else "")
        told = mapping(message.get("data")) or mapping(message.get(kind)) or message
        if kind == "deployment":
            found = to_deployment(told)
            if found.id and found.name and found.status:
                self.deployment = found
            elif self.deployment is not None and found.status:
                self.deployment = replace(self.deployment, status=found.status)
        elif kind == "job" and "state" in told and (job := to_job(told)).address:
            known = self.jobs.get(job.address, job)
            self.jobs[job.address] = replace(
                job,
                node=job.node or known.node,
                started_at=job.started_at or known.started_at,
                created_at=job.created_at or known.created_at or time.time(),
            )

    def seen(self) -> Seen | None:
        """The deployment and its jobs, once told."""
        if self.deployment is None:
            return None
        jobs = sorted(self.jobs.values(), key=lambda job: (job.created_at, job.address))
        return Seen(deployment=self.deployment, jobs=jobs)


class Streams:
    """One stream for each deployment that is looked at again and again."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._not_before = 0.0

    @property
    def followed(self) -> tuple[str, ...]:
        """Ids of the deployments that are being told of."""
        return tuple(self._streams)

    def seen(self, nosana_id: str) -> Seen | None:
        """What the deployment's stream told last; None when none is being told, or not yet all of it is known."""
        stream = self._streams.get(nosana_id)
        if stream is None:
            return None
        stream.read_at = time.monotonic()
        return stream.seen() if time.monotonic() - stream.checked_at < _CHECK_S else None

    def mark(self, nosana_id: str) -> int:
        """Where the deployment's stream is, which is to be noted before a request is made."""
        stream = self._streams.get(nosana_id)
        return _CLOSED if stream is None else stream.told

    def checked(self, seen: Seen, mark: int) -> None:
        """A request told this: the stream goes on from it, if it was open, and told nothing since the mark."""
        stream = self._streams.get(seen.deployment.id)
        if stream is not None and stream.told == mark != _CLOSED:
            stream.deployment, stream.jobs = seen.deployment, {job.address: job for job in seen.jobs}
            stream.checked_at = time.monotonic()

    def follow(self, api: NosanaApi, nosana_id: str) -> None:
        """Have the deployment told of, if the server does that."""
        if nosana_id not in self._streams and time.monotonic() >= self._not_before:
            stream = self._streams[nosana_id] = _Stream()
            stream.task = asyncio.create_task(self._run(api, nosana_id, stream), name=f"nosana-{nosana_id}")

    def end(self, nosana_id: str) -> None:
        """Nobody needs to hear of it any more; what was told of it is forgotten."""
        stream = self._streams.pop(nosana_id, None)
        if stream is not None and stream.task is not None:
            stream.task.cancel()

    async def close(self) -> None:
        """End all of them."""
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
        for nosana_id in list(self._streams):
            self.end(nosana_id)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, api: NosanaApi, nosana_id: str, stream: _Stream) -> None:
        try:
            await self._read(api, nosana_id, stream)
        except (ProviderError, ValueError) as error:  # a line that is too long is a ValueError of the reader
            missing = isinstance(error, HttpStatusError) and error.status in {404, 405, 501}
            self._not_before = time.monotonic() + (_NOT_SERVED_S if missing else _AGAIN_S)
            log.info("no stream of a deployment; it is asked for instead", nosana_id=nosana_id, error=str(error))
        finally:
            if self._streams.get(nosana_id) is stream:
                del self._streams[nosana_id]

    async def _read(self, api: NosanaApi, nosana_id: str, stream: _Stream) -> None:
        path = f"/api/deployments/{nosana_id}/stream"
        headers = {"Accept": "text/event-stream"}
        async with api.http.stream("GET", path, headers=headers, read_s=_SILENCE_S) as response:
            stream.told = 0
            async for message in _messages(response):
                stream.told += bool(message)
                stream.take(message)
                if time.monotonic() - stream.read_at > _UNREAD_S:
                    return


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[Mapping[str, Any]]:
    """The events of a stream whose data is a JSON object; a comment is an empty one."""
    data: list[str] = []
    async for raw in response.content:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if sum(map(len, data)) > _LONGEST_LINE:
            raise ProviderError("BAD_ANSWER", "an event of a stream is too long", retryable=True)
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield _parsed("\n".join(data))
            data.clear()
        elif line.startswith(":"):
            yield {}


def _parsed(data: str) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(data))
    except (ValueError, RecursionError):
        return {}
