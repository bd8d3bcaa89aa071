"""The row of SGLang."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form, plain
from orchestration.service.engines.base import GROUP, EngineRequest
from orchestration.service.engines.engine import BATCH, EMBEDDING, INFERENCE, Engine, Settings
from orchestration.service.engines.keys import LEADER, NODE_RANK, NODES, Key
from orchestration.service.engines.shared_arguments import (
    LISTEN,
    REVISION,
    SERVED_MODEL_NAME,
    TRUST_REMOTE_CODE,
    pipeline_size,
    served_name,
    split_issues,
    split_over_gpus,
)

_MEETING_PORT = 20000
"""Where the processes of a group find each other, on the leader."""


def _defaults(request: EngineRequest) -> Settings:
    return {**served_name(request), **split_over_gpus("tensor_parallel_size", request)}


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del settings
    embedding = ("--is-embedding",) if request.workload_type == EMBEDDING else ()
    return ("--model-path", plain(request.model), *LISTEN, "--enable-metrics", *embedding)


SGLANG = Engine(
    name="sglang",
    title="SGLang",
    executable=("python3", "-m", "sglang.launch_server"),
    arguments=_arguments,
    keys=(
        SERVED_MODEL_NAME,
        Key(
            name="tensor_parallel_size",
            kind="integer",
            flag="--tp-size",
            minimum=1,
            about="GPUs that one model is split over; `gpu_per_replica` when absent and above 1, "
            "over several nodes those of one node.",
        ),
        pipeline_size("--pp-size"),
        Key(
            name="context_length",
            kind="integer",
            flag="--context-length",
            minimum=1,
            about="Context length in tokens; the model's own when absent.",
        ),
        Key(
            name="mem_fraction_static",
            kind="number",
            flag="--mem-fraction-static",
            above=0,
            maximum=1,
            about="Share of each GPU's memory for weights and KV cache.",
        ),
        Key(
            name="max_running_requests",
            kind="integer",
            flag="--max-running-requests",
            minimum=1,
            about="Most requests that run at a time.",
        ),
        Key(
            name="chunked_prefill_size",
            kind="integer",
            flag="--chunked-prefill-size",
            minimum=-1,
            about="Most tokens in one piece of a prefill; -1 turns chunks off.",
        ),
        Key(
            name="dtype",
            kind="string",
            flag="--dtype",
            choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
            about="Type of weights and activations.",
        ),
        Key(name="quantization", kind="string", flag="--quantization", about="Method, such as `awq`, `gptq`, `fp8`."),
        Key(name="kv_cache_dtype", kind="string", flag="--kv-cache-dtype", about="Such as `auto` or `fp8_e5m2`."),
        Key(
            name="tokenizer_path", kind="string", flag="--tokenizer-path", about="Hub id or path, when not the model's."
        ),
        REVISION,
        Key(name="random_seed", kind="integer", flag="--random-seed", minimum=0, about="Random seed."),
        Key(name="disable_cuda_graph", kind="boolean", flag="--disable-cuda-graph", about="No CUDA graphs."),
        TRUST_REMOTE_CODE,
    ),
    forms=(Form.HUB, Form.HF, Form.S3, Form.GS, Form.PATH),
    container_port=30000,
    image="lmsysorg/sglang:latest",
    health_path="/health",
    metrics_path="/metrics",
    openai_path="/v1",
    workload_types=(INFERENCE, EMBEDDING, BATCH),
    startup_timeout_s=1800.0,
    install_hint='install it with `pip install "sglang[all]"`',
    ready_means="the model is loaded and has generated a token",
    defaults=_defaults,
    gpu_key="tensor_parallel_size",
    pipeline_key="pipeline_parallel_size",
    rules=split_issues,
    ways=(GROUP,),
    group_arguments=("--nnodes", NODES, "--node-rank", NODE_RANK, "--dist-init-addr", f"{LEADER}:{_MEETING_PORT}"),
    readiness="openai_models",
    served_name_key="served_model_name",
    served_name_flags=("--served-model-name",),
    notes="Not tried over several nodes.",
    own_flags=(
        "--host",
        "--port",
        "--model-path",
        "--model",
        "--enable-metrics",
        "--is-embedding",
        "--nnodes",
        "--node-rank",
        "--dist-init-addr",
    ),
)
