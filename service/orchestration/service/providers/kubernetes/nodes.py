"""Nodes of a cluster: which take replicas, and what they have left."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestration.service.providers.base import Resource
from orchestration.service.providers.kubernetes.names import Json, listed, part
from orchestration.service.providers.kubernetes.quantities import amount, quantity
from orchestration.service.providers.kubernetes.settings import KubernetesSettings

REGION_LABEL = "topology.kubernetes.io/region"
CPU = "cpu"
UNKNOWN_TYPE = "gpu"
"""In ids of offers, for GPUs whose node does not tell what they are."""
_GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
_MOST_GPUS = 1024
"""Of a node; each number of them is an offer. Far more than there are, also where each is shared by many."""
_KIND = re.compile(r"(.+)x([0-9]{1,9})(?:n([0-9]{1,9}))?")
_MEMORY_MIB = re.compile(r"[0-9]{1,9}")
AS_MANY_AS_COME = 1000
"""Available where an autoscaler brings nodes: how many, it does not tell."""
_ENDED = {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What counts of one node."""

    name: str
    ready: bool
    takes: bool
    """Neither cordoned nor tainted against replicas, and meant by the node selector."""
    gpu_type: str
    gpus: int
    gpu_memory_gb: float
    cpus: float
    ram_gb: float
    pods: int
    region: str


@dataclass(frozen=True, slots=True)
class Held:
    """What one Pod holds."""

    node: str
    """Where it is; empty: nowhere yet."""
    gpus: float
    cpus: float
    ram: float
    """Bytes."""


@dataclass(frozen=True, slots=True)
class OfferId:
    """What an offer's id says."""

    place: str
    gpu_type: str
    """As the nodes' label has it; empty: no GPU, or one of no known type."""
    gpus: int
    """Of all nodes."""
    region: str
    nodes: int = 1
    """Over how many."""

    def __str__(self) -> str:
        over = f"n{self.nodes}" if self.nodes > 1 else ""
        return (
            f"{self.place}#{self.gpu_type or UNKNOWN_TYPE}x{self.gpus}{over}#{self.region}"
            if self.gpus
            else (f"{self.place}#{CPU}#{self.region}")
        )


def parse_offer(text: str) -> OfferId | None:
    """The offer of an id, None when it is none of ours.

    >>> str(parse_offer("here/ns#NVIDIA-L4x2#eu")), parse_offer("here/ns#cpu#").gpus
    ('here/ns#NVIDIA-L4x2#eu', 0)
    >>> parse_offer("here/ns#NVIDIA-L4x8n2#").nodes
    2
    """
    parts = text.rsplit("#", 2)
    if len(parts) != 3:
        return None
    place, kind, region = parts
    if kind == CPU:
        return OfferId(place, "", 0, region)
    match = _KIND.fullmatch(kind)
    if match is None:
        return None
    gpu_type, gpus, over = match.groups()
    return OfferId(place, "" if gpu_type == UNKNOWN_TYPE else gpu_type, int(gpus), region, int(over or 1))


def to_node(item: Json, settings: KubernetesSettings) -> Node:
    """The node of an object of the API."""
    spec, labels, has = part(item, "spec"), part(item, "metadata", "labels"), part(item, "status", "allocatable")
    conditions: list[Json] = listed(part(item, "status"), "conditions")
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    taints: list[Json] = listed(spec, "taints")
    hard = [taint for taint in taints if taint.get("effect") != "PreferNoSchedule"]
    tolerated = all(any(item.tolerates(taint) for item in settings.tolerations) for taint in hard)
    selected = all(labels.get(key) == value for key, value in settings.node_selector.items())
    return Node(
        name=item["metadata"]["name"],
        ready=ready,
        takes=ready and tolerated and selected and not spec.get("unschedulable"),
        gpu_type=labels.get(settings.gpu_type_label, ""),
        gpus=min(int(amount(has.get(settings.gpu_resource))), _MOST_GPUS),
        gpu_memory_gb=_gpu_memory_gb(labels.get(_GPU_MEMORY_LABEL)),
        cpus=amount(has.get("cpu")),
        ram_gb=amount(has.get("memory")) / 2**30,
        pods=int(amount(has.get("pods"))),
        region=labels.get(REGION_LABEL, ""),
    )


def _gpu_memory_gb(label: object) -> float:
    """GiB of a label of MiB, as NVIDIA's feature discovery writes it; 0.0 for whatever else somebody wrote."""
    text = str(label)
    return int(text) / 1024 if _MEMORY_MIB.fullmatch(text) else 0.0


def to_held(pod: Json, settings: KubernetesSettings) -> Held:
    """What the Pod of an object of the API holds; nothing once it has ended."""
    node = sys.intern(str(part(pod, "spec").get("nodeName") or ""))  # that of many Pods
    if part(pod, "status").get("phase") in _ENDED:
        return Held(node, 0.0, 0.0, 0.0)
    return Held(node, _requested(pod, settings.gpu_resource), _requested(pod, "cpu"), _requested(pod, "memory"))


def _requested(pod: Json, resource: str) -> float:
    """How much of it the Pod's containers hold."""
    held = 0.0
    containers: list[Json] = listed(part(pod, "spec"), "containers")
    for one in containers:
        asked = part(one, "resources", "requests") or part(one, "resources", "limits")
        held += amount(asked.get(resource))
    return held


def used(amounts: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    """By node, how much is held of something: the sum of these, each with the node's name."""
    held: dict[str, float] = defaultdict(float)
    for name, taken in amounts:
        held[name] += taken
    return held


def resources(
    provider: str, place: str, nodes: Sequence[Node], pods: Sequence[Held], settings: KubernetesSettings
) -> list[Resource]:
    """What replicas can have here: for each type of GPU and region, one offer for each number of them.

    An offer is what one replica takes, and not a node, so that several share one. Offers of the same GPUs overlap.
    """
    open_nodes = [node for node in nodes if node.takes]
    offers = _gpu_offers(provider, place, open_nodes, used((pod.node, pod.gpus) for pod in pods), settings)
    return [*offers, *_cpu_offers(provider, place, open_nodes, pods, settings)]


def _gpu_offers(
    provider: str, place: str, nodes: Sequence[Node], held: Mapping[str, float], settings: KubernetesSettings
) -> list[Resource]:
    found: list[Resource] = []
    for (kind, region), members in sorted(by_kind(nodes, settings).items()):
        most = max([node.gpus for node in members] + [settings.autoscaled.get(kind, 0)])
        for count in range(1, most + 1):
            free = sum(int((node.gpus - held.get(node.name, 0.0)) // count) for node in members)
            largest = max(members, key=lambda node: node.gpu_memory_gb, default=None)
            found.append(
                Resource(
                    provider=provider,
                    provider_resource_id=str(OfferId(place, kind, count, region)),
                    gpu_type=kind,
                    gpu_count=count,
                    gpu_memory_gb=round(largest.gpu_memory_gb, 1) if largest else 0.0,
                    region=region,
                    price_per_hour=settings.gpu_price(kind) * count,
                    available_count=AS_MANY_AS_COME if settings.autoscaling else max(0, free),
                    metadata={"slug": place, "nodes": str(len(members))},
                )
            )
    return found


def by_kind(nodes: Sequence[Node], settings: KubernetesSettings) -> dict[tuple[str, str], list[Node]]:
    """Nodes with GPUs by type and region, with the types of which nodes may come."""
    kinds: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in nodes:
        if node.gpus:
            kinds[node.gpu_type, node.region].append(node)
    for kind in settings.autoscaled:
        if not any(gpu_type == kind for gpu_type, _ in kinds):
            kinds[kind, ""] = []
    return kinds


def _cpu_offers(
    provider: str, place: str, nodes: Sequence[Node], pods: Sequence[Held], settings: KubernetesSettings
) -> list[Resource]:
    each, held = quantity(settings.cpu), used((pod.node, pod.cpus) for pod in pods)
    count = Counter(pod.node for pod in pods)
    found: list[Resource] = []
    for region in sorted({node.region for node in nodes}):
        members = [node for node in nodes if node.region == region]
        free = sum(
            max(0, min(int((node.cpus - held.get(node.name, 0.0)) // each), node.pods - count[node.name]))
            for node in members
        )
        found.append(
            Resource(
                provider=provider,
                provider_resource_id=str(OfferId(place, "", 0, region)),
                vcpu=max(1, int(each)),
                ram_gb=round(quantity(settings.memory) / 2**30, 1) if settings.memory else 0.0,
                region=region,
                price_per_hour=settings.price_per_hour,
                available_count=AS_MANY_AS_COME if settings.autoscaling else free,
                metadata={"slug": place, "nodes": str(len(members))},
            )
        )
    return found
