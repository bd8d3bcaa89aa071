"""Replicas over several nodes: LeaderWorkerSets of one group each, and the Pods that their controller makes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.api import GROUP_VERSION, KubeApi, group_path, path
from orchestration.service.providers.kubernetes.names import Json, part
from orchestration.service.providers.kubernetes.refusals import RefusedError

NOT_SERVED = f"the cluster does not serve LeaderWorkerSet ({GROUP_VERSION})"
NOT_ALLOWED = "the gateway's role does not allow leaderworkersets, see docs/kubernetes/rbac.yaml"
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
"""Label of the controller's: a Pod's number in its group, 0 of the leader."""
_KEPT_S = 300.0
_ASKED_AGAIN_S = 15.0
"""Where there are none they may be installed, and an operator who has done so waits for it."""


@dataclass(frozen=True, slots=True)
class Group:
    """One instance's LeaderWorkerSet and Pods."""

    made: Json | None
    """The LeaderWorkerSet; None: it is gone, or hidden, and Pods of it are there."""
    pods: tuple[Json, ...]
    """Those that there are, the leader first."""
    hidden: bool = False
    """The LeaderWorkerSet may not be looked at, and the Pods are all that is known."""

    @property
    def size(self) -> int:
        """How many Pods there are to be."""
        if self.made is None:
            return len(self.pods)
        return int(part(self.made, "spec", "leaderWorkerTemplate").get("size") or 1)

    @property
    def leader(self) -> Json:
        """The leader's Pod; while there is none, what it is to be, without a status."""
        if self.pods and index(self.pods[0]) == 0:
            return self.pods[0]
        if self.made is None:
            return self.pods[0]
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
        self._why_not = ""
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def why_not(self) -> str:
        """Why there can be no groups here; empty when there can. Known for a while once it was asked."""
        async with self._asking:
            kept_s = _ASKED_AGAIN_S if self._why_not else _KEPT_S
            if time.monotonic() - self._asked_at > kept_s:
                self._why_not = await self._ask()
                self._asked_at = time.monotonic()
            return self._why_not

    async def _ask(self) -> str:
        # All groups are asked for, and not this one: whatever stands on the way may say 404 as well.
        try:
            if GROUP_VERSION not in await self._api.api_groups():
                return NOT_SERVED
            await self._made()
        except RefusedError as refused:
            if refused.status != 403:
                raise
            return NOT_ALLOWED
        return ""

    async def look(self, instance: str) -> Group | None:
        """The instance's group, if it is one."""
        why_not = await self.why_not()
        if why_not == NOT_SERVED:
            return None
        name = names.group_name(self._owner, instance)
        made = None if why_not else await self._api.get(group_path(self._namespace, name))
        selector = f"{names.INSTANCE}={names.object_name(self._owner, instance)}"
        pods = await self._api.find_all(path("pods", self._namespace), labelSelector=selector)
        ours = [pod for pod in pods if is_of_group(pod) and self._is_ours(pod, instance)]
        if made is not None and not self._is_ours(made, instance):
            made = None
        return None if made is None and not ours else _group(made, ours, hidden=bool(why_not))

    async def owned(self, pods: Iterable[Json]) -> list[Group]:
        """Every group of this installation; ``pods``: all its Pods here."""
        members: dict[str, list[Json]] = {}
        for pod in pods:
            if is_of_group(pod):
                members.setdefault(names.notes(pod).get(names.INSTANCE, ""), []).append(pod)
        why_not = await self.why_not()
        sets: Sequence[Json] = () if why_not else await self._made()
        made = {names.notes(item).get(names.INSTANCE, ""): item for item in sets if names.is_owned(item, self._owner)}
        hidden = why_not == NOT_ALLOWED
        return [_group(made.get(name), members.get(name, []), hidden=hidden) for name in {**made, **members}]

    async def _made(self) -> Sequence[Json]:
        selector = names.owner_selector(self._owner)
        return await self._api.find_all(group_path(self._namespace), labelSelector=selector)

    async def delete(self, group: Group) -> bool:
        """Ask for the end of all of it; False when it is gone."""
        if group.hidden:  # Pods alone would only be made again
            raise RefusedError(403, NOT_ALLOWED)
        if group.made is not None:
            metadata = group.made["metadata"]
            target = group_path(self._namespace, metadata["name"])
            return await self._api.delete(target, {"uid": metadata["uid"]}, foreground=True)
        left = [pod["metadata"] for pod in group.pods if not pod["metadata"].get("deletionTimestamp")]
        asked = [
            await self._api.delete(path("pods", self._namespace, item["name"]), {"uid": item["uid"]}) for item in left
        ]
        return any(asked)

    def _is_ours(self, item: Json, instance: str) -> bool:
        return names.is_owned(item, self._owner) and names.notes(item).get(names.INSTANCE) == instance


def _group(made: Json | None, pods: Iterable[Json], *, hidden: bool) -> Group:
    return Group(made, tuple(sorted(pods, key=index)), hidden)
