"""Nodes of clusters for the inventory: those that the node selector means, with what they have and what is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.inventory import ClusterNode, ClusterNodes, ClusterNodeState, NodeScope
from orchestration.service.providers.kubernetes.api import KubeApi, path
from orchestration.service.providers.kubernetes.clusters import Clusters
from orchestration.service.providers.kubernetes.names import Json, listed, part
from orchestration.service.providers.kubernetes.nodes import to_node, used
from orchestration.service.providers.kubernetes.places import Place
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error
from orchestration.service.providers.kubernetes.settings import KubernetesSettings
from orchestration.service.providers.recent import Recent

_LIVE = "status.phase!=Succeeded,status.phase!=Failed"
_CORDONED = "node.kubernetes.io/unschedulable"
"""Taint of a node that was cordoned, which its ``spec.unschedulable`` says as well."""
_KEPT_S = 1.0
"""How long an answer is good: pools of different namespaces of one cluster ask one after the other."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one cluster has."""

    nodes: Sequence[Json]
    pods: Sequence[Json]
    """Of the namespaces that are looked at, without those that have ended."""


async def look(api: KubeApi, places: Sequence[Place], settings: KubernetesSettings) -> Look:
    """The nodes of the cluster that the places are in, and the Pods there. Raises `ProviderError`."""
    try:
        nodes = await api.find_all(path("nodes"))
        seen = [""] if settings.count_all_pods else [place.namespace for place in places]
        lists = [await api.find_all(path("pods", namespace), fieldSelector=_LIVE) for namespace in seen]
    except RefusedError as refused:
        raise as_provider_error(refused, f"list the nodes and Pods of {places[0].context}") from refused
    return Look(nodes, [pod for items in lists for pod in items])


class Inventory:
    """What the clusters are made of."""

    def __init__(self, clusters: Clusters, settings: KubernetesSettings, clock: Callable[[], float]) -> None:
        self._clusters = clusters
        self._looks = {
            (places[0].credential, places[0].context): Recent(
                partial(_ask, clusters.api(places[0]), places, settings), _KEPT_S, clock
            )
            for places in clusters.by_cluster()
        }

    async def nodes(self, scope: NodeScope) -> Sequence[ClusterNodes]:
        """The nodes that a pool means, by context. Raises `InstanceRejectedError` when it names none of the places."""
        places = self._clusters.meant(scope.provider_credential_name, scope.provider_pool_id)
        return await asyncio.gather(
            *(
                self._of(credential, context)
                for credential, context in {(one.credential, one.context) for one in places}
            )
        )

    async def _of(self, credential: str, context: str) -> ClusterNodes:
        try:
            nodes, asked_at = await self._looks[credential, context].get()
        except ProviderError as error:
            return ClusterNodes(cluster=context, error=error.message)
        return ClusterNodes(cluster=context, asked_at=asked_at, nodes=nodes)


async def _ask(api: KubeApi, places: Sequence[Place], settings: KubernetesSettings) -> Sequence[ClusterNode]:
    return to_nodes(await look(api, places, settings), settings)


def to_nodes(seen: Look, settings: KubernetesSettings) -> list[ClusterNode]:
    """Every node that is meant, whatever its state."""
    held = {resource: used(seen.pods, resource) for resource in (settings.gpu_resource, "cpu", "memory")}
    return [_to_node(item, held, settings) for item in seen.nodes if _is_meant(item, settings)]


def _is_meant(item: Json, settings: KubernetesSettings) -> bool:
    labels = part(item, "metadata", "labels")
    return all(labels.get(key) == value for key, value in settings.node_selector.items())


def _to_node(item: Json, held: Mapping[str, Mapping[str, float]], settings: KubernetesSettings) -> ClusterNode:
    node = to_node(item, settings)
    state, message = _state(item, takes=node.takes)
    name = node.name
    return ClusterNode(
        node_id=name,
        state=state,
        message=message,
        joins=node.ready and not _shut_taints(item, settings),
        hostname=name,
        region=node.region,
        gpu_type=node.gpu_type if node.gpus else "",
        gpu_total=node.gpus,
        gpu_used=round(held[settings.gpu_resource].get(name, 0.0)),
        vcpu_total=node.cpus,
        vcpu_used=held["cpu"].get(name, 0.0),
        ram_gb_total=round(node.ram_gb, 1),
        ram_gb_used=round(held["memory"].get(name, 0.0) / 2**30, 1),
        price_per_hour=settings.gpu_price(node.gpu_type) if node.gpus else settings.price_per_hour,
    )


def _state(item: Json, *, takes: bool) -> tuple[ClusterNodeState, str]:
    """What the cluster says of the node, and why."""
    conditions: list[Json] = listed(part(item, "status"), "conditions")
    none: Json = {}
    ready = next((one for one in conditions if one.get("type") == "Ready"), none)
    why = str(ready.get("message") or ready.get("reason") or "it has no condition Ready")
    if takes:
        return ClusterNodeState.READY, ""
    match ready.get("status"):
        case "True":
            cordoned = part(item, "spec").get("unschedulable")
            return ClusterNodeState.CLOSED, "it is cordoned" if cordoned else "it has a taint that is not tolerated"
        case "Unknown":  # its kubelet has not been heard of
            return ClusterNodeState.DEAD, why
        case _:
            return ClusterNodeState.TROUBLED, why


def _shut_taints(item: Json, settings: KubernetesSettings) -> list[Json]:
    """The taints that keep replicas off, but for that of a cordon."""
    taints: list[Json] = listed(part(item, "spec"), "taints")
    return [
        taint
        for taint in taints
        if taint.get("effect") != "PreferNoSchedule"
        and taint.get("key") != _CORDONED
        and not any(one.tolerates(taint) for one in settings.tolerations)
    ]
