"""What an engine is: a row that says how to start it, where it answers, and what its configuration may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """What a deployment asks of an engine, as resolved from the request and the registered model."""

    engine: str
    model: str
    """What the engine loads: a hub id, a URI or a path. Empty only for ``custom``."""
    model_name: str
    """The name clients use in OpenAI requests."""
    workload_type: str
    """``inference``, ``embedding`` or ``batch``."""
    gpu_per_replica: int
    configuration: Mapping[str, object]
    """JSON values; numbers arrive as float (google.protobuf.Struct), also whole ones."""
    env: Mapping[str, str]


RAY = "ray"
"""Over several nodes: started once, on one of them, and its workers by itself through the Ray cluster it runs in."""
GROUP = "group"
"""Over several nodes: started on each of them, and told its rank and where the first one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverNodes:
    """How an engine is started that runs over several nodes; an empty command: it cannot in that way.

    Words may hold ``{nodes}`` and ``{gpus_per_node}`` besides what `EnginePlan.command` may.
    """

    ray: tuple[str, ...] = ()
    """See `RAY`."""
    leader: tuple[str, ...] = ()
    """See `GROUP`; rank 0, which serves. May hold ``{node_rank}`` and ``{leader}``, the leader's address."""
    worker: tuple[str, ...] = ()
    """The same on every other node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """How to start one replica; the same on every provider.

    ``command`` and ``env`` values may hold ``{port}``, ``{host}`` and ``{model}``.
    """

    engine: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    image: str
    port: int
    """0: any free one (providers on one machine); container providers use `container_port`."""
    container_port: int
    health_path: str
    """Empty: ready when the port accepts a connection."""
    metrics_path: str
    """Empty: the engine has none."""
    openai_path: str
    """Base path of its OpenAI-compatible API, e.g. ``/v1``; empty when it has none."""
    startup_timeout_s: float
    stop_grace_s: float
    install_hint: str
    readiness: str = "http"
    """``http``: a 2xx of `health_path` means ready; ``ollama``: that the model is there, too; ``openai_models``:
    ready needs `served_model` to be listed at `models_path` besides."""
    models_path: str = ""
    """Where the models that are served are listed; empty: the engine is not asked for them."""
    served_model: str = ""
    """The name that must be listed there."""
    over_nodes: OverNodes = field(default_factory=OverNodes)
    """How it is started where a replica is larger than a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationIssue:
    """One thing wrong with a deployment's configuration."""

    field: str
    """Path below the request, e.g. ``configuration.max_model_len``."""
    description: str
    """What was wrong and what would be right."""


class EngineConfigurationError(ValueError):
    """The configuration cannot be honoured by the engine; every issue is named, not only the first."""

    def __init__(self, issues: tuple[ConfigurationIssue, ...]) -> None:
        super().__init__("; ".join(f"{issue.field}: {issue.description}" for issue in issues))
        self.issues = issues
