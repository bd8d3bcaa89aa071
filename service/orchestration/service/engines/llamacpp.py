"""The row of llama.cpp."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form, form_of, plain
from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.engine import BATCH, EMBEDDING, INFERENCE, Engine, Settings
from orchestration.service.engines.keys import Key
from orchestration.service.engines.shared_arguments import LISTEN

POOLINGS = ("none", "mean", "cls", "last", "rank")
_MODEL_FLAGS = {Form.PATH: "--model", Form.HTTPS: "--model-url", Form.HUB: "--hf-repo", Form.HF: "--hf-repo"}


def _defaults(request: EngineRequest) -> Settings:
    alias: Settings = {"alias": request.model_name} if request.model_name else {}
    # Unset, a build with GPU support takes every GPU it sees, also one that this replica was not given.
    layers: Settings = {} if request.gpu_per_replica else {"n_gpu_layers": 0}
    embeddings: Settings = {"embeddings": True} if request.workload_type == EMBEDDING else {}
    return {**alias, **layers, **embeddings}


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del settings
    return (_MODEL_FLAGS[form_of(request.model)], plain(request.model), *LISTEN, "--metrics")


def _rules(request: EngineRequest, settings: Settings) -> tuple[ConfigurationIssue, ...]:
    issues: list[ConfigurationIssue] = []
    if form_of(request.model) in {Form.HUB, Form.HF} and "/" not in plain(request.model):
        text = f"got {request.model!r}, wants org/name or org/name:quant of a hub repository with GGUF files, or a path"
        issues.append(ConfigurationIssue(field="inference_model", description=text))
    if settings.get("embeddings") is False and request.workload_type == EMBEDDING:
        text = "got false, but workload_type is embedding; leave it out"
        issues.append(ConfigurationIssue(field="configuration.embeddings", description=text))
    return tuple(issues)


LLAMACPP = Engine(
    name="llamacpp",
    title="llama.cpp",
    executable=("llama-server",),
    arguments=_arguments,
    keys=(
        Key(
            name="alias",
            kind="string",
            flag="--alias",
            about="Name in OpenAI requests; the deployment's `model_name` when absent.",
        ),
        Key(
            name="ctx_size",
            kind="integer",
            flag="--ctx-size",
            minimum=0,
            about="Context in tokens, shared by all slots; 0: the model's own.",
        ),
        Key(
            name="n_gpu_layers",
            kind="integer",
            flag="--n-gpu-layers",
            minimum=0,
            maximum=9999,
            about="Most layers on the GPU; 0 when absent and `gpu_per_replica` is 0, else as many as fit.",
        ),
        Key(name="parallel", kind="integer", flag="--parallel", minimum=1, about="Slots: requests served at a time."),
        Key(name="threads", kind="integer", flag="--threads", minimum=1, about="CPU threads for generation."),
        Key(name="batch_size", kind="integer", flag="--batch-size", minimum=1, about="Logical batch in tokens."),
        Key(name="ubatch_size", kind="integer", flag="--ubatch-size", minimum=1, about="Physical batch in tokens."),
        Key(
            name="chat_template",
            kind="string",
            flag="--chat-template",
            about="Name of a built-in template or a Jinja template; the model's own when absent.",
        ),
        Key(
            name="embeddings",
            kind="boolean",
            flag="--embeddings",
            about="Serve embeddings only; true when absent and `workload_type` is `embedding`.",
        ),
        Key(
            name="pooling",
            kind="string",
            flag="--pooling",
            choices=POOLINGS,
            about="Pooling of embeddings; the model's own when absent.",
        ),
        Key(name="seed", kind="integer", flag="--seed", minimum=0, maximum=2**32 - 1, about="Random seed."),
    ),
    forms=(Form.HUB, Form.HF, Form.HTTPS, Form.PATH),
    container_port=8080,
    image="ghcr.io/ggml-org/llama.cpp:server-cuda",
    cpu_image="ghcr.io/ggml-org/llama.cpp:server",
    health_path="/health",
    metrics_path="/metrics",
    openai_path="/v1",
    workload_types=(INFERENCE, EMBEDDING, BATCH),
    startup_timeout_s=900.0,
    stop_grace_s=10.0,
    install_hint="install llama.cpp, or `pip install xllamacpp` for the server without it",
    ready_means="the model is loaded; 503 until then",
    defaults=_defaults,
    own_flags=(
        *("--host", "--port", "--metrics", "-m", "--model", "-mu", "--model-url"),
        *("-hf", "-hfr", "--hf-repo"),
    ),
    takes_tag=True,
    readiness="openai_models",
    served_name_key="alias",
    served_name_flags=("-a", "--alias"),
    notes="Where `llama-server` is not installed and the `xllamacpp` package is, the local provider runs the server of "
    "that package. It takes the keys below and files only; `args` may hold no other flags then.\n\n"
    'In the default image the program is not on the path: give `"command": ["/app/llama-server"]` to providers of '
    "containers.",
    rules=_rules,
)
