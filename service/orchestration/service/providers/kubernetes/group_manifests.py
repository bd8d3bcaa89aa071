"""The objects that make one replica over several nodes: a LeaderWorkerSet, and the Secret and Service beside it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from orchestration.service.engines.keys import GPUS_PER_NODE, LEADER, NODE_RANK, NODES
from orchestration.service.engines.over_nodes import filled
from orchestration.service.providers.base import InstanceRejectedError, InstanceSpec
from orchestration.service.providers.kubernetes import manifests, names
from orchestration.service.providers.kubernetes.api import GROUP_VERSION
from orchestration.service.providers.kubernetes.names import Json
from orchestration.service.providers.kubernetes.settings import KubernetesSettings
from orchestration.service.providers.spans import Span

KIND = "LeaderWorkerSet"
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_TOLD = {
    "ORCHESTRATION_NODES": NODES,
    "ORCHESTRATION_GPUS_PER_NODE": GPUS_PER_NODE,
    "ORCHESTRATION_NODE_RANK": NODE_RANK,
    "ORCHESTRATION_LEADER": LEADER,
}
# Variables that the controller puts before all others of each container; the kubelet fills them in.
_BY_THE_KUBELET = {NODE_RANK: "$(LWS_WORKER_INDEX)", LEADER: "$(LWS_LEADER_ADDRESS)"}


def leader_worker_set(
    spec: InstanceSpec, settings: KubernetesSettings, span: Span, *, selector: dict[str, str], price: float, now: float
) -> Json:
    """The LeaderWorkerSet: one group, of a leader that serves and workers with as many GPUs each.

    Raises as `manifests.pod`, and `InstanceRejectedError` for a variable that is the group's.
    """
    for name in spec.env:
        if name in _TOLD or name.startswith("LWS_"):
            text = f"env: {name} is set for replicas over several nodes; leave it out of the deployment's env"
            raise InstanceRejectedError("RESERVED_VARIABLE", text)

    def template(role: str, command: tuple[str, ...]) -> Json:
        sizes = {NODES: str(span.nodes), GPUS_PER_NODE: str(span.each)}
        part = replace(spec, gpu_count=span.each, command=filled(command, sizes))
        pod = manifests.pod(part, settings, selector=selector, price=price, now=now)
        return _template(pod, role, sizes)

    leader = template(names.LEADER, spec.over_nodes.leader)
    metadata = deepcopy(leader["metadata"])
    del metadata["labels"][names.ROLE]
    body = {
        "replicas": 1,
        "startupPolicy": "LeaderCreated",
        "leaderWorkerTemplate": {
            "size": span.nodes,
            # The controller is not to make the group anew: attempts are the gateway's, and it reads how one ended.
            "restartPolicy": "None",
            "leaderTemplate": leader,
            "workerTemplate": template(names.WORKER, spec.over_nodes.worker),
        },
    }
    metadata["name"] = names.group_name(spec.owner, spec.name)
    return {"apiVersion": GROUP_VERSION, "kind": KIND, "metadata": metadata, "spec": body}


def _template(pod: Json, role: str, sizes: dict[str, str]) -> Json:
    """A Pod as a template of the group's."""
    metadata, body = pod["metadata"], pod["spec"]
    del metadata["name"]
    metadata["labels"][names.ROLE] = role
    body["restartPolicy"] = "Always"  # StatefulSets, which make the Pods, take no other
    (container,) = body["containers"]
    container["command"] = list(filled(tuple(container["command"]), _BY_THE_KUBELET))
    told = filled(tuple(_TOLD.values()), {**sizes, **_BY_THE_KUBELET})
    container["env"] += [{"name": name, "value": value} for name, value in zip(_TOLD, told, strict=True)]
    if role == names.WORKER:  # it serves nothing
        del container["ports"]
        for probe in _PROBES:
            del container[probe]
    return {"metadata": metadata, "spec": body}


def secret(spec: InstanceSpec, made: Json) -> Json:
    """The environment of all Pods, as `manifests.secret`; it goes with the LeaderWorkerSet."""
    return _owned(manifests.secret(spec, made["metadata"]["uid"]), made)


def service(spec: InstanceSpec, settings: KubernetesSettings, made: Json) -> Json:
    """The Service that leads to the leader."""
    item = _owned(manifests.service(spec, settings, made["metadata"]["uid"]), made)
    item["spec"]["selector"][names.ROLE] = names.LEADER
    return item


def _owned(item: Json, made: Json) -> Json:
    reference = {"apiVersion": GROUP_VERSION, "kind": KIND, "name": made["metadata"]["name"]}
    item["metadata"]["ownerReferences"] = [{**reference, "uid": made["metadata"]["uid"]}]
    return item
