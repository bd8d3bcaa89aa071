"""What an operator can set for the kubernetes provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestration.service.domain import gpu
from orchestration.service.providers.kubernetes.quantities import quantity
from orchestration.service.providers.kubernetes.setting_values import (
    ENDPOINTS,
    Toleration,
    choice,
    number,
    pairs,
    switch,
    tolerations,
    words,
)

_ACCESS_KEYS = ("kubeconfig", "in_cluster", "context", "namespaces", "org.ORG")
_KEYS = (
    "endpoint",
    "gpu_resource",
    "gpu_type_label",
    "price_per_gpu_hour",
    "price_per_gpu_hour.TYPE",
    "price_per_hour",
    "cpu",
    "memory",
    "shm_size",
    "weights_claim",
    "weights_size",
    "node_selector",
    "tolerations",
    "image_pull_secrets",
    "runtime_class",
    "autoscaling",
    "autoscaled.TYPE",
    "count_all_pods",
    "start_timeout_s",
    "lost_node_s",
)
KNOWN = (*_ACCESS_KEYS, *(f"credential.NAME.{key}" for key in _ACCESS_KEYS), *_KEYS)
_CREDENTIAL = re.compile(r"credential\.(?P<name>.+)\.(?P<key>kubeconfig|in_cluster|context|namespaces|org\..+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """One set of credentials, and the namespaces that may be used with them."""

    name: str
    """What pools call it in ``provider_credential_name``; empty: the default."""
    kubeconfig: str = ""
    in_cluster: bool = False
    context: str = ""
    """Empty: the file's current one."""
    namespaces: tuple[str, ...] = ()
    """``NAMESPACE`` or ``CONTEXT/NAMESPACE``, the default first; empty: the context's own."""
    orgs: Mapping[str, str] = field(default_factory=dict[str, str])
    """By organisation, the one namespace that its replicas run in; ``*``: of all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """The settings, checked."""

    accesses: tuple[AccessSettings, ...]
    endpoint: str = "service"
    """How engines are reached: ``service``, ``pod_ip``, ``node_port`` or ``load_balancer``."""
    gpu_resource: str = "nvidia.com/gpu"
    gpu_type_label: str = "nvidia.com/gpu.product"
    """Label of nodes that tells the type of their GPUs."""
    gpu_prices: Mapping[str, float] = field(default_factory=dict[str, float])
    """Price of one GPU for one hour by normalised type; empty key: of any other."""
    price_per_hour: float = 0.0
    """Of a replica without a GPU."""
    cpu: str = "1"
    memory: str = ""
    shm_size: str = ""
    weights_claim: str = ""
    """A PersistentVolumeClaim in each namespace; empty: an emptyDir that goes with the replica."""
    weights_size: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[Toleration, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    runtime_class: str = ""
    autoscaling: bool = False
    """Whether more nodes come when Pods wait: then a Pod without a node is waited for, and not taken back."""
    autoscaled: Mapping[str, int] = field(default_factory=dict[str, int])
    """By type of GPU, how many a node has that is not there yet."""
    count_all_pods: bool = False
    """Whether GPUs that Pods of other namespaces hold are looked at, which takes the right to list all Pods."""
    start_timeout_s: float = 600.0
    """How long a Pod may wait for a node or its image."""
    lost_node_s: float = 60.0
    """How long a Pod that was asked to end may stay on a node that is lost before it is given up by force."""

    def gpu_price(self, gpu_type: str) -> float:
        """Price of one GPU of the type for one hour."""
        return self.gpu_prices.get(gpu.normalise(gpu_type), self.gpu_prices.get("", 0.0))


def parse(values: Mapping[str, str]) -> KubernetesSettings | None:
    """Check settings as they come from the configuration; None when they name no cluster.

    Raises ValueError naming the one that is wrong.
    """
    own, credentials = _sorted(values)
    accesses = [_access("", own)] if {"kubeconfig", "in_cluster"} & set(own) else []
    accesses += [_access(name, given) for name, given in sorted(credentials.items())]
    defaults = KubernetesSettings(accesses=tuple(accesses))
    prices = {
        gpu.normalise(kind): number(own, f"price_per_gpu_hour.{kind}") for kind in _typed(own, "price_per_gpu_hour.")
    }
    settings = KubernetesSettings(
        accesses=tuple(accesses),
        endpoint=choice(own, "endpoint", ENDPOINTS, defaults.endpoint),
        gpu_resource=own.get("gpu_resource", defaults.gpu_resource),
        gpu_type_label=own.get("gpu_type_label", defaults.gpu_type_label),
        gpu_prices={"": number(own, "price_per_gpu_hour"), **prices},
        price_per_hour=number(own, "price_per_hour"),
        cpu=_amount(own, "cpu", defaults.cpu),
        memory=_amount(own, "memory"),
        shm_size=_amount(own, "shm_size"),
        weights_claim=own.get("weights_claim", ""),
        weights_size=_amount(own, "weights_size"),
        node_selector=pairs(own, "node_selector"),
        tolerations=tolerations(own, own.get("gpu_resource", defaults.gpu_resource)),
        image_pull_secrets=words(own, "image_pull_secrets"),
        runtime_class=own.get("runtime_class", ""),
        autoscaling=switch(own, "autoscaling"),
        autoscaled={kind: int(number(own, f"autoscaled.{kind}", minimum=1)) for kind in _typed(own, "autoscaled.")},
        count_all_pods=switch(own, "count_all_pods"),
        start_timeout_s=number(own, "start_timeout_s", defaults.start_timeout_s, minimum=1),
        lost_node_s=number(own, "lost_node_s", defaults.lost_node_s, minimum=1),
    )
    if settings.autoscaled and not settings.autoscaling:
        raise ValueError("kubernetes provider: autoscaled.TYPE says what nodes may come, and autoscaling is not true")
    return settings if accesses else None


def _sorted(values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The settings themselves, and those of each named credential."""
    own: dict[str, str] = {}
    credentials: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        match = _CREDENTIAL.fullmatch(key)
        prefix = key.partition(".")[0]
        if match:
            credentials.setdefault(match["name"], {})[match["key"]] = value.strip()
        elif key in KNOWN or (prefix in {"org", "price_per_gpu_hour", "autoscaled"} and key.removeprefix(f"{prefix}.")):
            own[key] = value.strip()
        else:
            raise ValueError(f"kubernetes provider: unknown setting {key!r}; there are {', '.join(KNOWN)}")
    return own, credentials


def _typed(values: Mapping[str, str], prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in values if key.startswith(prefix)]


def _access(name: str, values: Mapping[str, str]) -> AccessSettings:
    access = AccessSettings(
        name=name,
        kubeconfig=values.get("kubeconfig", ""),
        in_cluster=switch(values, "in_cluster"),
        context=values.get("context", ""),
        namespaces=words(values, "namespaces"),
        orgs={org: values[f"org.{org}"] for org in _typed(values, "org.")},
    )
    where = f"credential {name!r}" if name else "the default credential"
    if bool(access.kubeconfig) == access.in_cluster:
        raise ValueError(f"kubernetes provider: {where} needs one of kubeconfig (a file) and in_cluster (true)")
    if access.in_cluster and access.context:
        raise ValueError(f"kubernetes provider: {where}: context is one of a kubeconfig; in_cluster has none")
    return access


def _amount(values: Mapping[str, str], key: str, default: str = "") -> str:
    text = values.get(key, default)
    try:
        right = not text or quantity(text) > 0
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"kubernetes provider: {key} is {text!r}, which is no amount such as 500m, 4 or 16Gi")
    return text
