"""The row for a server of the user's own."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form
from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.engine import BATCH, EMBEDDING, INFERENCE, Engine, Settings


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del request, settings
    return ()


def _rules(request: EngineRequest, settings: Settings) -> tuple[ConfigurationIssue, ...]:
    del request
    if "command" in settings:
        return ()
    text = 'is needed for engine custom: the program and its arguments, such as ["./server", "--port", "{port}"]'
    return (ConfigurationIssue(field="configuration.command", description=text),)


CUSTOM = Engine(
    name="custom",
    title="A server of your own",
    executable=(),
    arguments=_arguments,
    keys=(),
    forms=tuple(Form),
    container_port=8080,
    image="",
    health_path="/health",
    metrics_path="",
    openai_path="",
    workload_types=(INFERENCE, EMBEDDING, BATCH),
    startup_timeout_s=600.0,
    install_hint="check the first word of configuration.command",
    ready_means="whatever the server means by it",
    takes_tag=True,
    notes="`command` is needed. The model may be empty. The health path is `/health` unless another is given.",
    rules=_rules,
)
