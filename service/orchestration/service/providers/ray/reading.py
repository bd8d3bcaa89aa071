"""Reading a job's log: pages and tails count the same lines, so that either goes on where the other ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestration.service.providers.base import LogRecord
from orchestration.service.providers.ray.answers import TOKEN, Job
from orchestration.service.providers.ray.cluster import Cluster
from orchestration.service.providers.ray.joblog import JobLog

_AGAIN_S = 1.0
"""Pause before a log whose connection broke is followed again."""


async def page(cluster: Cluster, job: Job, after: str) -> AsyncGenerator[LogRecord]:
    """What the job has printed so far, after the cursor. Raises `ProviderError`."""
    reader = _reader(job, after)
    if await cluster.dead_node(job.node_id) is not None:
        return  # the log went with it, which the instance's state says
    async with aclosing(cluster.api.log(job.name)) as pieces:
        async for piece in pieces:
            for record in reader.feed(piece):
                yield record
    if not job.live:
        for record in reader.finish():
            yield record


async def follow(cluster: Cluster, job: Job, after: str) -> AsyncGenerator[LogRecord]:
    """The same, and what it prints until it ends."""
    current: Job | None = job
    while current is not None and current.live and current.told(TOKEN) == job.told(TOKEN):
        reader = _reader(job, after)
        async with aclosing(cluster.api.tail(job.name)) as pieces:
            async for piece in pieces:
                for record in reader.feed(piece):
                    after = record.cursor
                    yield record
        current = await cluster.api.job(job.name)
        if current is not None and current.live:
            await asyncio.sleep(_AGAIN_S)
    if current is not None:  # whatever the tail left out
        async with aclosing(page(cluster, current, after)) as rest:
            async for record in rest:
                yield record


def _reader(job: Job, after: str) -> JobLog:
    return JobLog(job.told(TOKEN), (job.start_time or 0) / 1000, after)
