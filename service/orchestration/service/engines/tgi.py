"""The row of Text Generation Inference."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form, plain
from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.engine import BATCH, INFERENCE, Engine, Settings
from orchestration.service.engines.keys import Key
from orchestration.service.engines.shared_arguments import (
    LISTEN_HOSTNAME,
    REVISION,
    TRUST_REMOTE_CODE,
    split_over_gpus,
)

_QUANTIZATIONS = (
    *("awq", "compressed-tensors", "eetq", "exl2", "gptq", "marlin"),
    *("bitsandbytes", "bitsandbytes-nf4", "bitsandbytes-fp4", "fp8"),
)


def _defaults(request: EngineRequest) -> Settings:
    return split_over_gpus("num_shard", request)


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del settings
    return ("--model-id", plain(request.model), *LISTEN_HOSTNAME)


def _tokens(name: str, about: str) -> Key:
    return Key(name=name, kind="integer", flag="--" + name.replace("_", "-"), minimum=1, about=about)


TGI = Engine(
    name="tgi",
    title="Text Generation Inference",
    executable=("text-generation-launcher",),
    arguments=_arguments,
    keys=(
        Key(
            name="num_shard",
            kind="integer",
            flag="--num-shard",
            minimum=1,
            about="GPUs that one model is split over; `gpu_per_replica` when absent and above 1.",
        ),
        _tokens("max_input_tokens", "Most tokens in a prompt."),
        _tokens("max_total_tokens", "Most tokens in a prompt and its output together."),
        _tokens("max_batch_prefill_tokens", "Most tokens in one prefill."),
        _tokens("max_batch_total_tokens", "Most tokens in one batch."),
        _tokens("max_concurrent_requests", "Most requests at a time; more are refused."),
        Key(
            name="cuda_memory_fraction",
            kind="number",
            flag="--cuda-memory-fraction",
            above=0,
            maximum=1,
            about="Share of each GPU's memory that the engine may take.",
        ),
        Key(
            name="dtype",
            kind="string",
            flag="--dtype",
            choices=("float16", "bfloat16"),
            about="Type of weights; not together with `quantize`.",
        ),
        Key(
            name="quantize",
            kind="string",
            flag="--quantize",
            choices=_QUANTIZATIONS,
            about="Method; not together with `dtype`.",
        ),
        REVISION,
        TRUST_REMOTE_CODE,
    ),
    forms=(Form.HUB, Form.HF, Form.PATH),
    container_port=80,
    image="ghcr.io/huggingface/text-generation-inference:latest",
    health_path="/health",
    metrics_path="/metrics",
    openai_path="/v1",
    workload_types=(INFERENCE, BATCH),
    startup_timeout_s=1800.0,
    install_hint="it comes as a container image only; the project is archived, prefer vllm",
    ready_means="the model is loaded; 503 until then",
    defaults=_defaults,
    gpu_key="num_shard",
    own_flags=("--hostname", "--port", "-p", "--model-id"),
)
