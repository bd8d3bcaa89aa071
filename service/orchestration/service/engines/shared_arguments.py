"""Pieces of command lines that several rows share."""

from __future__ import annotations

from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.engine import Settings
from orchestration.service.engines.keys import Key

LISTEN = ("--host", "{host}", "--port", "{port}")
LISTEN_HOSTNAME = ("--hostname", "{host}", "--port", "{port}")


def served_name(request: EngineRequest) -> Settings:
    """The name in OpenAI requests is the deployment's model name, unless the configuration says another."""
    return {"served_model_name": request.model_name} if request.model_name else {}


def split_over_gpus(key: str, request: EngineRequest) -> Settings:
    """A replica with several GPUs splits the model over all of them, unless the configuration says otherwise."""
    return {key: request.gpu_per_replica} if request.gpu_per_replica > 1 else {}


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
