"""Pieces of command lines that several rows share."""

from __future__ import annotations

from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.engine import Settings
from orchestration.service.engines.keys import Key

LISTEN = ("--host", "{host}", "--port", "{port}")
LISTEN_HOSTNAME = ("--hostname", "{host}", "--port", "{port}")


def served_name(request: EngineRequest) -> Settings:
    """The name in OpenAI requests is the deployment's model name, unless the configuration says another."""
    return {"served_model_name": request.model_name} if request.model_name else {}


def split_over_gpus(key: str, request: EngineRequest) -> Settings:
    """A replica with several GPUs splits the model over all of them, unless the configuration says otherwise."""
    stages = request.configuration.get("pipeline_parallel_size", 1)
    each = request.gpu_per_replica // int(stages) if isinstance(stages, int | float) else request.gpu_per_replica
    return {key: each} if each > 1 else {}


SERVED_MODEL_NAME = Key(
    name="served_model_name",
    kind="string",
    flag="--served-model-name",
    about="Name in OpenAI requests; the deployment's `model_name` when absent.",
)
REVISION = Key(name="revision", kind="string", flag="--revision", about="Branch, tag or commit of the hub repository.")
TRUST_REMOTE_CODE = Key(
    name="trust_remote_code",
    kind="boolean",
    flag="--trust-remote-code",
    about="Run code that the model's repository holds.",
)


def pipeline_size(flag: str) -> Key:
    """The key of an engine that splits a model into stages."""
    return Key(
        name="pipeline_parallel_size",
        kind="integer",
        flag=flag,
        minimum=1,
        about="Stages that the model is split into, each over `tensor_parallel_size` GPUs; "
        "over several nodes one for each node when both are absent.",
    )


def split_issues(request: EngineRequest, settings: Settings) -> tuple[ConfigurationIssue, ...]:
    """A model is split over no more GPUs than there are."""
    tensor, pipeline = (settings.get(key) for key in ("tensor_parallel_size", "pipeline_parallel_size"))
    most = request.gpu_per_replica
    if not isinstance(pipeline, int) or not most:
        return ()
    if pipeline * (tensor if isinstance(tensor, int) else 1) <= most:
        return ()
    text = f"got {pipeline}, and with tensor_parallel_size that makes more GPUs than gpu_per_replica = {most}"
    return (ConfigurationIssue(field="configuration.pipeline_parallel_size", description=text),)
