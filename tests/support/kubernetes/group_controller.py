"""The controller of LeaderWorkerSets: it makes the Pods of each, and makes those again that go, while the set is there.

As older ones do also of a set that is to end in the foreground, which therefore never does.

The StatefulSets between a LeaderWorkerSet and its Pods are left out, but what they refuse is refused.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy

from tests.support.kubernetes.kubelet import Kubelet
from tests.support.kubernetes.objects import Json, Objects, StatusError

_POLL_S = 0.02
_LONGEST_NAME = 63 - len("-0") - len("-0123456789")
"""A StatefulSet is called as the set with the group's number, and its hash is part of a label."""
LABEL = "leaderworkerset.sigs.k8s.io"


class GroupController:
    """Looks after every LeaderWorkerSet."""

    def __init__(self, objects: Objects, kubelet: Kubelet) -> None:
        self._objects = objects
        self._kubelet = kubelet
        self._tasks: list[asyncio.Task[None]] = []
        self.paused = False
        """It is not there."""
        self.most = 100
        """Pods of a set that a quota lets it make."""

    def wake(self, item: Json) -> None:
        """A LeaderWorkerSet was made: look after it to its end. Raises `StatusError` for what cannot be."""
        templates = item["spec"]["leaderWorkerTemplate"]
        for key in ("leaderTemplate", "workerTemplate"):
            if templates[key]["spec"]["restartPolicy"] != "Always":
                raise StatusError(422, "Invalid", f'{key}.spec.restartPolicy: Unsupported value: supported: "Always"')
        if templates["restartPolicy"] != "None":
            raise StatusError(422, "Invalid", "this controller knows no other policy than None")
        if len(item["metadata"]["name"]) > _LONGEST_NAME:
            raise StatusError(422, "Invalid", "controller-revision-hash: must be no more than 63 characters")
        self._tasks.append(asyncio.create_task(self._look_after(item)))

    async def close(self) -> None:
        """Look after nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_after(self, item: Json) -> None:
        while any(found is item for found in self._objects.find("leaderworkersets", item["metadata"]["namespace"])):
            if not self.paused:
                self._make(item, {pod["metadata"]["name"]: pod for pod in self._pods(item)})
            await asyncio.sleep(_POLL_S)

    def _pods(self, item: Json) -> list[Json]:
        uid = item["metadata"]["uid"]
        return [
            pod
            for pod in self._objects.find("pods", item["metadata"]["namespace"])
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", []))
        ]

    def _make(self, item: Json, there: dict[str, Json]) -> None:
        """The Pods that are not there."""
        metadata, spec = item["metadata"], item["spec"]["leaderWorkerTemplate"]
        leader = f"{metadata['name']}-0"
        for number in range(min(spec["size"], self.most)):
            name = f"{leader}-{number}" if number else leader
            if name in there:
                continue
            template = deepcopy(spec["workerTemplate" if number else "leaderTemplate"])
            labels = {f"{LABEL}/name": metadata["name"], f"{LABEL}/worker-index": str(number)}
            template["metadata"] |= {"name": name, "ownerReferences": [{"uid": metadata["uid"]}]}
            template["metadata"]["labels"] |= labels
            address = f"{leader}.{metadata['name']}.{metadata['namespace']}"
            told = {"LWS_LEADER_ADDRESS": address, "LWS_GROUP_SIZE": str(spec["size"]), "LWS_WORKER_INDEX": str(number)}
            (container,) = template["spec"]["containers"]
            container["env"] = [{"name": key, "value": value} for key, value in told.items()] + container["env"]
            self._kubelet.wake(self._objects.create("pods", metadata["namespace"], template, "statefulset-controller"))
