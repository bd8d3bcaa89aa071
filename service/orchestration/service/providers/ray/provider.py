"""The ``ray`` provider: replicas as jobs of Ray clusters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from orchestration.service.engines.table import ENGINE_NAMES
from orchestration.service.providers.base import (
    PROVIDER_CLOSED,
    Capabilities,
    Instance,
    InstanceConflictError,
    InstanceSpec,
    LogRecord,
    Provider,
    ProviderContext,
    ProviderError,
    Resource,
)
from orchestration.service.providers.inventory import ClusterNodes, NodeScope
from orchestration.service.providers.ray import reading, spreading
from orchestration.service.providers.ray.answers import Job
from orchestration.service.providers.ray.cluster import Cluster
from orchestration.service.providers.ray.clusters import Clusters, owned
from orchestration.service.providers.ray.inventory import Inventory
from orchestration.service.providers.ray.removal import LOGS_KEPT_S, Removals
from orchestration.service.providers.ray.rooms import choose, to_resource
from orchestration.service.providers.ray.settings import RaySettings, parse
from orchestration.service.providers.ray.submission import check, job_request, valid_name
from orchestration.service.providers.unconfigured import UnconfiguredProvider

CAPABILITIES = Capabilities(
    kind="cluster",
    log_streaming=True,
    spot=False,
    multi_gpu=True,
    multi_node=True,
    ephemeral=False,
    pricing_model="fixed",
    engines=ENGINE_NAMES,
)


def create_provider(context: ProviderContext) -> Provider:
    """The entry point. Raises ValueError naming a setting that is wrong."""
    settings = parse(context.settings)
    if not settings.clusters:
        text = f"provider {context.name} is not configured on this gateway: set address (and token, where the cluster "
        text += f"asks for one) in [providers.{context.name}], the URL of a Ray dashboard such as http://10.0.0.5:8265"
        return UnconfiguredProvider(context.name, CAPABILITIES, text)
    return RayProvider(context, settings)


class RayProvider:
    """Runs each replica as a job whose submission id is the instance's name. All that it knows is with Ray."""

    def __init__(self, context: ProviderContext, settings: RaySettings, *, logs_kept_s: float = LOGS_KEPT_S) -> None:
        self._name = context.name
        self._owner = context.owner
        self._settings = settings
        self._clusters = Clusters([Cluster(item) for item in settings.clusters.values()])
        self._inventory = Inventory(self._clusters, settings, context.clock)
        self._removals = Removals(self._clusters, logs_kept_s=logs_kept_s)
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def start(self) -> None:
        """Make the connections' sessions; a cluster that is away does not keep the gateway from starting."""
        for cluster in self._clusters.all:
            await cluster.api.start()

    async def close(self) -> None:
        self._closed = True
        await self._removals.close()
        for cluster in self._clusters.all:
            await cluster.api.close()

    async def list_resources(self) -> Sequence[Resource]:
        self._check_open()
        found = await self._clusters.rooms()
        single = [
            to_resource(self._name, cluster.settings, self._settings, room)
            for cluster, room in found
            if room.total("CPU") >= self._settings.cpus_per_replica  # a head that is given no work is no place
        ]
        several: list[Resource] = []
        for cluster in self._clusters.all:
            rooms = [room for of, room in found if of is cluster]
            several += spreading.offers(self._name, cluster.settings, self._settings, rooms)
        return single + several

    async def list_nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        self._check_open()
        return await self._inventory.nodes(scope)

    async def create(self, spec: InstanceSpec) -> Instance:
        self._check_open()
        check(spec, self._owner)
        cluster = self._clusters.of_spec(spec)
        job = await cluster.api.job(spec.name)
        if job is not None and self._removals.is_gone(job):
            await self._removals.make_way(cluster, spec.name)
            job = None
        if job is None:
            job = await self._submit(cluster, spec)
        if not owned(job, self._owner):
            text = f"Ray cluster {cluster.settings.title!r} has a job {spec.name} of somebody else's"
            raise InstanceConflictError("NAME_TAKEN", text)
        self._clusters.note(spec.name, cluster)
        return await self._instance(cluster, job)

    async def _submit(self, cluster: Cluster, spec: InstanceSpec) -> Job:
        async with cluster.placing:
            job = await cluster.api.job(spec.name)  # it may have been submitted while this one waited
            if job is not None:
                return job
            taken = await cluster.api.submit(await self._request(cluster, spec))
            job = await cluster.api.job(spec.name)
        if job is None:
            what = "took the job, and has none" if taken else "failed to take the job"
            text = f"Ray cluster {cluster.settings.title!r} {what} of name {spec.name}"
            raise ProviderError("JOB_NOT_TAKEN", text, retryable=True)
        return job

    async def _request(self, cluster: Cluster, spec: InstanceSpec) -> dict[str, Any]:
        """What Ray is asked for, by what is free now."""
        rooms = await cluster.rooms()
        span = spreading.span_of(spec.resource_id)
        if span is None:
            return job_request(spec, self._settings, choose(spec, self._settings, cluster.settings, rooms))
        plan = spreading.choose_several(spec, self._settings, cluster.settings, rooms, span)
        return job_request(spec, self._settings, plan.nodes[0], plan)

    async def describe(self, name: str) -> Instance | None:
        found = await self._find(name)
        if found is None or self._removals.is_gone(found[1]):
            return None
        return await self._instance(*found)

    async def list_owned(self) -> Sequence[Instance]:
        self._check_open()
        found = [item for item in await self._clusters.owned(self._owner) if not self._removals.is_gone(item[1])]
        # One node whose logs cannot be read does not keep the others' instances from being told.
        return await asyncio.gather(*(self._instance(*item, may_lack=True) for item in found))

    async def delete(self, name: str) -> None:
        found = await self._find(name)
        if found is not None:
            await self._removals.remove(*found)

    async def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        found = await self._find(name)
        if found is None:
            return
        read = reading.follow if follow else reading.page
        async with aclosing(read(*found, after)) as records:
            async for record in records:
                yield record

    async def _find(self, name: str) -> tuple[Cluster, Job] | None:
        self._check_open()
        return await self._clusters.find(name, self._owner) if valid_name(name) else None

    async def _instance(self, cluster: Cluster, job: Job, *, may_lack: bool = False) -> Instance:
        return await cluster.instance(job, stopping=self._removals.asked(job.name), may_lack=may_lack)

    def _check_open(self) -> None:
        if self._closed:
            raise ProviderError(PROVIDER_CLOSED, f"provider {self._name} is closed", retryable=False)
