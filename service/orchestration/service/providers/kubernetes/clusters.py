"""The API servers that are talked to, and where in them an instance is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.service.providers.base import ProviderError
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.api import KubeApi, path
from orchestration.service.providers.kubernetes.groups import Group, Groups, is_of_group
from orchestration.service.providers.kubernetes.names import Json
from orchestration.service.providers.kubernetes.places import Place, Places
from orchestration.service.providers.kubernetes.refusals import RefusedError, as_provider_error
from orchestration.service.providers.kubernetes.watching import PodWatch

_MAX_HINTS = 100_000


@dataclass(frozen=True, slots=True)
class Found:
    """An instance's Pod, and where it is."""

    place: Place
    api: KubeApi
    pod: Json
    """Of a group the leader's."""
    group: Group | None = None
    """All of it, where the instance is one of several Pods."""

    @property
    def pods(self) -> tuple[Json, ...]:
        """Every Pod of the instance that there is."""
        return (self.pod,) if self.group is None else self.group.pods

    @property
    def path(self) -> str:
        """Of the Pod."""
        return path("pods", self.place.namespace, self.pod["metadata"]["name"])


class Clusters:
    """Connections to every cluster, made once."""

    def __init__(self, places: Places, owner: str) -> None:
        self._places = places
        self._owner = owner
        self._apis = {(place.credential, place.context): KubeApi(places.cluster(place)) for place in places.all}
        self._watches = {place: PodWatch(self.api(place), place.namespace, owner) for place in places.all}
        self._groups = {place: Groups(self.api(place), place.namespace, owner) for place in places.all}
        self._watching: list[asyncio.Task[None]] = []
        self._hints: dict[str, Place] = {}
        """By instance, where it was made or seen: there it is looked for, and nowhere else."""
        self._single: set[str] = set()
        """Instances that are made, or were seen, as one Pod: without it they are gone, whatever is known of groups."""

    @property
    def places(self) -> Sequence[Place]:
        """Every namespace of every cluster."""
        return self._places.all

    def by_cluster(self) -> Sequence[Sequence[Place]]:
        """The places, those of one cluster and set of credentials together."""
        found: dict[tuple[str, str], list[Place]] = {}
        for place in self.places:
            found.setdefault((place.credential, place.context), []).append(place)
        return list(found.values())

    def meant(self, credential: str, wanted: str) -> Sequence[Place]:
        """The places that replicas of a pool may run in, by what the pool says. Raises `InstanceRejectedError`."""
        return self._places.meant(credential, wanted)

    async def start(self) -> None:
        """Within the event loop that will use them; waits for nothing."""
        for api in self._apis.values():
            await api.start()
        self._watching = [asyncio.create_task(watch.run()) for watch in self._watches.values()]

    async def close(self) -> None:
        """End every connection."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for groups in self._groups.values():
            await groups.close()
        for api in self._apis.values():
            await api.close()

    def api(self, place: Place) -> KubeApi:
        """The API server of the place."""
        return self._apis[place.credential, place.context]

    def groups(self, place: Place) -> Groups:
        """The installation's LeaderWorkerSets there."""
        return self._groups[place]

    async def why_no_groups(self, place: Place) -> str:
        """Why none can be had there, or that it is not known; empty where they can."""
        try:
            return await self._groups[place].why_not()
        except ProviderError as error:
            return f"it is not known whether {place} takes one: {error.message}"

    def note_kind(self, instance: str, *, of_group: bool) -> None:
        """What is about to be made of the name, whatever it was before."""
        if of_group:
            self._single.discard(instance)
            return
        if len(self._single) >= _MAX_HINTS:
            self._single.clear()
        self._single.add(instance)

    def note(self, instance: str, place: Place) -> None:
        """Remember where it is."""
        if len(self._hints) >= _MAX_HINTS:
            self._hints.clear()  # nothing is lost but time
        self._hints[instance] = place

    async def find(self, instance: str) -> Found | None:
        """The instance's Pod.

        Raises `ProviderUnavailableError` when its cluster did not answer, or none has it and one did not answer.
        """
        hint = self._hints.get(instance)
        if hint is not None:  # it is nowhere else, so that other clusters may be away
            return await self.look(hint, instance)
        answers = await asyncio.gather(*(self.look(place, instance) for place in self.places), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, Found):
                self.note(instance, answer.place)
                return answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return None

    async def elsewhere(self, place: Place, instance: str) -> Found | None:
        """The instance's Pod in another place, as far as the others answer: what a pool says may be new since."""
        others = [other for other in self.places if other != place]
        answers = await asyncio.gather(*(self.look(other, instance) for other in others), return_exceptions=True)
        return next((answer for answer in answers if isinstance(answer, Found)), None)

    async def look(self, place: Place, instance: str) -> Found | None:
        """The instance's Pod in one place."""
        api = self.api(place)
        name = names.object_name(self._owner, instance)
        known = self._watches[place].get(name)
        try:
            pod = known or await api.get(path("pods", place.namespace, name))
            if pod is None:
                return None if instance in self._single else await self._look_for_group(place, instance)
        except RefusedError as refused:
            raise as_provider_error(refused, f"look at a replica in {place}") from refused
        if not self.is_ours(pod, instance):
            return None
        self.note_kind(instance, of_group=False)
        return Found(place, api, pod)

    async def _look_for_group(self, place: Place, instance: str) -> Found | None:
        group = await self._groups[place].look(instance)
        return None if group is None else Found(place, self.api(place), group.leader, group)

    async def delete_group(self, found: Found, group: Group) -> bool:
        """Ask for the end of all of a group; False when it is gone. Raises `ProviderError`."""
        try:
            return await self._groups[found.place].delete(group)
        except RefusedError as refused:
            raise as_provider_error(refused, f"delete a LeaderWorkerSet in {found.place}") from refused

    async def delete(
        self, found: Found, only_if: Mapping[str, str], grace_s: int | None = None, pod: Json | None = None
    ) -> bool:
        """Ask for the end of a Pod; False when it is gone, or not as the preconditions say. Raises `ProviderError`.

        ``pod``: one of a group.
        """
        name = (pod or found.pod)["metadata"]["name"]
        self._watches[found.place].touch(name)
        try:
            return await found.api.delete(path("pods", found.place.namespace, name), only_if, grace_s)
        except RefusedError as refused:
            raise as_provider_error(refused, f"delete a Pod in {found.place}") from refused

    def is_ours(self, pod: Json, instance: str) -> bool:
        """Whether the Pod is this installation's instance of the name."""
        return names.is_owned(pod, self._owner) and names.notes(pod).get(names.INSTANCE) == instance

    async def owned(self) -> list[Found]:
        """Every Pod of this installation, oldest first."""
        lists = await asyncio.gather(*(self._owned_in(place) for place in self.places))
        # By uid: several credentials may lead to one namespace.
        pods = {found.pod["metadata"]["uid"]: found for items in lists for found in items}
        return sorted(pods.values(), key=_age)

    async def _owned_in(self, place: Place) -> list[Found]:
        api = self.api(place)
        try:
            found = await api.find_all(path("pods", place.namespace), labelSelector=names.owner_selector(self._owner))
            pods = [pod for pod in found if names.is_owned(pod, self._owner)]
            groups = await self._groups[place].owned(pods)
        except RefusedError as refused:
            raise as_provider_error(refused, f"list replicas in {place}") from refused
        single = [Found(place, api, pod) for pod in pods if not is_of_group(pod)]
        return single + [Found(place, api, group.leader, group) for group in groups]


def _age(found: Found) -> tuple[float, str]:
    return names.noted_number(found.pod, names.CREATED_AT), found.pod["metadata"]["name"]
