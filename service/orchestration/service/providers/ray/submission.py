"""The job that runs a replica: what Ray is asked for, and what the launcher is told."""

from __future__ import annotations

import base64
import json
import math
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from orchestration.service.engines.keys import GPUS_PER_NODE, NODES
from orchestration.service.engines.over_nodes import filled
from orchestration.service.providers.base import InstanceRejectedError, InstanceSpec
from orchestration.service.providers.ray import launcher
from orchestration.service.providers.ray.answers import (
    DEPLOYMENT,
    NODE,
    OTHER_NODES,
    OWNER,
    PRICE,
    REPLICA,
    RESERVED,
    TOKEN,
    Node,
)
from orchestration.service.providers.ray.rooms import ACCELERATOR_LABEL, needs
from orchestration.service.providers.ray.settings import RaySettings
from orchestration.service.providers.ray.spreading import Plan

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PROGRAM = "ORCHESTRATION_RAY_PROGRAM"
_ENTRYPOINT = f"exec {{python}} -I -c 'import base64, os; exec(base64.b64decode(os.environ.pop(\"{_PROGRAM}\")))'"
"""``exec``: no shell stays between Ray and the launcher. The program comes by the environment, where nothing has to be
quoted, and not in the command, which Ray writes into the job's log."""
_LONGEST_VARIABLE = 96 * 1024
"""Bytes: Linux starts no program with a longer one than 128 KiB, and Ray puts all of a job's into one of its own."""
_OWN = ("HOST", "PORT", "MODEL", "CUDA_VISIBLE_DEVICES")


def valid_name(name: str) -> bool:
    """Whether a name can be an instance's: it is part of a path."""
    return _NAME.fullmatch(name) is not None


def check(spec: InstanceSpec, owner: str) -> None:
    """Raises `InstanceRejectedError` when the replica cannot be run as described, whatever the cluster is."""
    if not valid_name(spec.name):
        wanted = "1 to 128 letters, digits, dots, dashes or underscores, with a letter or digit first"
        raise InstanceRejectedError("INVALID_NAME", f"name {spec.name!r} must be {wanted}")
    if spec.owner != owner:
        text = f"owner {spec.owner!r} is not this installation's, which is {owner!r}"
        raise InstanceRejectedError("WRONG_OWNER", text)
    if any("\0" in text for text in (*spec.command, *spec.env, *spec.env.values(), spec.model)):
        raise InstanceRejectedError("INVALID_COMMAND", "command, env and model must not hold NUL characters")
    for key in spec.env:
        if not key or "=" in key:
            raise InstanceRejectedError("INVALID_VARIABLE", f"env: {key!r} cannot be a variable's name")
        if key in _OWN or key.startswith("ORCHESTRATION_"):
            text = f"env: {key} is set by the ray provider; leave it out of the deployment's env"
            raise InstanceRejectedError("RESERVED_VARIABLE", text)


def job_request(spec: InstanceSpec, settings: RaySettings, node: Node, plan: Plan | None = None) -> dict[str, Any]:
    """The body of ``POST /api/jobs/``; ``plan``: of a replica over several nodes, of which ``node`` is the first.

    Raises `InstanceRejectedError` when command and env are too long.
    """
    token = secrets.token_hex(16)
    needed = needs(settings, plan.each if plan is not None else spec.gpu_count)
    selector = {"ray.io/node-id": node.node_id}
    if spec.gpu_count and spec.gpu_types and ACCELERATOR_LABEL in node.labels:
        selector[ACCELERATOR_LABEL] = node.labels[ACCELERATOR_LABEL]
    return {
        "submission_id": spec.name,
        "entrypoint": _ENTRYPOINT.format(python=settings.python),
        "entrypoint_num_cpus": needed["CPU"],
        # Over several nodes the engine reserves them: what the job held its workers could not have.
        "entrypoint_num_gpus": 0 if plan is not None else spec.gpu_count,
        "entrypoint_memory": int(needed["memory"]),
        "entrypoint_label_selector": selector,
        "runtime_env": {
            "env_vars": {
                **(_of_workers(spec) if plan is not None else {}),
                _PROGRAM: _program(),
                launcher.LAUNCH: _told(spec, settings, token, plan),
                # Ray waits whole seconds, and kills what is left then.
                "RAY_JOB_STOP_WAIT_TIME_S": str(max(1, math.ceil(spec.stop_grace_s))),
            }
        },
        "metadata": {
            OWNER: spec.owner,
            DEPLOYMENT: spec.deployment_id,
            REPLICA: spec.replica_id,
            TOKEN: token,
            NODE: node.node_id,
            **({OTHER_NODES: ",".join(other.node_id for other in plan.nodes[1:])} if plan is not None else {}),
            PRICE: repr(settings.price_per_gpu_hour * spec.gpu_count),
            **{key: repr(needed[kind]) for kind, key in RESERVED.items()},
        },
    }


def _told(spec: InstanceSpec, settings: RaySettings, token: str, plan: Plan | None) -> str:
    command, sizes = spec.command, dict[str, str]()
    if plan is not None:
        nodes, each = str(len(plan.nodes)), str(plan.each)
        command = filled(spec.over_nodes.ray, {NODES: nodes, GPUS_PER_NODE: each})
        sizes = {"ORCHESTRATION_NODES": nodes, "ORCHESTRATION_GPUS_PER_NODE": each}
    told = {
        "token": token,
        "command": command,
        "env": dict(spec.env),
        "model": spec.model,
        "port": spec.port,
        "listen": settings.listen,
        "gpus": spec.gpu_count,
        "hint": spec.install_hint,
        "own": {
            "ORCHESTRATION_OWNER": spec.owner,
            "ORCHESTRATION_INSTANCE": spec.name,
            "ORCHESTRATION_DEPLOYMENT_ID": spec.deployment_id,
            "ORCHESTRATION_REPLICA_ID": spec.replica_id,
            **sizes,
        },
    }
    text = base64.b64encode(json.dumps(told).encode()).decode("ascii")
    # Ray puts all of it into JSON, and that into JSON again.
    besides = json.dumps(json.dumps(_of_workers(spec))) if plan is not None else ""
    if len(text) + len(besides) > _LONGEST_VARIABLE:
        most = _LONGEST_VARIABLE * 3 // 4
        told_twice = ", in which env counts twice over several nodes" if plan is not None else ""
        said = f"command and env are longer than the {most} bytes that a job takes{told_twice}"
        raise InstanceRejectedError("TOO_LONG", said)
    return text


def _of_workers(spec: InstanceSpec) -> dict[str, str]:
    """The environment of the engine's workers on other nodes, which Ray starts, and not the launcher.

    Without what holds the engine's own host or port, which is not known before it runs, and where it is the launcher's.
    """
    given = {key: value.replace("{model}", spec.model) for key, value in spec.env.items()}
    return {key: value for key, value in given.items() if "{port}" not in value and "{host}" not in value}


@cache
def _program() -> str:
    """The launcher's text, in letters that nothing on the way expands."""
    return base64.b64encode(Path(launcher.__file__).read_bytes()).decode("ascii")
