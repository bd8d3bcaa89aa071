"""Creating an instance: one Pod for one name, whatever is interrupted and whoever else tries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence

from orchestration.service.domain import gpu
from orchestration.service.providers.base import (
    CapacityError,
    InstanceConflictError,
    InstanceRejectedError,
    InstanceSpec,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.kubernetes import group_manifests, manifests, names, nodes
from orchestration.service.providers.kubernetes.api import group_path, path
from orchestration.service.providers.kubernetes.clusters import Clusters, Found
from orchestration.service.providers.kubernetes.group_creation import GroupCreator
from orchestration.service.providers.kubernetes.group_discovery import unseen
from orchestration.service.providers.kubernetes.names import Json, part
from orchestration.service.providers.kubernetes.places import Place, Places
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error
from orchestration.service.providers.kubernetes.settings import KubernetesSettings
from orchestration.service.providers.kubernetes.states import container, unschedulable

_SCHEDULER_S = 8.0
"""How long a creation waits for the scheduler's word; what it says later is seen by who describes the instance."""
_NO_ROOM = re.compile(r'[\w.-]+ "[^"]*" is forbidden: (exceeded quota|status unknown for quota): ')
"""What the API server says of a quota that is used up, or not counted yet."""
_NOT_ALLOWED = re.compile(
    r'admission webhook "[^"]*" denied the request'
    r"""|([\w.-]+ "[^"]*" is forbidden: )?ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request"""
    r'|[\w.-]+ "[^"]*" is forbidden: \[?'
    r"(failed quota: |pod rejected: |violates PodSecurity |(maximum|minimum|[\w./-]+ max limit) .* per )"
)
"""What it says, with 403, of an object that is not as objects have to be in this namespace, whoever makes it.

A policy's author may have chosen 401 for it.
"""
_FIRST_LOOK_S = 0.05
_SLOWEST_LOOK_S = 1.0


class Creator:
    """Creates instances."""

    def __init__(
        self, places: Places, clusters: Clusters, settings: KubernetesSettings, clock: Callable[[], float]
    ) -> None:
        self._places = places
        self._clusters = clusters
        self._settings = settings
        self._clock = clock
        self._groups = GroupCreator(clusters, settings, clock)

    async def create(self, spec: InstanceSpec) -> Found:
        """The instance's Pod, made if there is none, with its Secret and its Service.

        The Pod comes first and owns the others: whatever is interrupted, they are found by it, and go with it. Its
        container waits for its Secret.
        """
        offer = nodes.parse_offer(spec.resource_id) if spec.resource_id else None
        place = self._places.choose(spec, offer.place if offer else "")
        self._clusters.note_kind(spec.name, of_group=offer is not None and offer.nodes > 1)
        found = await self._clusters.look(place, spec.name) or await self._clusters.elsewhere(place, spec.name)
        found = found or await self._make(place, spec, offer)
        self._clusters.note(spec.name, found.place)
        if _is_over(found):
            return found  # its Secret and Service have done their work
        await self._complete(found, spec)
        return found if self._settings.autoscaling else await self._scheduled(found)

    async def _make(self, place: Place, spec: InstanceSpec, offer: nodes.OfferId | None) -> Found:
        selector = await self._selector(place, spec, offer)
        kind = selector.get(self._settings.gpu_type_label, "")
        price = self._settings.gpu_price(kind) * spec.gpu_count if spec.gpu_count else self._settings.price_per_hour
        api = self._clusters.api(place)
        try:
            if offer is not None and offer.nodes > 1:
                return await self._groups.make(place, spec, offer.nodes, selector, price)
            pod = manifests.pod(spec, self._settings, selector=selector, price=price, now=self._clock())
            made = await api.create(path("pods", place.namespace), pod)
        except RefusedError as refused:
            if refused.status != 409 or refused.reason == "Conflict":  # of a quota that others count on as well
                raise _not_made(refused, place) from refused
            # Somebody else was first: another call of ours, or a stranger.
            found = await self._clusters.look(place, spec.name)
            if found is not None:
                return found
            raise await self._taken(place, spec, of_group=offer is not None and offer.nodes > 1) from refused
        return Found(place, api, made)

    async def _taken(self, place: Place, spec: InstanceSpec, *, of_group: bool) -> ProviderError:
        if of_group:
            what, name = "LeaderWorkerSet", names.group_name(spec.owner, spec.name)
            target = group_path(place.namespace, name)
        else:
            what, name = "Pod", names.object_name(spec.owner, spec.name)
            target = path("pods", place.namespace, name)
        try:
            other = await self._clusters.api(place).get(target)
        except RefusedError as refused:
            raise as_provider_error(refused, f"look at a {what} in {place}") from refused
        if other is None:
            return ProviderUnavailableError(f"the {what} {name} in {place} has just gone; it can be made now")
        return InstanceConflictError("NAME_TAKEN", f"the {what} {name} in {place} is there, and not of this gateway")

    async def _selector(self, place: Place, spec: InstanceSpec, offer: nodes.OfferId | None) -> Mapping[str, str]:
        """Labels of the nodes on which the replica may run."""
        if offer is not None:
            region = {nodes.REGION_LABEL: offer.region} if offer.region else {}
            typed = {self._settings.gpu_type_label: offer.gpu_type} if offer.gpu_type and spec.gpu_count else {}
            return region | typed
        wanted = spec.gpu_types if spec.gpu_count else ()
        return await self._by_nodes(place, wanted, spec.regions) if wanted or spec.regions else {}

    async def _by_nodes(self, place: Place, types: Sequence[str], regions: Sequence[str]) -> Mapping[str, str]:
        """Without an offer: the first type of GPU and the first region that are wanted and that a node has."""
        try:
            items = await self._clusters.api(place).find_all(path("nodes"))
        except RefusedError as refused:
            raise as_provider_error(refused, "list nodes") from refused
        members = [node for item in items if (node := nodes.to_node(item, self._settings)).takes]
        for kind in types or ("",):
            for region in regions or ("",):
                for node in members:
                    typed = not kind or gpu.normalise(node.gpu_type) == kind
                    if typed and region.strip().lower() in {"", node.region.lower()}:
                        by_type = {self._settings.gpu_type_label: node.gpu_type} if kind else {}
                        return by_type | ({nodes.REGION_LABEL: node.region} if region else {})
        wanted = ", ".join((*types, *regions))
        raise CapacityError(f"no node of {place.context} is what is wanted: {wanted}")

    async def _complete(self, found: Found, spec: InstanceSpec) -> None:
        """The Secret and the Service, as they are to be."""
        if found.group is not None:
            made = found.group.made
            if made is None:  # what it owns would get another owner
                raise unseen(f"go on creating {found.group.name} in {found.place}", found.group.hidden)
            secret = group_manifests.secret(spec, made)
            service = group_manifests.service(spec, self._settings, made)
        else:
            uid = found.pod["metadata"]["uid"]
            secret, service = manifests.secret(spec, uid), manifests.service(spec, self._settings, uid)
        name, namespace = secret["metadata"]["name"], found.place.namespace
        try:
            await found.api.apply(path("secrets", namespace, name), secret)
            await found.api.apply(path("services", namespace, name), service)
        except RefusedError as refused:
            raise _not_made(refused, found.place) from refused

    async def _scheduled(self, found: Found) -> Found:
        """Wait for the scheduler's word; a Pod that no node takes is taken back, and is `CapacityError`."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + _SCHEDULER_S, _FIRST_LOOK_S
        while not _has_nodes(found) and loop.time() < until:
            why = next((why for pod in found.pods if (why := unschedulable(pod))), "")
            if why and await self._take_back(found):
                raise CapacityError(f"no node of {found.place} takes the replica: {why}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _SLOWEST_LOOK_S)
            again = await self._clusters.look(found.place, names.notes(found.pod)[names.INSTANCE])
            if again is None:
                raise ProviderUnavailableError(f"the Pod in {found.place} was deleted while it was created")
            found = again
        return found

    async def _take_back(self, found: Found) -> bool:
        """Whether the Pod was deleted just as it was last seen: nothing of it ever ran, and of a group not all."""
        if found.group is not None:
            taken = await self._clusters.delete_group(found, found.group)
            for pod in found.group.pods:
                await self._clusters.delete(found, {"uid": pod["metadata"]["uid"]}, 0, pod)
            return taken
        seen: Json = found.pod["metadata"]
        only_if = {"uid": seen["uid"], "resourceVersion": seen["resourceVersion"]}
        return await self._clusters.delete(found, only_if, grace_s=0)


def _is_over(found: Found) -> bool:
    if found.group is not None:
        return found.group.being_deleted
    return bool(found.pod["metadata"].get("deletionTimestamp") or part(container(found.pod), "state", "terminated"))


def _has_nodes(found: Found) -> bool:
    complete = found.group is None or len(found.pods) >= found.group.size
    return complete and all(pod["spec"].get("nodeName") for pod in found.pods)


def _not_made(refused: RefusedError, place: Place) -> ProviderError:
    """Why the cluster did not take an object."""
    match refused.status:
        case 403 if _NO_ROOM.match(refused.said):
            return CapacityError(f"{place} has no room: {refused.message}", reason="QUOTA_EXCEEDED")
        case 401 | 403 if _NOT_ALLOWED.match(refused.said):
            return InstanceRejectedError("REJECTED_BY_CLUSTER", f"{place}: {refused.message}")
        case 403 if refused.said.endswith("because it is being terminated"):
            return InstanceRejectedError("NAMESPACE_NOT_FOUND", f"{place}: {refused.message}")
        case 404 if refused.is_missing and refused.about == ("namespaces", place.namespace):
            return InstanceRejectedError("NAMESPACE_NOT_FOUND", f"{place}: {refused.message}")
        case 409 if refused.is_managed_elsewhere:
            return InstanceConflictError("OBJECT_MANAGED_ELSEWHERE", f"{place}: {refused.message}")
        case 400 | 413 | 422:
            return InstanceRejectedError("REJECTED_BY_CLUSTER", f"{place}: {refused.message}")
        case _:
            return as_provider_error(refused, f"create a replica in {place}")
