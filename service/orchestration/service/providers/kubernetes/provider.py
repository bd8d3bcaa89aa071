"""The ``kubernetes`` provider: replicas as Pods of one or more clusters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import structlog

from orchestration.service.providers.base import (
    Capabilities,
    Instance,
    InstanceSpec,
    LogRecord,
    Provider,
    ProviderContext,
    ProviderError,
    Resource,
)
from orchestration.service.providers.inventory import ClusterNodes, NodeScope
from orchestration.service.providers.kubernetes import group_states, nodes
from orchestration.service.providers.kubernetes.api import path
from orchestration.service.providers.kubernetes.clusters import Clusters, Found
from orchestration.service.providers.kubernetes.creation import Creator
from orchestration.service.providers.kubernetes.endpoints import Endpoints
from orchestration.service.providers.kubernetes.group_offers import with_groups
from orchestration.service.providers.kubernetes.inventory import Inventory, look
from orchestration.service.providers.kubernetes.logs import read_log
from orchestration.service.providers.kubernetes.names import Json
from orchestration.service.providers.kubernetes.places import Place, Places
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error
from orchestration.service.providers.kubernetes.settings import KubernetesSettings, parse
from orchestration.service.providers.kubernetes.states import seconds, to_instance
from orchestration.service.providers.unconfigured import UnconfiguredProvider

log = structlog.get_logger(__name__)

CAPABILITIES = Capabilities(
    kind="cluster",
    log_streaming=True,
    spot=False,
    multi_gpu=True,
    multi_node=True,
    ephemeral=False,
    pricing_model="fixed",
    engines=("custom", "infinity", "llamacpp", "ollama", "sglang", "tei", "tgi", "triton", "vllm"),
)


def create(context: ProviderContext) -> Provider:
    """The entry point. Raises ValueError naming a setting, or what is wrong in a kubeconfig."""
    settings = parse(context.settings)
    if settings is None:
        reason = (
            f"provider {context.name} is not configured on this gateway: set kubeconfig to a file, or in_cluster to "
            "true, in [providers.kubernetes] (docs/providers/kubernetes.md)"
        )
        return UnconfiguredProvider(context.name, CAPABILITIES, reason)
    return KubernetesProvider(context, settings)


class KubernetesProvider:
    """Runs each replica as a Pod that is never restarted in place, so that attempts are the controllers' alone."""

    def __init__(self, context: ProviderContext, settings: KubernetesSettings) -> None:
        """Raises ValueError saying what is wrong in a kubeconfig."""
        self._context = context
        self._settings = settings
        places = Places(settings.accesses)
        self._clusters = Clusters(places, context.owner)
        self._inventory = Inventory(self._clusters, settings, context.clock)
        self._creator = Creator(places, self._clusters, settings, context.clock)
        self._endpoints = Endpoints(settings.endpoint)

    @property
    def name(self) -> str:
        return self._context.name

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def start(self) -> None:
        """Asks nothing: a cluster that is away must not keep the gateway from the others."""
        await self._clusters.start()
        places = ", ".join(str(place) for place in self._clusters.places)
        log.info("kubernetes provider started", provider=self.name, places=places)

    async def close(self) -> None:
        await self._clusters.close()

    async def list_resources(self) -> Sequence[Resource]:
        answers = await asyncio.gather(
            *(self._offers(places) for places in self._clusters.by_cluster()), return_exceptions=True
        )
        found = [item for answer in answers if not isinstance(answer, BaseException) for item in answer]
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, ProviderError) or len(failures) == len(answers):
                raise failure
            log.warning("a cluster does not tell what it has", provider=self.name, error=failure.message)
        # The same namespace may be reached with several credentials, and offers are told apart by namespace.
        return list({item.provider_resource_id: item for item in found}.values())

    async def list_nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        return await self._inventory.nodes(scope)

    async def create(self, spec: InstanceSpec) -> Instance:
        return await self._instance(await self._creator.create(spec))

    async def describe(self, name: str) -> Instance | None:
        found = await self._clusters.find(name)
        return None if found is None else await self._instance(found)

    async def list_owned(self) -> Sequence[Instance]:
        found = await self._clusters.owned()
        return await asyncio.gather(*(self._instance(item) for item in found))

    async def delete(self, name: str) -> None:
        found = await self._clusters.find(name)
        if found is None:
            return
        if found.group is not None:
            await self._clusters.delete_group(found, found.group)
            for pod in found.group.pods:
                if await self._is_stuck(found, pod):
                    await self._clusters.delete(found, {"uid": pod["metadata"]["uid"]}, 0, pod)
            return
        grace_s = 0 if await self._is_stuck(found, found.pod) else None
        await self._clusters.delete(found, {"uid": found.pod["metadata"]["uid"]}, grace_s)

    def logs(self, name: str, *, after: str = "", follow: bool = False) -> AsyncIterator[LogRecord]:
        return read_log(partial(self._clusters.find, name), after=after, follow=follow)

    async def _instance(self, found: Found) -> Instance:
        now, limit_s = self._context.clock(), self._settings.start_timeout_s
        if found.group is not None:
            endpoint = await self._endpoints.of(found)
            return group_states.to_instance(found.group, str(found.place), endpoint, now, limit_s)
        return to_instance(found.pod, str(found.place), await self._endpoints.of(found), now, limit_s)

    async def _is_stuck(self, found: Found, pod: Json) -> bool:
        """Whether the Pod should have ended, and its node is not there to say that it has.

        Such a Pod would stay for ever, and its replica with it. Nobody reaches the engine on a node that is lost.
        """
        asked_at = seconds(pod["metadata"].get("deletionTimestamp"))  # with the grace in it
        if not asked_at or self._context.clock() - asked_at < self._settings.lost_node_s:
            return False
        name = pod["spec"].get("nodeName")
        try:
            node = await found.api.get(path("nodes", name=name)) if name else None
        except RefusedError as refused:
            raise as_provider_error(refused, f"look at node {name!r}") from refused
        if node is not None and nodes.to_node(node, self._settings).ready:
            return False
        log.warning(
            "its node is lost; the Pod is deleted by force",
            pod=pod["metadata"]["name"],
            place=str(found.place),
            node=name,
        )
        return True

    async def _offers(self, places: Sequence[Place]) -> list[Resource]:
        """What one cluster has, in each of its namespaces."""
        seen = await look(self._clusters.api(places[0]), places, self._settings)
        members = [item.node for item in seen.nodes]
        no_groups = {place: await self._clusters.why_no_groups(place) for place in places}
        found: list[Resource] = []
        for place in places:
            single = nodes.resources(self.name, str(place), members, seen.pods, self._settings)
            found += with_groups(single, str(place), members, seen.pods, self._settings, no_groups[place])
        return found
