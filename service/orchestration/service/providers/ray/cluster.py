"""One cluster: its API, and what was read of its nodes and jobs a moment ago."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from orchestration.service.providers.base import Instance, ProviderError
from orchestration.service.providers.ray.answers import TOKEN, Job, JobStatus, Node
from orchestration.service.providers.ray.api import RayApi
from orchestration.service.providers.ray.instances import to_instance
from orchestration.service.providers.ray.joblog import JobLog, Report
from orchestration.service.providers.ray.rooms import Room, rooms
from orchestration.service.providers.ray.settings import ClusterSettings

_NODES_KEPT_S = 3.0
"""How long a list of nodes is taken for true: every job that runs is held against it."""
_LONGEST_HEAD = 1024 * 1024
"""Characters of a log in which the launcher's report is looked for: it comes before all that the engine prints."""


class Cluster:
    """One of the clusters of the provider."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self.api = RayApi(settings)
        self._reports: dict[str, tuple[str, Report]] = {}
        """By job, its token and what its launcher told: read once from its log."""
        self._nodes: dict[str, Node] = {}
        self._nodes_at = float("-inf")
        self._looking = asyncio.Lock()
        self.placing = asyncio.Lock()
        """Held from the look at what is free to the job that takes it."""

    async def rooms(self) -> list[Room]:
        """The nodes that are alive, and what is free on each, as of now."""
        nodes, used, jobs = await asyncio.gather(self.api.nodes(), self.api.used(), self.api.jobs())
        self._keep(nodes)
        return rooms(nodes, used, jobs)

    async def instance(self, job: Job, *, stopping: bool = False, may_lack: bool = False) -> Instance:
        """The job as an instance. Raises `ProviderError`; with ``may_lack`` not because its log cannot be read."""
        try:
            report = await self._report(job) if job.status is JobStatus.RUNNING and not stopping else self._known(job)
        except ProviderError:
            if not may_lack:
                raise
            report = None
        lost = await self.dead_node(job.node_id) if job.live and job.node_id else None
        return to_instance(job, report, stopping=stopping, lost=lost)

    def forget(self, name: str) -> None:
        """Drop what is remembered of a job that is gone."""
        self._reports.pop(name, None)

    def _known(self, job: Job) -> Report | None:
        token, report = self._reports.get(job.name, ("", None))
        return report if token == job.told(TOKEN) else None

    async def _report(self, job: Job) -> Report | None:
        if (known := self._known(job)) is not None:
            return known
        if await self.dead_node(job.node_id) is not None:
            return None  # its log went with it
        reader = JobLog(job.told(TOKEN), 0.0)
        seen = 0
        async with aclosing(self.api.log(job.name)) as pieces:
            async for piece in pieces:
                reader.feed(piece)
                seen += len(piece)
                if reader.report is not None:
                    self._reports[job.name] = (job.told(TOKEN), reader.report)
                    return reader.report
                if seen > _LONGEST_HEAD:
                    break
        return None

    async def dead_node(self, node_id: str) -> Node | None:
        """The node, when the cluster says that it is dead; one that it does not name may be on its way back."""
        async with self._looking:
            if time.monotonic() - self._nodes_at > _NODES_KEPT_S:
                self._keep(await self.api.nodes())
        node = self._nodes.get(node_id)
        return node if node is not None and not node.alive else None

    def _keep(self, nodes: list[Node]) -> None:
        self._nodes = {node.node_id: node for node in nodes}
        self._nodes_at = time.monotonic()
