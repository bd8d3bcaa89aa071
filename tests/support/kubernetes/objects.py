"""The objects of a cluster that is not there: kept in memory, changed by the rules of an API server."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str, str]
"""Resource, namespace (empty for nodes), name."""

KINDS = {
    "pods": "Pod",
    "services": "Service",
    "secrets": "Secret",
    "nodes": "Node",
    "leaderworkersets": "LeaderWorkerSet",
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_MERGED = ("labels", "annotations")


class StatusError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str, about: tuple[str, str] | None = None) -> None:
        """``about``: resource and name of what it is about."""
        super().__init__(message)
        self.code = code
        self.body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": {"kind": about[0], "name": about[1]} if about else {},
            "code": code,
        }


def stamp(ahead_s: float = 0.0) -> str:
    """Now, as the API writes it: to the second."""
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _invalid(resource: str, body: Json) -> str:
    """What an API server would not take of a new object, of what is looked at here."""
    if resource == "nodes":
        return ""
    if not _NAME.fullmatch(str(body["metadata"]["name"])):
        return "metadata.name: Invalid value"
    for key, value in body["metadata"].get("labels", {}).items():
        if not _LABEL.fullmatch(value):
            return f"metadata.labels: Invalid value: {value!r} of {key}"
    containers: list[Json] = body["spec"]["containers"] if resource == "pods" else []
    for container in containers:
        variables: list[Json] = container.get("env", [])
        for index, variable in enumerate(variables):
            if not _VARIABLE.fullmatch(variable["name"]):
                return f"spec.containers[0].env[{index}].name: Invalid value: {variable['name']!r}"
    return ""


class Objects:
    """Everything in the cluster."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = set(namespaces)
        self._items: dict[Key, Json] = {}
        self._versions = itertools.count(1)
        self._addresses = itertools.count(2)
        self.history: list[tuple[int, str, str, Json]] = []
        """Version, type, resource and object of each event, for watches."""
        self.compacted = 0
        """Versions before this are not known to watches any more."""

    def find(self, resource: str, namespace: str | None = None) -> Iterator[Json]:
        """All of a kind; None: of every namespace."""
        for (kind, where, _), item in list(self._items.items()):
            if kind == resource and namespace in {None, where}:
                yield item

    def get(self, resource: str, namespace: str, name: str) -> Json:
        """The object itself, not a copy. Raises `StatusError`."""
        try:
            return self._items[resource, namespace, name]
        except KeyError:
            raise StatusError(404, "NotFound", f'{resource} "{name}" not found', (resource, name)) from None

    def touch(self, item: Json) -> None:
        """It has changed."""
        self._changed(item, "MODIFIED")

    @property
    def version(self) -> int:
        """Of the last event."""
        return self.history[-1][0] if self.history else 0

    def _changed(self, item: Json, kind: str) -> None:
        version = next(self._versions)
        item["metadata"]["resourceVersion"] = str(version)
        self.history.append((version, kind, self._resource(item), deepcopy(item)))

    def _resource(self, item: Json) -> str:
        return next(key[0] for key, known in self._items.items() if known is item)

    def create(self, resource: str, namespace: str, body: Json, manager: str) -> Json:
        """A new object. Raises `StatusError`."""
        name = str(body["metadata"]["name"])
        if resource != "nodes" and namespace not in self.namespaces:
            raise StatusError(404, "NotFound", f'namespaces "{namespace}" not found', ("namespaces", namespace))
        if why := _invalid(resource, body):
            raise StatusError(422, "Invalid", f'{KINDS[resource]} "{name}" is invalid: {why}', (KINDS[resource], name))
        if (resource, namespace, name) in self._items:
            raise StatusError(409, "AlreadyExists", f'{resource} "{name}" already exists', (resource, name))
        item = deepcopy(body)
        item["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": stamp(),
            "managedFields": [{"manager": manager}],
        }
        item.setdefault("status", {"phase": "Pending"} if resource == "pods" else {})
        if resource == "services":
            item["spec"]["clusterIP"] = f"10.0.0.{next(self._addresses)}"
            if item["spec"].get("type") in {"NodePort", "LoadBalancer"}:
                item["spec"]["ports"][0]["nodePort"] = 30000 + next(self._addresses)
        self._items[resource, namespace, name] = item
        self._changed(item, "ADDED")
        return item

    def apply(self, resource: str, namespace: str, name: str, body: Json, manager: str) -> Json:
        """Server-side apply without force."""
        item = self._items.get((resource, namespace, name))
        if item is None:
            return self.create(resource, namespace, body, manager)
        others = [entry["manager"] for entry in item["metadata"]["managedFields"] if entry["manager"] != manager]
        if others:
            raise StatusError(409, "Conflict", f'Apply failed with 1 conflict: conflict with "{others[0]}": .data')
        for key in _MERGED:
            item["metadata"].setdefault(key, {}).update(body["metadata"].get(key, {}))
        item["metadata"]["ownerReferences"] = body["metadata"].get("ownerReferences", [])
        for key in ("data", "spec"):
            if key in body:
                item[key] = {**item.get(key, {}), **deepcopy(body[key])}
        self.touch(item)
        return item

    def mark_deleted(self, resource: str, namespace: str, name: str, options: Json) -> Json:
        """Begin the end of an object; what nothing keeps is gone at once. Raises `StatusError`."""
        item = self.get(resource, namespace, name)
        for key, value in options.get("preconditions", {}).items():
            if item["metadata"][key] != value:
                kind, has = KINDS[resource], item["metadata"][key]
                text = f"the {key} in the precondition ({value}) does not match the {key} in record ({has})"
                text = f'Operation cannot be fulfilled on {kind} "{name}": {text}'
                raise StatusError(409, "Conflict", text, (kind, name))
        grace = options.get("gracePeriodSeconds", item["spec"].get("terminationGracePeriodSeconds", 30))
        ended = item["status"].get("phase") in {"Failed", "Succeeded"}
        if options.get("propagationPolicy") == "Foreground":  # it stays until all that it owns is gone
            item["metadata"].setdefault("deletionTimestamp", stamp())
            self.touch(item)
        elif resource != "pods" or not grace or ended or not item["spec"].get("nodeName"):
            self.remove(resource, namespace, name)
        elif "deletionTimestamp" not in item["metadata"]:
            item["metadata"] |= {"deletionTimestamp": stamp(grace), "deletionGracePeriodSeconds": grace}
            self.touch(item)
        return item

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Gone, and with it what it owned, as the garbage collector does: Pods are asked to end."""
        item = self._items.get((resource, namespace, name))
        if item is None:
            return
        self._changed(item, "DELETED")
        del self._items[resource, namespace, name]
        uid = item["metadata"]["uid"]
        for key, other in list(self._items.items()):
            owners = other["metadata"].get("ownerReferences", [])
            if owners and all(owner["uid"] == uid for owner in owners):
                if key[0] == "pods":
                    self.mark_deleted(*key, {})
                else:
                    self.remove(*key)
