"""What objects in a cluster are called, how they tell whose they are, and how parts of them are found."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

Json = dict[str, Any]
"""An object of the Kubernetes API."""

PREFIX = "orchestration-gateway"
FIELD_MANAGER = "orchestration-gateway"
OWNER = f"{PREFIX}/owner"
INSTANCE = f"{PREFIX}/instance"
DEPLOYMENT_ID = f"{PREFIX}/deployment-id"
REPLICA_ID = f"{PREFIX}/replica-id"
PRICE = f"{PREFIX}/price-per-hour"
CREATED_AT = f"{PREFIX}/created-at"
DEPLOYMENT_LABELS = f"{PREFIX}/labels"
ROLE = f"{PREFIX}/role"
"""Label of the Pods of a group: `LEADER` or `WORKER`."""
LEADER, WORKER = "leader", "worker"
CONTAINER = "engine"
"""Name of the one container of a replica's Pod."""
_MAX_SLUG = 40
_MAX_GROUP_SLUG = 26
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def object_name(owner: str, instance: str) -> str:
    """Name of an instance's Pod, Service and Secret: a DNS label, the same at every call, no other instance's.

    >>> object_name("o", "r-1") == object_name("o", "r-1") != object_name("o", "r-2")
    True
    """
    slug = re.sub(r"[^a-z0-9]+", "-", instance.lower())[:_MAX_SLUG].strip("-")
    digest = hashlib.blake2s(f"{owner}\0{instance}".encode(), digest_size=8).hexdigest()
    return f"og-{slug}-{digest}" if slug else f"og-{digest}"


def group_name(owner: str, instance: str) -> str:
    """Name of an instance's LeaderWorkerSet: never that of its Service, as its controller makes one of its own name.

    At most 48 characters, as it begins the names of StatefulSets, and those with a hash are values of labels.
    """
    name = object_name(owner, instance)
    slug, _, digest = name.removeprefix("og-").rpartition("-")
    slug = slug[:_MAX_GROUP_SLUG].rstrip("-")
    return f"og-{slug}-{digest}-g" if slug else f"og-{digest}-g"


def label_value(text: str) -> str:
    """The text where it can be a label's value, else what stands for it."""
    return text if _LABEL_VALUE.fullmatch(text) else hashlib.blake2s(text.encode(), digest_size=16).hexdigest()


def is_json(value: object) -> TypeGuard[Json]:
    """Whether a value read from JSON is an object."""
    return isinstance(value, dict)


def part(item: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The object below these keys; empty where one is absent or null."""
    for key in keys:
        item = item.get(key) or {}
    return item


def listed(item: Mapping[str, Any], key: str) -> list[Any]:
    """The list at a key; empty where it is absent or null."""
    return item.get(key) or []


def owner_selector(owner: str) -> str:
    """Selects every object of the installation."""
    return f"{OWNER}={label_value(owner)}"


def notes(item: Mapping[str, Any]) -> Mapping[str, str]:
    """The object's annotations."""
    return part(item, "metadata", "annotations")


def noted_number(item: Mapping[str, Any], key: str) -> float:
    """A number among the annotations, 0.0 or more; 0.0 where there is none, or somebody wrote something else."""
    try:
        value = float(notes(item).get(key) or 0.0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


def is_owned(item: Mapping[str, Any], owner: str) -> bool:
    """Whether the installation made the object; its labels alone may stand for another tag."""
    return notes(item).get(OWNER) == owner
