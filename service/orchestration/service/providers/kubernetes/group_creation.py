"""Creating a replica over several nodes: one LeaderWorkerSet for one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec
from orchestration.service.providers.kubernetes import group_manifests
from orchestration.service.providers.kubernetes.api import group_path
from orchestration.service.providers.kubernetes.clusters import Clusters, Found
from orchestration.service.providers.kubernetes.groups import Group
from orchestration.service.providers.kubernetes.places import Place
from orchestration.service.providers.kubernetes.settings import KubernetesSettings
from orchestration.service.providers.spans import Span

EXCEEDED = "GPU_COUNT_EXCEEDED"


class GroupCreator:
    """Creates groups."""

    def __init__(self, clusters: Clusters, settings: KubernetesSettings, clock: Callable[[], float]) -> None:
        self._clusters = clusters
        self._settings = settings
        self._clock = clock

    async def make(
        self, place: Place, spec: InstanceSpec, nodes: int, selector: Mapping[str, str], price: float
    ) -> Found:
        """The group, new.

        Raises `InstanceRejectedError` where there can be none, `CapacityError` where there can be none now, and
        `RefusedError`.
        """
        many = f"gpu_per_replica {spec.gpu_count} is more than the GPUs of a node"
        if not spec.over_nodes.leader:
            text = f"{many}, and engine {spec.engine} as it is configured cannot be started on several nodes"
            raise InstanceRejectedError(EXCEEDED, text)
        if spec.gpu_count % nodes:
            raise InstanceRejectedError(EXCEEDED, f"{many}, and does not split evenly over {nodes} of them")
        why_not = await self._clusters.groups(place).why_not()
        if why_not:
            # It was otherwise when the offer was made, and may be again: the offers say how it is.
            raise CapacityError(f"{many}, and a replica cannot have several nodes: {why_not}")
        span = Span(nodes, spec.gpu_count // nodes)
        body = group_manifests.leader_worker_set(
            spec, self._settings, span, selector=dict(selector), price=price, now=self._clock()
        )
        api = self._clusters.api(place)
        group = Group(await api.create(group_path(place.namespace), body), ())
        return Found(place, api, group.leader, group)
