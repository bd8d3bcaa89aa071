"""Replicas over several nodes: LeaderWorkerSets of one group each, and the Pods that their controller makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.api import KubeApi, group_path, path
from orchestration.service.providers.kubernetes.group_discovery import NOT_ALLOWED, GroupDiscovery, unseen
from orchestration.service.providers.kubernetes.group_manifests import KIND
from orchestration.service.providers.kubernetes.names import Json, listed, part
from orchestration.service.providers.kubernetes.refusals import RefusedError

log = structlog.get_logger(__name__)

WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
"""Label of the controller's: a Pod's number in its group, 0 of the leader."""
SET_NAME = "leaderworkerset.sigs.k8s.io/name"
"""Label of the controller's: the LeaderWorkerSet that a Pod is of."""


@dataclass(frozen=True, slots=True)
class Group:
    """One instance's LeaderWorkerSet and Pods."""

    made: Json | None
    """The LeaderWorkerSet; None: it is gone, or hidden, and Pods of it are there."""
    pods: tuple[Json, ...]
    """Those that there are, the leader first."""
    hidden: str = ""
    """Why the LeaderWorkerSet may not be looked at, so that the Pods are all that is known; empty when it may."""

    @property
    def name(self) -> str:
        """The LeaderWorkerSet's."""
        if self.made is not None:
            return str(self.made["metadata"]["name"])
        metadata = self.pods[0]["metadata"]
        return str(part(metadata, "labels").get(SET_NAME) or metadata["name"])

    @property
    def size(self) -> int:
        """How many Pods there are to be."""
        if self.made is None:
            return len(self.pods)
        return int(part(self.made, "spec", "leaderWorkerTemplate").get("size") or 1)

    @property
    def leader(self) -> Json:
        """The leader's Pod; while there is none, what it is to be, without a status.

        Never a worker's, where no engine is reached. Of a group of which only workers are left it has no container.
        """
        if self.pods and index(self.pods[0]) == 0:
            return self.pods[0]
        if self.made is None:
            return {"metadata": {**self.pods[0]["metadata"], "name": self.name}, "spec": {}, "status": {}}
        template = part(self.made, "spec", "leaderWorkerTemplate", "leaderTemplate")
        return {"metadata": self.made["metadata"], "spec": template["spec"], "status": {}}

    @property
    def being_deleted(self) -> bool:
        """Whether it is asked to end, and nobody makes its Pods again."""
        if self.made is None:
            return not self.hidden
        return bool(self.made["metadata"].get("deletionTimestamp"))


def index(pod: Json) -> int:
    """The Pod's number in its group."""
    text = str(part(pod, "metadata", "labels").get(WORKER_INDEX, ""))
    if text.isdecimal():
        return int(text)
    return 0 if part(pod, "metadata", "labels").get(names.ROLE) == names.LEADER else 1


def is_of_group(pod: Json) -> bool:
    """Whether the Pod is one of several of its instance."""
    return names.ROLE in part(pod, "metadata", "labels")


class Groups:
    """The installation's groups in one namespace. Calls raise `RefusedError` and `ProviderUnavailableError`."""

    def __init__(self, api: KubeApi, namespace: str, owner: str) -> None:
        self._api = api
        self._namespace = namespace
        self._owner = owner
        self._discovery = GroupDiscovery(api, namespace, owner)

    async def close(self) -> None:
        """Ask nothing any more."""
        await self._discovery.close()

    async def why_not(self) -> str:
        """As `GroupDiscovery.why_not`."""
        return await self._discovery.why_not()

    async def look(self, instance: str) -> Group | None:
        """The instance's group, if it is one."""
        why_not = await self.why_not()
        # First: nobody makes Pods for one that is not there.
        made = None if why_not else await self._api.get(group_path(self._namespace, self._name(instance)))
        if made is not None and not self._is_ours(made, instance):
            made = None
        selector = f"{names.INSTANCE}={names.object_name(self._owner, instance)}"
        pods = await self._api.find_all(path("pods", self._namespace), labelSelector=selector)
        ours = [pod for pod in pods if is_of_group(pod) and self._is_ours(pod, instance)]
        if made is not None or ours:
            return _group(made, ours, hidden=why_not)
        if why_not == NOT_ALLOWED and await self._has_service(instance):
            raise unseen("look at a replica that has no Pods", why_not)
        return None

    async def _has_service(self, instance: str) -> bool:
        """Whether there is a Service that goes with the instance's LeaderWorkerSet: then that is there as well."""
        name = names.object_name(self._owner, instance)
        service = await self._api.get(path("services", self._namespace, name)) or {}
        owners: list[Json] = listed(part(service, "metadata"), "ownerReferences")
        return any(owner.get("kind") == KIND for owner in owners)

    async def owned(self, pods: Iterable[Json]) -> list[Group]:
        """Every group of this installation; ``pods``: all its Pods here."""
        members: dict[str, list[Json]] = {}
        for pod in pods:
            if is_of_group(pod):
                members.setdefault(names.notes(pod).get(names.INSTANCE, ""), []).append(pod)
        sets, hidden = await self._sets()
        made = {names.notes(item).get(names.INSTANCE, ""): item for item in sets if names.is_owned(item, self._owner)}
        return [_group(made.get(name), members.get(name, []), hidden=hidden) for name in {**made, **members}]

    async def _sets(self) -> tuple[Sequence[Json], str]:
        """Every LeaderWorkerSet, or why they may not be looked at, which keeps no other replica from being told."""
        try:
            why_not = await self.why_not()
            if why_not:
                return (), why_not
            selector = names.owner_selector(self._owner)
            return await self._api.find_all(group_path(self._namespace), labelSelector=selector), ""
        except (RefusedError, ProviderError) as error:
            log.warning("LeaderWorkerSets cannot be listed", namespace=self._namespace, error=error.message)
            return (), error.message

    async def delete(self, group: Group) -> bool:
        """Ask for the end of all of it; False when it is gone.

        The set goes at once, as some controllers never end one that waits for its Pods; those go after it. Raises
        `ProviderUnavailableError` besides where the set is hidden: Pods alone would only be made again.
        """
        if group.hidden:
            raise unseen(f"delete LeaderWorkerSet {group.name}", group.hidden)
        if group.made is not None:
            metadata = group.made["metadata"]
            target = group_path(self._namespace, metadata["name"])
            return await self._api.delete(target, {"uid": metadata["uid"]}, propagation="Background")
        left = [pod["metadata"] for pod in group.pods if not pod["metadata"].get("deletionTimestamp")]
        asked = [
            await self._api.delete(path("pods", self._namespace, item["name"]), {"uid": item["uid"]}) for item in left
        ]
        return any(asked)

    def _name(self, instance: str) -> str:
        return names.group_name(self._owner, instance)

    def _is_ours(self, item: Json, instance: str) -> bool:
        return names.is_owned(item, self._owner) and names.notes(item).get(names.INSTANCE) == instance


def _group(made: Json | None, pods: Iterable[Json], *, hidden: str) -> Group:
    return Group(made, tuple(sorted(pods, key=index)), hidden)
