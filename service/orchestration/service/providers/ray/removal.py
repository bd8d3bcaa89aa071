"""Ending jobs: asked to stop, waited for, and forgotten by Ray only once their last lines could be read."""

from __future__ import annotations

import asyncio

import structlog

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.ray.answers import Job, JobStatus
from orchestration.service.providers.ray.cluster import Cluster
from orchestration.service.providers.ray.clusters import Clusters

log = structlog.get_logger(__name__)

LOGS_KEPT_S = 60.0
"""How long an ended job is left with Ray, which tells nobody's log without it."""
_WITHDRAWN_AFTER_S = 10.0
"""A job that waits for resources cannot be stopped before it starts: it counts as gone when it has not by then."""
_GIVEN_UP_AFTER_S = 1800.0
"""Longer than Ray lets a job wait (15 min); what is still there then is found by the next look at what is ours."""
_FIRST_POLL_S = 0.1
_SLOWEST_POLL_S = 5.0


class Removals:
    """The jobs that are being ended by this process; another one that is asked to end them begins anew."""

    def __init__(self, clusters: Clusters, *, logs_kept_s: float = LOGS_KEPT_S) -> None:
        self._clusters = clusters
        self._logs_kept_s = logs_kept_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._gone: set[str] = set()

    def asked(self, name: str) -> bool:
        """Whether the job was asked to end."""
        return name in self._tasks

    def is_gone(self, job: Job) -> bool:
        """Whether there is no instance any more, although Ray still has the job."""
        return job.name in self._gone or (job.name in self._tasks and not job.live)

    async def remove(self, cluster: Cluster, job: Job) -> None:
        """Ask the job to end, and have the rest done in the background."""
        if job.live:
            await cluster.api.stop(job.name)
        if job.name not in self._tasks:
            task = asyncio.create_task(self._remove(cluster, job.name), name=f"remove-{job.name}")
            self._tasks[job.name] = task
            task.add_done_callback(lambda _: self._done(job.name, task))

    async def make_way(self, cluster: Cluster, name: str) -> None:
        """Have a job that is gone forgotten at once: its name is wanted again."""
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await cluster.api.delete(name)
        self._clusters.forget(name)

    async def close(self) -> None:
        """Stop waiting; jobs go on ending."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
            self._gone.discard(name)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job could not be removed", job=name, exc_info=error)

    async def _remove(self, cluster: Cluster, name: str) -> None:
        if not await self._ended(cluster, name):
            log.warning("a job does not end; it is left to the next look", job=name, after_s=_GIVEN_UP_AFTER_S)
            return
        self._gone.add(name)
        await asyncio.sleep(self._logs_kept_s)
        try:
            await cluster.api.delete(name)
        except ProviderError as error:
            log.warning("an ended job is left to the next look", job=name, error=error.message)
        self._clusters.forget(name)

    async def _ended(self, cluster: Cluster, name: str) -> bool:
        """Wait for the job's end; False when it did not come."""
        clock = asyncio.get_running_loop().time
        asked_at, pause = clock(), _FIRST_POLL_S
        while clock() - asked_at < _GIVEN_UP_AFTER_S:
            try:
                job = await cluster.api.job(name)
                if job is None or not job.live:
                    return True
                if clock() - asked_at > _WITHDRAWN_AFTER_S and await _nothing_runs(cluster, job):
                    self._gone.add(name)
                if name in self._gone and job.status is JobStatus.RUNNING:
                    await cluster.api.stop(name)  # nobody else asks again
            except ProviderError as error:
                log.info("a job that is to end cannot be looked at", job=name, error=error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _SLOWEST_POLL_S)
        return False


async def _nothing_runs(cluster: Cluster, job: Job) -> bool:
    """Whether nothing runs for the job: it waits for resources, or its node is dead."""
    return job.status is JobStatus.PENDING or await cluster.dead_node(job.node_id) is not None
