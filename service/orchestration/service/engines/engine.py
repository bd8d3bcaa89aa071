"""A row of the table of engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestration.service.engines.artifacts import Form
from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.keys import Key, Setting

INFERENCE, EMBEDDING, BATCH = "inference", "embedding", "batch"
Settings = Mapping[str, Setting]
"""Checked configuration, by key; only what was given."""


def no_issues(request: EngineRequest, settings: Settings) -> tuple[ConfigurationIssue, ...]:
    """An engine without rules beyond its keys."""
    del request, settings
    return ()


def no_environment(request: EngineRequest, settings: Settings) -> Mapping[str, str]:
    """An engine that is told everything on its command line."""
    del request, settings
    return {}


def fixed_health_path(engine: Engine, request: EngineRequest) -> str:
    """The same health path whatever the model."""
    del request
    return engine.health_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How one engine is started, where it answers, and what its configuration may hold."""

    name: str
    title: str
    executable: tuple[str, ...]
    """What ``configuration.command`` replaces."""
    arguments: Callable[[EngineRequest, Settings], tuple[str, ...]]
    """Arguments after the executable, without those of plain keys; the settings hold every default that applies."""
    keys: tuple[Key, ...]
    """Keys of its own, besides those that every engine takes."""
    forms: tuple[Form, ...]
    """Forms of artifact that it loads by itself."""
    container_port: int
    image: str
    cpu_image: str = ""
    """Image for replicas without a GPU; empty: the same."""
    health_path: str
    metrics_path: str
    openai_path: str
    workload_types: tuple[str, ...]
    startup_timeout_s: float
    stop_grace_s: float = 30.0
    install_hint: str
    ready_means: str
    """What a 2xx of the health path says, for the documentation."""
    defaults: Callable[[EngineRequest], Settings] = field(default=lambda _: {})
    """Values of keys that were not given."""
    gpu_key: str = ""
    """Key that says over how many GPUs the model is split; never more than a replica has."""
    pipeline_key: str = ""
    """Key that says in how many stages the model is split, each over as many GPUs as `gpu_key` says."""
    ways: tuple[str, ...] = ()
    """Ways in which it runs over several nodes (`base.RAY`, `base.GROUP`), with both keys; empty: in none."""
    ray_arguments: tuple[str, ...] = ()
    """More arguments over several nodes by Ray."""
    group_arguments: tuple[str, ...] = ()
    """More arguments of every process of a group."""
    worker_arguments: tuple[str, ...] = ()
    """And of those that are not the leader."""
    takes_multi_node: bool = False
    """The caller says by the key ``multi_node`` in which way the command runs over several nodes."""
    own_flags: tuple[str, ...] = ()
    """Flags that are always set, and that ``configuration.args`` therefore must not hold."""
    environment: Callable[[EngineRequest, Settings], Mapping[str, str]] = no_environment
    own_variables: tuple[str, ...] = ()
    """Variables that are always set, and that no caller may give."""
    rules: Callable[[EngineRequest, Settings], tuple[ConfigurationIssue, ...]] = no_issues
    health: Callable[[Engine, EngineRequest], str] = fixed_health_path
    takes_args: bool = True
    takes_tag: bool = False
    """Whether a hub id may be followed by a colon and a tag."""
    notes: str = ""
    """What the documentation has to say besides."""
    readiness: str = "http"
    """See `EnginePlan.readiness`."""
    served_name_key: str = ""
    """With ``openai_models``: the key that holds the name in OpenAI requests."""
    served_name_flags: tuple[str, ...] = ()
    """Flags by which ``configuration.args`` may give another name; which one holds is then not known here."""

    def command(self, request: EngineRequest, settings: Settings, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The command line; ``extra`` comes before the caller's own arguments."""
        given = settings.get("command")
        # Ollama's executable is a shell: its row puts the command inside the script.
        executable = given if isinstance(given, tuple) and self.takes_args else self.executable
        flags = tuple(
            word for key in self.keys if key.name in settings for word in key.to_arguments(settings[key.name])
        )
        args = settings.get("args", ())
        given_args = args if isinstance(args, tuple) else ()
        return (*executable, *self.arguments(request, settings), *flags, *extra, *given_args)
