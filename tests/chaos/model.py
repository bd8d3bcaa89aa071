"""What callers have been promised: every answer that they were given, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.store.records import Deployment, DesiredState
from tests.chaos.plane import Dump

MUTATIONS = (
    "DeployModel",
    "UpdateDeployment",
    "ScaleDeployment",
    "StartDeployment",
    "DeleteDeployment",
    "PurgeDeployment",
)


class IllegalError(Exception):
    """What was granted must have been refused."""


@dataclass(slots=True, kw_only=True)
class Promise:
    """One deployment, as its callers were told that it would be."""

    key: str
    """The caller's own name for it, kept as a label."""
    deployment_id: str = ""
    """Empty while its caller was not told."""
    replicas: int = 1
    value: str = ""
    """Of the environment variable V, which stands for all that an update changes."""
    running: bool = True
    purged: bool = False
    may_fail: bool = False
    """Whether it was ever made of something that exits, so that it may be given up: FAILED."""


@dataclass(slots=True)
class Model:
    """All promises by key."""

    promises: dict[str, Promise] = field(default_factory=dict[str, Promise])

    def after(self, method: str, key: str, body: Mapping[str, Any], answer: Mapping[str, Any] | None) -> Model:
        """The promises once the mutation is done; `answer` is None when nobody was told that it is.

        Raises `IllegalError` when it could not be done in what state the promises allow.
        """
        model = copy.deepcopy(self)
        if answer is not None and "error" in answer:
            return model
        if method == "DeployModel":
            model.promises[key] = Promise(
                key=key,
                deployment_id=(answer or {}).get("deployment_id", ""),
                replicas=body.get("replicas", 1),
                value=body.get("env", {}).get("V", ""),
                may_fail="CLOUD_EXIT_S" in body.get("env", {}),
            )
            return model
        promise = model.promises[key]
        if promise.purged:
            raise IllegalError(f"{method} of {key}, which was purged")
        if method in {"StartDeployment", "PurgeDeployment"} and promise.running and not promise.may_fail:
            raise IllegalError(f"{method} of {key}, which runs")
        match method:
            case "UpdateDeployment":
                promise.replicas = body.get("replicas", promise.replicas)
                promise.value = body.get("env", {}).get("V", promise.value)
                promise.may_fail |= "CLOUD_EXIT_S" in body.get("env", {})
            case "ScaleDeployment":
                promise.replicas = body.get("replicas", 0)
            case "StartDeployment":
                promise.running = True
            case "DeleteDeployment":
                promise.running = False
            case "PurgeDeployment":
                promise.purged = True
            case _:
                raise ValueError(method)
        return model


def broken_promises(model: Model, dump: Dump) -> list[str]:
    """What is not on the disk as it was promised."""
    found: list[str] = []
    rows: dict[str, list[Deployment]] = {}
    for row in dump.deployments():
        rows.setdefault(str(row.labels.get("key")), []).append(row)
    for key, promise in model.promises.items():
        found += _compare(promise, rows.pop(key, []))
    found += [f"nobody asked for {key}" for key in rows]
    return found


def _compare(promise: Promise, rows: Sequence[Deployment]) -> list[str]:
    key = promise.key
    if promise.purged:
        return [f"{key} was purged and is there"] if rows else []
    if len(rows) != 1:
        return [f"{key} was accepted, and is there {len(rows)} times"]
    row = rows[0]
    wrong: list[str] = []
    if promise.deployment_id and row.id != promise.deployment_id:
        wrong.append(f"its id is {row.id}, told was {promise.deployment_id}")
    if row.replicas != promise.replicas:
        wrong.append(f"{row.replicas} replicas are wanted, told was {promise.replicas}")
    if (row.desired is DesiredState.RUNNING) != promise.running:
        wrong.append(f"it is to be {row.desired}, told was running={promise.running}")
    if row.env.get("V", "") != promise.value and row.failed_generation == 0:
        wrong.append(f"V is {row.env.get('V', '')!r}, told was {promise.value!r}")
    return [f"{key}: {text}" for text in wrong]
