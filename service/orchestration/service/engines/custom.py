"""The row for a server of the user's own."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form
from orchestration.service.engines.base import GROUP, RAY, ConfigurationIssue, EngineRequest
from orchestration.service.engines.engine import BATCH, EMBEDDING, INFERENCE, Engine, Settings
from orchestration.service.engines.keys import Key


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
    keys=(
        Key(
            name="multi_node",
            kind="string",
            choices=(GROUP, RAY),
            about="How the command runs over several nodes, where a replica is larger than one: see above.",
        ),
    ),
    takes_multi_node=True,
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
    notes="`command` is needed. The model may be empty. The health path is `/health` unless another is given.\n\n"
    "A replica that is larger than a node is taken only with `multi_node`. With `ray` the command is started once, on\n"
    "one of the nodes, and puts its workers on the others itself, through the Ray cluster that it is in\n"
    '(`ray.init(address="auto")`). With `group` it is started on each node, and the one of rank 0 serves. It may\n'
    "hold `{nodes}` and `{gpus_per_node}`, in a group `{node_rank}` (from 0) and `{leader}` (the address of rank 0)\n"
    "besides, and finds the same in `ORCHESTRATION_NODES`, `ORCHESTRATION_GPUS_PER_NODE`,\n"
    "`ORCHESTRATION_NODE_RANK` and `ORCHESTRATION_LEADER`, which are not there on a single node. It must be ready\n"
    "only once all of its processes are there.",
    rules=_rules,
)
