"""The objects that make one replica: a Pod, and a Secret and a Service that go when it goes."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping

from orchestration.service.providers.base import InstanceRejectedError, InstanceSpec
from orchestration.service.providers.kubernetes import names
from orchestration.service.providers.kubernetes.names import Json
from orchestration.service.providers.kubernetes.settings import KubernetesSettings

_PORT = 8000
_HOST = "0.0.0.0"
_WEIGHTS = "/weights"
_CACHES = {
    "HF_HOME": f"{_WEIGHTS}/huggingface",
    "HUGGINGFACE_HUB_CACHE": f"{_WEIGHTS}/huggingface/hub",  # set by the images of TGI and TEI, and stronger there
    "LLAMA_CACHE": f"{_WEIGHTS}/llama.cpp",
    "OLLAMA_MODELS": f"{_WEIGHTS}/ollama",
}
"""Where engines put what they load, unless the caller says otherwise."""
_NOT_IN_PATH = {"llamacpp": "llama-server"}
"""Images whose program is found by their entry point alone."""
_STARTUP_PERIOD_S = 5
_STARTUP_MARGIN_S = 60
_DEFAULT_STARTUP_S = 1800.0


def port(spec: InstanceSpec) -> int:
    """Where the engine listens; each Pod has an address of its own, so that it is the same in all of them."""
    return spec.port or spec.container_port or _PORT


def pod(
    spec: InstanceSpec, settings: KubernetesSettings, *, selector: Mapping[str, str], price: float, now: float
) -> Json:
    """The Pod. It is never restarted in place: each attempt is one Pod, and its exit code is kept until it is deleted.

    Raises `InstanceRejectedError` when there is no image to run, or a variable is set that is not the caller's to set.
    """
    if not spec.image:
        text = f"engine {spec.engine!r} has no image of its own: set configuration.image to run it on kubernetes"
        raise InstanceRejectedError("IMAGE_REQUIRED", text)
    body: Json = {
        "restartPolicy": "Never",
        # Not 0: such a Pod is forgotten while its container may still hold the GPUs.
        "terminationGracePeriodSeconds": max(1, math.ceil(spec.stop_grace_s)),
        "enableServiceLinks": False,  # variables such as VLLM_PORT, made of the names of Services, confuse engines
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(spec, settings)],
        "volumes": _volumes(spec, settings),
        "tolerations": [
            {
                "key": item.key,
                "operator": "Equal" if item.value else "Exists",
                **({"value": item.value} if item.value else {}),
                **({"effect": item.effect} if item.effect else {}),
            }
            for item in settings.tolerations
        ],
        "nodeSelector": {**settings.node_selector, **selector},
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    if settings.runtime_class:
        body["runtimeClassName"] = settings.runtime_class
    metadata = _metadata(spec)
    metadata["annotations"] |= {names.PRICE: f"{price:g}", names.CREATED_AT: repr(now)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def secret(spec: InstanceSpec, pod_uid: str) -> Json:
    """The environment of the Pod: it may hold keys and tokens, and whoever may see Pods need not see those."""
    data = {name: base64.b64encode(value.encode()).decode() for name, value in _environment(spec).items()}
    metadata = _metadata(spec, pod_uid)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def service(spec: InstanceSpec, settings: KubernetesSettings, pod_uid: str) -> Json:
    """The Service that leads to the Pod."""
    kinds = {"node_port": "NodePort", "load_balancer": "LoadBalancer"}
    body: Json = {
        "type": kinds.get(settings.endpoint, "ClusterIP"),
        "selector": {names.INSTANCE: names.object_name(spec.owner, spec.name)},
        "ports": [{"name": "http", "port": port(spec), "targetPort": port(spec), "protocol": "TCP"}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(spec, pod_uid), "spec": body}


def _metadata(spec: InstanceSpec, pod_uid: str = "") -> Json:
    name = names.object_name(spec.owner, spec.name)
    metadata: Json = {
        "name": name,
        "labels": {
            "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
            "app.kubernetes.io/name": spec.engine,
            names.OWNER: names.label_value(spec.owner),
            names.INSTANCE: name,
            names.DEPLOYMENT_ID: names.label_value(spec.deployment_id),
        },
        "annotations": {
            names.OWNER: spec.owner,
            names.INSTANCE: spec.name,
            names.DEPLOYMENT_ID: spec.deployment_id,
            names.REPLICA_ID: spec.replica_id,
            names.DEPLOYMENT_LABELS: json.dumps(dict(spec.labels), sort_keys=True),
        },
    }
    if pod_uid:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod_uid}]
    return metadata


def _container(spec: InstanceSpec, settings: KubernetesSettings) -> Json:
    words = [_literal(_filled(word, spec)) for word in spec.command]
    by_entry_point = words[:1] == [_NOT_IN_PATH.get(spec.engine)]
    secret_name = names.object_name(spec.owner, spec.name)
    mounts = [{"name": "weights", "mountPath": _WEIGHTS}]
    if spec.gpu_count > 1:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108  in the container
    return {
        "name": names.CONTAINER,
        "image": spec.image,
        **({"args": words[1:]} if by_entry_point else {"command": words}),
        "env": [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": name}}}
            for name in sorted(_environment(spec))
        ],
        "ports": [{"name": "http", "containerPort": port(spec), "protocol": "TCP"}],
        "resources": _resources(spec, settings),
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **_probes(spec),
    }


def _resources(spec: InstanceSpec, settings: KubernetesSettings) -> Json:
    requests = {"cpu": settings.cpu}
    limits: dict[str, str] = {}
    if settings.memory:
        requests["memory"] = limits["memory"] = settings.memory
    if spec.gpu_count:
        requests[settings.gpu_resource] = limits[settings.gpu_resource] = str(spec.gpu_count)
    return {"requests": requests, "limits": limits}


def _volumes(spec: InstanceSpec, settings: KubernetesSettings) -> list[Json]:
    weights: Json = {"emptyDir": {"sizeLimit": settings.weights_size} if settings.weights_size else {}}
    if settings.weights_claim:
        weights = {"persistentVolumeClaim": {"claimName": settings.weights_claim}}
    volumes: list[Json] = [{"name": "weights", **weights}]
    if spec.gpu_count > 1:
        # Tensor parallel ranks talk through shared memory, and a container has 64 MiB of it.
        size = {"sizeLimit": settings.shm_size} if settings.shm_size else {}
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", **size}})
    return volumes


def _probes(spec: InstanceSpec) -> Json:
    """What the kubelet asks the engine.

    The gateway asks as well and knows more: it decides first. The start-up probe lasts a minute longer than the
    gateway waits; the liveness probe needs three minutes of silence, so that it acts where no gateway runs.
    """
    asked: Json = {"httpGet": {"path": spec.health_path, "port": port(spec)}} if spec.health_path else {}
    asked = asked or {"tcpSocket": {"port": port(spec)}}
    startup_s = (spec.startup_timeout_s or _DEFAULT_STARTUP_S) + _STARTUP_MARGIN_S
    startup = {"periodSeconds": _STARTUP_PERIOD_S, "failureThreshold": math.ceil(startup_s / _STARTUP_PERIOD_S)}
    return {
        "startupProbe": {**asked, "timeoutSeconds": 5, **startup},
        "readinessProbe": {**asked, "timeoutSeconds": 5, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**asked, "timeoutSeconds": 10, "periodSeconds": 15, "failureThreshold": 12},
    }


def _environment(spec: InstanceSpec) -> dict[str, str]:
    own = {"PORT": str(port(spec)), "HOST": _HOST, "MODEL": spec.model}
    if not spec.gpu_count:
        own["NVIDIA_VISIBLE_DEVICES"] = "void"  # images ask for all, and get them where the runtime lets them
    given = {name: _filled(value, spec) for name, value in spec.env.items()}
    for name, value in given.items():
        if own.get(name, value) != value:
            text = f"env: {name} is set by the kubernetes provider; leave it out of the deployment's env"
            raise InstanceRejectedError("RESERVED_VARIABLE", text)
    return {**_CACHES, **given, **own}


def _filled(text: str, spec: InstanceSpec) -> str:
    # The model goes last: a placeholder in a model's name is part of the name.
    return text.replace("{port}", str(port(spec))).replace("{host}", _HOST).replace("{model}", spec.model)


def _literal(word: str) -> str:
    # The kubelet replaces $(NAME) in commands; doubled, the sign stands for itself.
    return word.replace("$", "$$")
