"""The job definition of one replica: what a host runs, where it listens, and how the network tells that it answers."""

from __future__ import annotations

from typing import Any

from orchestration.service.providers.base import InstanceRejectedError, InstanceSpec
from orchestration.service.providers.local.environment import fill
from orchestration.service.providers.nosana.artifacts import model_resource

OPERATION = "engine"
"""Id of the only operation; the server takes letters, digits, ``_`` and ``-``."""
_HOST = "0.0.0.0"
_DEFAULT_PORT = 8080
_RESERVED = ("PORT", "HOST", "MODEL")


def port_of(spec: InstanceSpec) -> int:
    """The port on which the engine listens in its container."""
    return spec.port or spec.container_port or _DEFAULT_PORT


def build(spec: InstanceSpec, *, with_resources: bool) -> dict[str, Any]:
    """The definition. Raises `InstanceRejectedError` when the spec cannot be run by a host.

    ``with_resources``: the host fetches the model where it can, and the engine is given the path instead of the name.
    """
    if not spec.image:
        text = f"engine {spec.engine} has no container image here; give one as configuration.image"
        raise InstanceRejectedError("IMAGE_MISSING", text)
    found = model_resource(spec) if with_resources else None
    command, model = (found.command, found.model) if found else (spec.command, spec.model)
    port = port_of(spec)
    filled = [fill(word, host=_HOST, port=port, model=model) for word in command]
    arguments: dict[str, Any] = {
        "image": spec.image,
        "gpu": spec.gpu_count > 0,
        "env": _environment(spec, port, model),
        "expose": [_expose(spec, port)],
    }
    if filled:  # the image may have an entry point of its own, which would take the program for an argument
        arguments["entrypoint"] = filled[:1]
        arguments["cmd"] = filled[1:]
    if found:
        arguments["resources"] = [found.resource]
    return {
        "version": "0.1",
        "type": "container",
        "meta": _meta(spec),
        "ops": [{"type": "container/run", "id": OPERATION, "args": arguments}],
    }


def _meta(spec: InstanceSpec) -> dict[str, Any]:
    """What a person who looks at the job is told of where it comes from."""
    ours = {
        "instance": spec.name,
        "deployment": spec.deployment_id,
        "replica": spec.replica_id,
        "engine": spec.engine,
    }
    return {"trigger": "api", "orchestration": ours}


def _environment(spec: InstanceSpec, port: int, model: str) -> dict[str, str]:
    own = {"PORT": str(port), "HOST": _HOST, "MODEL": model}
    given = {key: fill(value, host=_HOST, port=port, model=model) for key, value in spec.env.items()}
    for key in _RESERVED:
        if given.get(key, own[key]) != own[key]:
            text = f"env: {key} is set by the nosana provider; leave it out of the deployment's env"
            raise InstanceRejectedError("RESERVED_VARIABLE", text)
    return {**given, **own}


def _expose(spec: InstanceSpec, port: int) -> dict[str, Any]:
    """The port; only a check that goes on lets the network notice an engine that is dead behind a tunnel that lives."""
    exposed: dict[str, Any] = {"port": port, "type": "api"}
    if spec.health_path:
        exposed["health_checks"] = [
            {
                "type": "http",
                "path": spec.health_path,
                "method": "GET",
                "expected_status": 200,
                "continuous": True,
            }
        ]
    return exposed
