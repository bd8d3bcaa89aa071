"""The rows of engines that serve embeddings only."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form, plain
from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.engine import EMBEDDING, Engine, Settings
from orchestration.service.engines.keys import Key
from orchestration.service.engines.shared_arguments import (
    LISTEN,
    LISTEN_HOSTNAME,
    REVISION,
    SERVED_MODEL_NAME,
    served_name,
)


def _tei_arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del settings
    return ("--model-id", plain(request.model), *LISTEN_HOSTNAME)


def _infinity_arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del settings
    return ("--model-id", plain(request.model), *LISTEN, "--url-prefix", "/v1")


def _infinity_defaults(request: EngineRequest) -> Settings:
    device: Settings = {} if request.gpu_per_replica else {"device": "cpu"}
    return {**served_name(request), **device}


def _at_least_one(name: str, about: str) -> Key:
    return Key(name=name, kind="integer", flag="--" + name.replace("_", "-"), minimum=1, about=about)


TEI = Engine(
    name="tei",
    title="Text Embeddings Inference",
    executable=("text-embeddings-router",),
    arguments=_tei_arguments,
    keys=(
        SERVED_MODEL_NAME,
        Key(name="dtype", kind="string", flag="--dtype", choices=("float16", "float32"), about="Type of weights."),
        Key(
            name="pooling",
            kind="string",
            flag="--pooling",
            choices=("cls", "mean", "splade", "last-token"),
            about="Pooling; the model's own when absent.",
        ),
        _at_least_one("max_concurrent_requests", "Most requests at a time; more are refused."),
        _at_least_one("max_batch_tokens", "Most tokens in one batch."),
        _at_least_one("max_batch_requests", "Most requests in one batch."),
        _at_least_one("max_client_batch_size", "Most inputs in one request."),
        _at_least_one("tokenization_workers", "Threads that tokenize; as many as CPUs when absent."),
        REVISION,
    ),
    forms=(Form.HUB, Form.HF, Form.PATH),
    container_port=80,
    image="ghcr.io/huggingface/text-embeddings-inference:1.8",
    cpu_image="ghcr.io/huggingface/text-embeddings-inference:cpu-1.8",
    health_path="/health",
    metrics_path="/metrics",
    openai_path="/v1",
    workload_types=(EMBEDDING,),
    startup_timeout_s=900.0,
    install_hint="build text-embeddings-router, or use a provider that runs containers",
    ready_means="the model is loaded and warm; 503 until then",
    defaults=served_name,
    own_flags=("--hostname", "--port", "-p", "--model-id"),
)

INFINITY = Engine(
    name="infinity",
    title="Infinity",
    executable=("infinity_emb", "v2"),
    arguments=_infinity_arguments,
    keys=(
        SERVED_MODEL_NAME,
        _at_least_one("batch_size", "Most inputs in one batch."),
        Key(
            name="backend",
            kind="string",
            flag="--engine",
            choices=("torch", "ctranslate2", "optimum"),
            about="What runs the model.",
        ),
        Key(
            name="device",
            kind="string",
            flag="--device",
            choices=("cpu", "cuda", "mps", "tensorrt", "auto"),
            about="Device; `cpu` when absent and `gpu_per_replica` is 0.",
        ),
        Key(
            name="dtype",
            kind="string",
            flag="--dtype",
            choices=("float32", "float16", "int8", "fp8", "auto"),
            about="Type of weights.",
        ),
        Key(
            name="pooling_method",
            kind="string",
            flag="--pooling-method",
            choices=("mean", "cls", "auto"),
            about="Pooling; the model's own when absent.",
        ),
        Key(
            name="compile",
            kind="boolean",
            flag="--compile",
            flag_off="--no-compile",
            about="Use `torch.compile`; true when absent.",
        ),
        Key(
            name="trust_remote_code",
            kind="boolean",
            flag="--trust-remote-code",
            flag_off="--no-trust-remote-code",
            about="Run code that the model's repository holds; true when absent.",
        ),
        REVISION,
    ),
    forms=(Form.HUB, Form.HF, Form.PATH),
    container_port=7997,
    image="michaelf34/infinity:latest",
    cpu_image="michaelf34/infinity:latest-cpu",
    health_path="/health",
    metrics_path="/metrics",
    openai_path="/v1",
    workload_types=(EMBEDDING,),
    startup_timeout_s=900.0,
    install_hint='install it with `pip install "infinity-emb[all]"`',
    ready_means="the model is loaded and warm: the server starts only then",
    defaults=_infinity_defaults,
    own_flags=("--host", "--port", "--model-id", "--url-prefix"),
    readiness="openai_models",
    served_name_key="served_model_name",
    served_name_flags=("--served-model-name",),
)
