"""What an engine finds in its environment, and the placeholders of commands and variables."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.service.providers.base import InstanceRejectedError, InstanceSpec
from orchestration.service.providers.local.processes import INSTANCE_TAG, OWNER_TAG

INHERITED = (
    "CONDA_PREFIX",
    "CUDA_HOME",
    "CUDA_PATH",
    "HF_*",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "HUGGING_FACE_HUB_TOKEN",
    "LANG",
    "LC_*",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "NO_PROXY",
    "OMP_NUM_THREADS",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    "https_proxy",
    "http_proxy",
    "no_proxy",
)
"""What engines inherit from the gateway; a ``*`` at the end stands for anything. All else stays with the gateway, whose
own environment holds secrets such as the database's URL."""

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def inherited(environment: Mapping[str, str], more: tuple[str, ...] = ()) -> dict[str, str]:
    """The part of the gateway's environment that engines get."""
    patterns = (*INHERITED, *more)
    kept = {
        key: value
        for key, value in environment.items()
        if any(key == item or (item.endswith("*") and key.startswith(item[:-1])) for item in patterns)
    }
    kept.setdefault("PATH", _DEFAULT_PATH)
    return kept


def fill(text: str, *, host: str, port: int, model: str) -> str:
    """Replace exactly ``{host}``, ``{port}`` and ``{model}``; other braces, JSON's for one, stay as they are.

    The model goes last: a placeholder in a model's name is part of the name.
    """
    return text.replace("{port}", str(port)).replace("{host}", host).replace("{model}", model)


def engine_environment(
    spec: InstanceSpec, base: Mapping[str, str], *, host: str, port: int, gpu_ids: tuple[str, ...]
) -> dict[str, str]:
    """The whole environment of the engine.

    Raises `InstanceRejectedError` when ``spec.env`` sets a variable that is the provider's to another value.
    """
    own = {
        "PORT": str(port),
        "HOST": host,
        "MODEL": spec.model,
        "CUDA_VISIBLE_DEVICES": ",".join(gpu_ids),
        OWNER_TAG: spec.owner,
        INSTANCE_TAG: spec.name,
        "ORCHESTRATION_DEPLOYMENT_ID": spec.deployment_id,
        "ORCHESTRATION_REPLICA_ID": spec.replica_id,
    }
    given = {key: fill(value, host=host, port=port, model=spec.model) for key, value in spec.env.items()}
    for key, value in given.items():
        if own.get(key, value) != value or (key.startswith("ORCHESTRATION_") and key not in own):
            raise InstanceRejectedError(
                "RESERVED_VARIABLE", f"env: {key} is set by the local provider; leave it out of the deployment's env"
            )
    return {**base, **given, **own}
