"""The row of Triton Inference Server."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form, form_of, plain, problem_with
from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.engine import BATCH, EMBEDDING, INFERENCE, Engine, Settings
from orchestration.service.engines.keys import Key

_FORMS = (Form.S3, Form.GS, Form.PATH)


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    repository = str(settings.get("model_repository", request.model))
    listen = ("--http-address", "{host}", "--http-port", "{port}")
    # A replica has one port. The others are fixed numbers, on which a second replica of a machine would not start.
    others = (
        *_service("grpc", settings),
        *_service("metrics", settings),
    )
    explicit = ("--model-control-mode", "explicit") if settings.get("load_model") else ()
    return ("--model-repository", plain(repository), *listen, *others, *explicit)


def _service(name: str, settings: Settings) -> tuple[str, ...]:
    port = settings.get(f"{name}_port")
    return (f"--allow-{name}", "false") if port is None else (f"--{name}-port", str(port))


def _rules(request: EngineRequest, settings: Settings) -> tuple[ConfigurationIssue, ...]:
    del request
    issues: list[ConfigurationIssue] = []
    repository = settings.get("model_repository")
    if isinstance(repository, str) and (problem := _problem_with_repository(repository)):
        issues.append(ConfigurationIssue(field="configuration.model_repository", description=problem))
    ports = [settings[name] for name in ("port", "grpc_port", "metrics_port") if name in settings]
    if len(set(ports)) != len(ports):
        text = "port, grpc_port and metrics_port must differ from each other"
        issues.append(ConfigurationIssue(field="configuration", description=text))
    return tuple(issues)


def _problem_with_repository(uri: str) -> str:
    if problem := problem_with(uri):
        return problem
    return "" if form_of(uri) in _FORMS else f"got {uri!r}, wants {', '.join(form.example for form in _FORMS)}"


TRITON = Engine(
    name="triton",
    title="Triton Inference Server",
    executable=("tritonserver",),
    arguments=_arguments,
    keys=(
        Key(
            name="model_repository",
            kind="string",
            about="Model repository: a directory, or `s3://` or `gs://`; the model's artifact when absent.",
        ),
        Key(
            name="load_model",
            kind="strings",
            flag="--load-model",
            about="Models of the repository to load; all of them when absent.",
        ),
        Key(
            name="grpc_port",
            kind="integer",
            minimum=1,
            maximum=65535,
            about="Port of gRPC, which is off when absent.",
        ),
        Key(
            name="metrics_port",
            kind="integer",
            minimum=1,
            maximum=65535,
            about="Port of Prometheus metrics, which are off when absent.",
        ),
        Key(
            name="backend_config",
            kind="strings",
            flag="--backend-config",
            about="Settings of backends, each as `backend,setting=value`.",
        ),
        Key(
            name="exit_timeout_secs",
            kind="integer",
            flag="--exit-timeout-secs",
            minimum=0,
            about="How long it waits for requests under way when it ends.",
        ),
    ),
    forms=_FORMS,
    container_port=8000,
    image="nvcr.io/nvidia/tritonserver:25.08-py3",
    health_path="/v2/health/ready",
    metrics_path="",
    openai_path="",
    workload_types=(INFERENCE, EMBEDDING, BATCH),
    startup_timeout_s=900.0,
    install_hint="build tritonserver, or use a provider that runs containers",
    ready_means="every model that is to be loaded is; 400 until then",
    notes="The OpenAI API of Triton is another program; run it with engine `custom`. A replica has one port, so that "
    "gRPC and metrics are off unless they are given ports, which must then be free on each machine.",
    own_flags=(
        *("--model-repository", "--model-store", "--http-address", "--http-port", "--allow-http"),
        *("--grpc-port", "--allow-grpc", "--metrics-port", "--allow-metrics", "--model-control-mode"),
    ),
    rules=_rules,
)
