"""The row of vLLM."""

from __future__ import annotations

from orchestration.service.engines.artifacts import Form, form_of, plain
from orchestration.service.engines.base import GROUP, RAY, EngineRequest
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


def _defaults(request: EngineRequest) -> Settings:
    # Weights in an object store are streamed; the usual loader reads directories only.
    streamed = {"load_format": "runai_streamer"} if form_of(request.model) in {Form.S3, Form.GS} else {}
    return {**served_name(request), **split_over_gpus("tensor_parallel_size", request), **streamed}


def _arguments(request: EngineRequest, settings: Settings) -> tuple[str, ...]:
    del settings
    pooling = ("--runner", "pooling") if request.workload_type == EMBEDDING else ()
    return (plain(request.model), *LISTEN, *pooling)


VLLM = Engine(
    name="vllm",
    title="vLLM",
    executable=("vllm", "serve"),
    arguments=_arguments,
    keys=(
        SERVED_MODEL_NAME,
        Key(
            name="tensor_parallel_size",
            kind="integer",
            flag="--tensor-parallel-size",
            minimum=1,
            about="GPUs that one model is split over; `gpu_per_replica` when absent and above 1, "
            "over several nodes those of one node.",
        ),
        pipeline_size("--pipeline-parallel-size"),
        Key(
            name="max_model_len",
            kind="integer",
            flag="--max-model-len",
            minimum=1,
            about="Context length in tokens, prompt and output together.",
        ),
        Key(
            name="gpu_memory_utilization",
            kind="number",
            flag="--gpu-memory-utilization",
            above=0,
            maximum=1,
            about="Share of each GPU's memory that the engine takes.",
        ),
        Key(
            name="max_num_seqs",
            kind="integer",
            flag="--max-num-seqs",
            minimum=1,
            about="Most sequences in one step.",
        ),
        Key(
            name="max_num_batched_tokens",
            kind="integer",
            flag="--max-num-batched-tokens",
            minimum=1,
            about="Most tokens in one step.",
        ),
        Key(
            name="dtype",
            kind="string",
            flag="--dtype",
            choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
            about="Type of weights and activations.",
        ),
        Key(name="quantization", kind="string", flag="--quantization", about="Method, such as `awq`, `gptq`, `fp8`."),
        Key(
            name="kv_cache_dtype", kind="string", flag="--kv-cache-dtype", about="Type of the KV cache, such as `fp8`."
        ),
        Key(name="tokenizer", kind="string", flag="--tokenizer", about="Hub id or path, when not the model's."),
        Key(
            name="load_format",
            kind="string",
            flag="--load-format",
            about="How weights are read; `runai_streamer` when absent and the model is in S3 or GCS.",
        ),
        REVISION,
        Key(name="seed", kind="integer", flag="--seed", minimum=0, about="Random seed."),
        Key(name="enforce_eager", kind="boolean", flag="--enforce-eager", about="No CUDA graphs: slower, less memory."),
        TRUST_REMOTE_CODE,
    ),
    forms=(Form.HUB, Form.HF, Form.S3, Form.GS, Form.PATH),
    container_port=8000,
    image="vllm/vllm-openai:latest",
    health_path="/health",
    metrics_path="/metrics",
    openai_path="/v1",
    workload_types=(INFERENCE, EMBEDDING, BATCH),
    startup_timeout_s=1800.0,
    install_hint="install it with `pip install vllm`",
    ready_means="the model is loaded: the port opens only then",
    defaults=_defaults,
    gpu_key="tensor_parallel_size",
    pipeline_key="pipeline_parallel_size",
    rules=split_issues,
    ways=(GROUP, RAY),
    ray_arguments=("--distributed-executor-backend", "ray"),
    group_arguments=("--nnodes", NODES, "--node-rank", NODE_RANK, "--master-addr", LEADER),
    worker_arguments=("--headless",),
    readiness="openai_models",
    served_name_key="served_model_name",
    served_name_flags=("--served-model-name",),
    notes="Models in S3 or GCS need the `runai` extra of vLLM. A replica that is started on each of several nodes\n"
    "needs a version that knows `--nnodes` and `--headless`. Not tried over several nodes.",
    own_flags=(
        "--host",
        "--port",
        "--model",
        "--runner",
        "--nnodes",
        "--node-rank",
        "--master-addr",
        "--headless",
    ),
)
