"""What replicas larger than a node can have: one offer for each number of GPUs that some nodes have together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from orchestration.service.engines.base import GROUP
from orchestration.service.providers.base import Resource
from orchestration.service.providers.kubernetes.nodes import AS_MANY_AS_COME, Held, Node, OfferId, by_kind, used
from orchestration.service.providers.kubernetes.settings import KubernetesSettings
from orchestration.service.providers.spans import MOST_NODES, Span, spans


def with_groups(
    offers: Iterable[Resource],
    place: str,
    nodes: Sequence[Node],
    pods: Iterable[Held],
    settings: KubernetesSettings,
    why_not: str,
) -> list[Resource]:
    """The place's offers with those of several nodes; ``why_not``: why there can be none, empty where they can."""
    if why_not:
        return [replace(offer, one_node_because=why_not) for offer in offers]
    single = [replace(offer, more_machines=_more(offer, settings)) for offer in offers]
    held = used((pod.node, pod.gpus) for pod in pods)
    largest = {(item.gpu_type, item.region): item for item in single if item.gpu_count}  # they come smallest first
    return single + [
        _offer(largest[key], place, span, members, held, settings)
        for key, members in sorted(by_kind([node for node in nodes if node.takes], settings).items())
        for span in spans(_sizes(key[0], members, settings))
    ]


def _more(offer: Resource, settings: KubernetesSettings) -> str:
    """What an operator may say whose autoscaler brings nodes of the type."""
    kind = offer.gpu_type
    if not kind or not settings.autoscaling or kind in settings.autoscaled:
        return ""
    return (
        f"where an autoscaler brings more, set autoscaled.{kind} in [providers.kubernetes] to the GPUs of one of them"
    )


def _sizes(kind: str, members: Sequence[Node], settings: KubernetesSettings) -> list[int]:
    coming = settings.autoscaled.get(kind, 0)
    return [node.gpus for node in members] + [coming] * (MOST_NODES if coming else 0)


def _offer(
    like: Resource,
    place: str,
    span: Span,
    members: Sequence[Node],
    held: Mapping[str, float],
    settings: KubernetesSettings,
) -> Resource:
    free = sum(max(0, int((node.gpus - held.get(node.name, 0.0)) // span.each)) for node in members) // span.nodes
    return replace(
        like,
        provider_resource_id=str(OfferId(place, like.gpu_type, span.gpus, like.region, span.nodes)),
        gpu_count=span.gpus,
        price_per_hour=settings.gpu_price(like.gpu_type) * span.gpus,
        available_count=AS_MANY_AS_COME if settings.autoscaling else free,
        metadata={**like.metadata, "machines": str(span.nodes), "gpus_per_machine": str(span.each)},
        nodes=span.nodes,
        way=GROUP,
    )
