"""What nodes have, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestration.service.domain import gpu
from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec, Resource
from orchestration.service.providers.ray.answers import RESERVED, Job, Node
from orchestration.service.providers.ray.settings import ClusterSettings, RaySettings

ACCELERATOR_LABEL = "ray.io/accelerator-type"
_ACCELERATOR_RESOURCE = "accelerator_type:"
_REGION_LABEL = "ray.io/region"
_ID_DIGITS = 12
"""Of a node's id of 56 hexadecimal digits, enough to tell nodes apart and still be read."""
_GIB = 1024**3
EPSILON = 1e-6


def gpu_type(node: Node) -> str:
    """The type of the node's GPUs as Ray calls it; empty when it does not say."""
    if ACCELERATOR_LABEL in node.labels:
        return node.labels[ACCELERATOR_LABEL]
    kinds = (key for key in node.resources_total if key.startswith(_ACCELERATOR_RESOURCE))
    return next((key.removeprefix(_ACCELERATOR_RESOURCE) for key in kinds), "")


def region(node: Node, settings: RaySettings) -> str:
    """Where the node stands."""
    return node.labels.get(_REGION_LABEL, settings.region)


def resource_id(cluster: ClusterSettings, node: Node) -> str:
    """What the node is called as an offer."""
    short = node.node_id[:_ID_DIGITS]
    return f"{cluster.name}/{short}" if cluster.name else short


def needs(settings: RaySettings, gpus: int) -> dict[str, float]:
    """What a replica reserves of its node, by Ray's name of the resource; memory in bytes."""
    memory = settings.memory_gb_per_replica * _GIB
    return {"CPU": settings.cpus_per_replica, "GPU": float(gpus), "memory": float(int(memory))}


@dataclass(frozen=True, slots=True)
class Room:
    """A node that is alive, and what is free on it: less than Ray says where our own jobs are not counted yet."""

    node: Node
    free: Mapping[str, float]

    def total(self, kind: str) -> float:
        """How much of a resource the node has."""
        return self.node.resources_total.get(kind, 0.0)

    def replicas(self, settings: RaySettings) -> int:
        """How many more of the smallest replicas it takes: with one GPU where it has any."""
        each = needs(settings, 1 if self.total("GPU") else 0)
        return max(0, min(int(self.free[kind] / amount + EPSILON) for kind, amount in each.items() if amount))

    def lacks(self, needed: Mapping[str, float]) -> str:
        """What there is too little of; empty when it has room."""
        for kind, amount in needed.items():
            if amount > self.free[kind] + EPSILON:
                return f"{self.free[kind]:g} of {self.total(kind):g} {kind} free, {amount:g} needed"
        return ""


def rooms(nodes: Iterable[Node], used: Mapping[str, Mapping[str, float]], jobs: Iterable[Job]) -> list[Room]:
    """The nodes that are alive; ``used`` is what Ray says of each, which lags, ``jobs`` are all there are."""
    ours: dict[str, list[Job]] = {}
    for job in jobs:
        for node_id in job.planned_on if job.live else ():
            ours.setdefault(node_id, []).append(job)

    def taken(node: Node, kind: str) -> float:
        told = used.get(node.node_id, {}).get(kind, 0.0)
        # Of a replica over several nodes each has GPUs, and the job itself is on one of them.
        jobs_here = [job for job in ours.get(node.node_id, ()) if kind == "GPU" or job.node_id == node.node_id]
        return max(told, sum(job.number(RESERVED[kind]) for job in jobs_here))

    return [
        Room(node, {kind: node.resources_total.get(kind, 0.0) - taken(node, kind) for kind in RESERVED})
        for node in nodes
        if node.alive
    ]


def to_resource(provider: str, cluster: ClusterSettings, settings: RaySettings, room: Room) -> Resource:
    """The node as an offer: its price is that of one GPU, since replicas share it."""
    node, total = room.node, room.node.resources_total
    gpus = int(total.get("GPU", 0))
    return Resource(
        provider=provider,
        provider_resource_id=resource_id(cluster, node),
        gpu_type=gpu_type(node) if gpus else "",
        gpu_count=gpus,
        vcpu=int(total.get("CPU", 0)),
        ram_gb=round(total.get("memory", 0.0) / _GIB, 1),
        region=region(node, settings),
        pricing_model="fixed",
        price_per_hour=settings.price_per_gpu_hour if gpus else 0.0,
        available_count=room.replicas(settings),
        metadata={
            "slug": cluster.title,
            "node_id": node.node_id,
            "node_ip": node.node_ip,
            **{f"label.{key}": value for key, value in node.labels.items() if key != "ray.io/node-id"},
        },
    )


def choose(spec: InstanceSpec, settings: RaySettings, cluster: ClusterSettings, found: Sequence[Room]) -> Node:
    """The node for a replica: the one that was chosen for it, else that with the fewest GPUs left that has room.

    Raises `CapacityError`, and `InstanceRejectedError` when the cluster's largest node is too small for it.
    """
    fitting = [room for room in found if _allowed(spec, room.node)]
    wanted = [room for room in fitting if spec.resource_id in {"", resource_id(cluster, room.node)}]
    if not wanted:
        node = f"node {spec.resource_id!r}" if spec.resource_id else f"node with GPUs {', '.join(spec.gpu_types)}"
        raise CapacityError(f"Ray cluster {cluster.title!r} has no {node} that is alive", reason="NODE_GONE")
    largest = max(int(room.total("GPU")) for room in wanted)
    if spec.gpu_count > largest:
        text = f"gpu_per_replica {spec.gpu_count} is more than the {largest} GPUs of a node of Ray cluster "
        raise InstanceRejectedError(
            "MULTI_NODE_NOT_SUPPORTED", f"{text}{cluster.title!r}: on this offer it runs on one node"
        )
    needed = needs(settings, spec.gpu_count)
    for room in sorted(wanted, key=lambda room: (room.free["GPU"], room.free["CPU"])):
        if not room.lacks(needed):
            return room.node
    lacks = wanted[0].lacks(needed)
    raise CapacityError(f"node {resource_id(cluster, wanted[0].node)!r} of Ray cluster {cluster.title!r} has {lacks}")


def _allowed(spec: InstanceSpec, node: Node) -> bool:
    return not spec.gpu_count or gpu.allowed(gpu_type(node), spec.gpu_types)
