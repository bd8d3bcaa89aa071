"""Replicas that are larger than a node: what several nodes have together, and which of them one is planned on.

The job of such a replica reserves no GPU. Its engine asks Ray for them itself, by a placement group: where the workers
really are is Ray's to say, and what is counted here until Ray tells what is taken is the plan.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from orchestration.service.engines.base import RAY
from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec, Resource
from orchestration.service.providers.ray.answers import Node
from orchestration.service.providers.ray.rooms import EPSILON, Room, gpu_type, needs, region, to_resource
from orchestration.service.providers.ray.settings import ClusterSettings, RaySettings
from orchestration.service.providers.spans import Span, spans

_ID = re.compile(r"(?:.*/)?[^/]*x(?P<gpus>[0-9]{1,9})n(?P<nodes>[0-9]{1,9})@[^/]*")
_NO_TYPE = "gpu"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a replica is to run: the job on the first of the nodes, so many GPUs on each."""

    nodes: tuple[Node, ...]
    each: int


def span_of(resource_id: str) -> Span | None:
    """What an offer is of; None: one node.

    >>> span_of("east/A100x16n2@eu"), span_of("east/0123456789ab")
    (Span(nodes=2, each=8), None)
    """
    match = _ID.fullmatch(resource_id)
    if match is None:
        return None
    gpus, nodes = int(match["gpus"]), int(match["nodes"])
    return Span(nodes, gpus // nodes) if nodes > 1 and gpus % nodes == 0 else None


def offers(provider: str, cluster: ClusterSettings, settings: RaySettings, found: Iterable[Room]) -> list[Resource]:
    """One offer for each number of GPUs that nodes of one type and region have together, and no node alone."""
    kinds: dict[tuple[str, str], list[Room]] = defaultdict(list)
    for room in found:
        if room.total("GPU") >= 1 and room.total("CPU") >= settings.cpus_per_replica:
            kinds[gpu_type(room.node), region(room.node, settings)].append(room)
    return [
        _offer(to_resource(provider, cluster, settings, members[0]), cluster, settings, members, span)
        for _, members in sorted(kinds.items())
        for span in spans(int(room.total("GPU")) for room in members)
    ]


def _offer(
    like: Resource, cluster: ClusterSettings, settings: RaySettings, members: Sequence[Room], span: Span
) -> Resource:
    return replace(
        like,
        provider_resource_id=_resource_id(cluster, like.gpu_type, like.region, span),
        gpu_count=span.gpus,
        vcpu=0,
        ram_gb=0.0,
        price_per_hour=settings.price_per_gpu_hour * span.gpus,
        available_count=len([room for room in members if _takes(room, span.each)]) // span.nodes,
        metadata={"slug": cluster.title, "machines": str(span.nodes), "gpus_per_machine": str(span.each)},
        nodes=span.nodes,
        way=RAY,
    )


def _resource_id(cluster: ClusterSettings, kind: str, where: str, span: Span) -> str:
    name = f"{quote(kind or _NO_TYPE, safe='')}x{span.gpus}n{span.nodes}@{quote(where, safe='')}"
    return f"{cluster.name}/{name}" if cluster.name else name


def _takes(room: Room, each: int) -> bool:
    return room.free["GPU"] + EPSILON >= each


def choose_several(
    spec: InstanceSpec, settings: RaySettings, cluster: ClusterSettings, found: Sequence[Room], span: Span
) -> Plan:
    """The nodes for a replica: those with the fewest GPUs left that have room, and the job where it has CPUs.

    Raises `CapacityError`, and `InstanceRejectedError` for an engine that cannot place itself over Ray.
    """
    if not spec.over_nodes.ray:
        text = (
            f"gpu_per_replica {spec.gpu_count} is more than the GPUs of a node of Ray cluster {cluster.title!r}, and "
        )
        text += f"engine {spec.engine} as it is configured cannot place itself over several nodes by Ray"
        raise InstanceRejectedError("GPU_COUNT_EXCEEDED", text)
    if spec.gpu_count != span.gpus:
        text = f"gpu_per_replica {spec.gpu_count} is not the {span.gpus} of the offer {spec.resource_id!r}"
        raise InstanceRejectedError("GPU_COUNT_NOT_ALLOWED", text)
    each = span.each
    meant = [
        room
        for room in found
        if _resource_id(cluster, gpu_type(room.node), region(room.node, settings), span) == spec.resource_id
    ]
    takes = sorted(
        (room for room in meant if _takes(room, each)), key=lambda room: (room.free["GPU"], room.free["CPU"])
    )
    drivers = [room for room in takes if not room.lacks(needs(settings, 0))]
    if len(takes) < span.nodes or not drivers:
        what = f"{span.nodes} nodes with {each} GPUs free each" if drivers or not takes else "a node with free CPUs"
        raise CapacityError(f"Ray cluster {cluster.title!r} has not {what} for the offer {spec.resource_id!r}")
    first = drivers[0]
    others = [room for room in takes if room is not first][: span.nodes - 1]
    return Plan((first.node, *(room.node for room in others)), each)
