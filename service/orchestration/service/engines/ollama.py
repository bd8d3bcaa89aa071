"""The row of Ollama."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestration.service.engines.artifacts import Form, model_argument
from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.engine import BATCH, EMBEDDING, INFERENCE, Engine, Settings
from orchestration.service.engines.keys import Key, to_text

# Ollama listens at once and holds no model then. The script serves, pulls, loads, and only then gives the model the
# names that clients and the health path ask for. Its arguments: model, "load" or "pull", the names, "--", the program.
_SCRIPT = """\
model=$1 load=$2; shift 2; names=
while [ "$1" != -- ]; do names="$names $1"; shift; done; shift
command -v "$1" >/dev/null || { echo "ollama: $1 is not installed" >&2; exit 127; }
"$@" serve & server=$!
step=
trap 'kill $server $step 2>/dev/null; wait $server; exit 0' TERM INT
fail() { echo "ollama: $1" >&2; kill $server 2>/dev/null; wait $server; exit 1; }
run() { "$@" </dev/null & step=$!; wait $step; }
until run "$@" list >/dev/null 2>&1; do
  kill -0 $server 2>/dev/null || { echo "ollama: the server ended" >&2; exit 1; }
  run sleep 0.2
done
run "$@" pull "$model" || fail "cannot pull $model"
[ "$load" = pull ] || run "$@" run "$model" "" || fail "cannot load $model"
for name in $names; do
  [ "$name" = "$model" ] || run "$@" cp "$model" "$name" || fail "cannot name $model $name"
done
wait $server
"""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,2}(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


def _probed_name(request: EngineRequest) -> str:
    """The name in the health path, whose route does not match a slash."""
    return request.model_name.replace("/", "-")


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    program = settings.get("command", ("ollama",))
    names = dict.fromkeys((request.model_name, _probed_name(request)))
    # An embedding model generates nothing, so that it cannot be loaded by generating nothing.
    load = "pull" if request.workload_type == EMBEDDING else "load"
    words = program if isinstance(program, tuple) else ()
    return ("-c", _SCRIPT, "ollama", model_argument("ollama", request.model), load, *names, "--", *words)


def _environment(request: EngineRequest, settings: Settings) -> Mapping[str, str]:
    del request
    given = {key.variable: _in_environment(settings[key.name]) for key in _KEYS if key.name in settings}
    return {"OLLAMA_HOST": "{host}:{port}", **given}


def _in_environment(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return to_text(value) if isinstance(value, int | float | str) else ""


def _rules(request: EngineRequest, settings: Settings) -> tuple[ConfigurationIssue, ...]:
    del settings
    if _NAME.fullmatch(request.model_name):
        return ()
    text = f"got {request.model_name!r}, which Ollama takes for no name; letters, digits and . _ - : / are"
    return (ConfigurationIssue(field="model_name", description=text),)


def _health(engine: Engine, request: EngineRequest) -> str:
    del engine
    return f"/v1/models/{_probed_name(request)}"


_KEYS = (
    Key(
        name="context_length",
        kind="integer",
        variable="OLLAMA_CONTEXT_LENGTH",
        minimum=1,
        about="Context length in tokens.",
    ),
    Key(
        name="num_parallel",
        kind="integer",
        variable="OLLAMA_NUM_PARALLEL",
        minimum=1,
        about="Requests served at a time.",
    ),
    Key(
        name="max_queue",
        kind="integer",
        variable="OLLAMA_MAX_QUEUE",
        minimum=1,
        about="Requests that wait; more are refused.",
    ),
    Key(
        name="keep_alive",
        kind="string",
        variable="OLLAMA_KEEP_ALIVE",
        about="How long an idle model stays loaded, such as `30m`; for ever (`-1`) when absent.",
    ),
    Key(
        name="flash_attention",
        kind="boolean",
        variable="OLLAMA_FLASH_ATTENTION",
        about="Use flash attention.",
    ),
    Key(
        name="kv_cache_type",
        kind="string",
        variable="OLLAMA_KV_CACHE_TYPE",
        choices=("f16", "q8_0", "q4_0"),
        about="Type of the KV cache.",
    ),
    Key(name="models", kind="string", variable="OLLAMA_MODELS", about="Directory that holds pulled models."),
)

OLLAMA = Engine(
    name="ollama",
    title="Ollama",
    executable=("sh",),
    arguments=_arguments,
    keys=_KEYS,
    forms=(Form.HUB, Form.HF, Form.OLLAMA),
    container_port=11434,
    image="ollama/ollama:latest",
    health_path="/v1/models/{model_name}",
    metrics_path="",
    openai_path="/v1",
    workload_types=(INFERENCE, EMBEDDING, BATCH),
    startup_timeout_s=1800.0,
    stop_grace_s=10.0,
    install_hint="install Ollama from its site",
    ready_means="the model is pulled and loaded; pulled only, where another replica shares its directory of models "
    "or `workload_type` is `embedding`",
    defaults=lambda _: {"keep_alive": "-1"},
    environment=_environment,
    own_variables=("OLLAMA_HOST",),
    rules=_rules,
    health=_health,
    takes_args=False,
    takes_tag=True,
    notes="`command` names the program that is Ollama; a script runs it that serves, pulls, loads, and then gives the "
    "model its `model_name`. `args` must be empty: `ollama serve` takes none.",
    readiness="ollama",
)
