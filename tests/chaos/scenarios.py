"""Scripts that are played against the control plane, and killed at every point of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.world import MACHINE, NODES, OFFERS, SETTLED, Placing


@dataclass(frozen=True, slots=True)
class Ask:
    """A caller asks for a change of the deployment that it calls `key`."""

    method: str
    key: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait until there is nothing left to do."""

    allowed: Sequence[str] = SETTLED


@dataclass(frozen=True, slots=True)
class Pass:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CloudDoes:
    """Something happens in the cloud; see `server._configure`. ``$instances`` stands for those that run."""

    change: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoseNode:
    """A node is gone."""

    node: str


Step = Ask | Settle | Pass | CloudDoes | LoseNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A script."""

    name: str
    steps: Sequence[Step]
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """Faults of the cloud from the first step on."""
    placing: Placing = MACHINE
    recovery_s: float = 45.0
    """Within so many seconds after a restart all must be well again, unless the cloud itself has a bad day: one full
    pass (30 s), and the grace of the reaper."""


def deploy(key: str = "d", **fields: Any) -> Ask:
    """Ask for a deployment."""
    return Ask("DeployModel", key, fields)


def update(key: str = "d", **fields: Any) -> Ask:
    """Ask for a change of what is run."""
    return Ask("UpdateDeployment", key, fields)


def scale(replicas: int, key: str = "d") -> Ask:
    """Ask for so many replicas."""
    return Ask("ScaleDeployment", key, {"replicas": replicas})


def terminate(key: str = "d") -> Ask:
    """Ask for its end."""
    return Ask("DeleteDeployment", key)


def start(key: str = "d") -> Ask:
    """Ask for it to be started."""
    return Ask("StartDeployment", key)


def purge(key: str = "d") -> Ask:
    """Ask for its record to be deleted."""
    return Ask("PurgeDeployment", key)


_LINES = {"CLOUD_LINES": "12"}
_SURGE = {"max_surge": 1, "max_unavailable": 0}
_FAILS = {"CLOUD_READY_S": "1", "CLOUD_EXIT_S": "0.3", "CLOUD_EXIT_CODE": "3", **_LINES}
HICCUPS = {
    "create": {"fail_before": 0.15, "fail_after": 0.1, "cut": 0.1, "lag": 0.15, "capacity": 0.1},
    "describe": {"fail_before": 0.05, "cut": 0.05, "lag": 0.1},
    "delete": {"fail_before": 0.15, "fail_after": 0.1, "cut": 0.1, "lag": 0.1, "late": 0.1},
    "list": {"fail_before": 0.2},
    "logs": {"fail_before": 0.1, "cut": 0.1},
    "resources": {"fail_before": 0.1},
}
"""A bad day of the cloud; what was asked to be created never comes after it was given up."""
LATE = {**HICCUPS, "create": {**HICCUPS["create"], "late": 0.3}}
"""A worse one."""

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="create", placing=OFFERS, steps=(deploy(replicas=2, env=_LINES), Settle())),
    Scenario(
        name="scale",
        placing=NODES,
        steps=(deploy(), Settle(), scale(3), Pass(0.05), scale(1), Settle(), scale(0), Settle()),
    ),
    Scenario(
        name="update",
        steps=(deploy(replicas=2, env={"V": "1"}), Settle(), update(env={"V": "2"}), Settle()),
    ),
    Scenario(
        name="surge",
        steps=(
            deploy(replicas=2, env={"V": "1"}, update_strategy=_SURGE),
            Settle(),
            update(env={"V": "2"}),
            Pass(0.15),
            update(env={"V": "3"}),
            scale(3),
            Settle(),
        ),
    ),
    Scenario(
        name="terminate",
        placing=OFFERS,
        steps=(deploy(replicas=2), Settle(), terminate(), Settle(), start(), Pass(0.05), terminate(), Settle()),
    ),
    Scenario(
        name="update, then end",
        placing=NODES,
        steps=(deploy(env={"V": "1"}), Settle(), update(env={"V": "2"}), Pass(0.1), terminate(), Settle(), purge()),
    ),
    Scenario(name="purge", steps=(deploy(), deploy("e"), Settle(), terminate(), Settle(), purge(), Settle())),
    Scenario(
        name="rollback",
        steps=(
            deploy(replicas=2, env={"V": "1"}, restart_policy={"max_attempts": 2}),
            Settle(),
            update(env={"V": "2", **_FAILS}),
            Settle(),
        ),
    ),
    Scenario(
        name="node lost",
        placing=NODES,
        recovery_s=90.0,  # the node is lost after its lease, which begins anew with a restart
        steps=(deploy(replicas=3), Settle(), LoseNode("main-0"), Pass(1.0), Settle(), Pass(45.0), Settle()),
    ),
    Scenario(
        name="failing",
        steps=(deploy(env=_FAILS, restart_policy={"max_attempts": 2}), Settle(), start(), Settle(), purge(), Settle()),
    ),
    Scenario(
        name="logs",
        steps=(
            deploy(replicas=2, env={"CLOUD_LINES": "60"}),
            Settle(),
            Pass(2.0),
            CloudDoes({"kill": "$instances"}),
            Pass(2.0),
            Settle(),
            Pass(4.0),
        ),
    ),
    Scenario(
        name="placement",
        placing=OFFERS,
        steps=(
            CloudDoes({"planned": [["create", "capacity"], ["create", "capacity"]]}),
            deploy(replicas=2, fallback_pool_ids=["spare"]),
            deploy("e", replicas=3),
            Settle(),
            scale(4),
            Settle(),
        ),
    ),
    Scenario(
        name="provider call",
        steps=(
            CloudDoes({"planned": [["create", "lag"], ["create", "cut"], ["create", "fail_after"], ["delete", "cut"]]}),
            deploy(replicas=3),
            Settle(),
            CloudDoes({"planned": [["delete", "fail_after"], ["delete", "late"], ["delete", "lag"]]}),
            scale(1),
            Settle(),
        ),
    ),
    Scenario(
        name="late, then full",
        placing=OFFERS,
        steps=(
            CloudDoes({"late_s": 5.5, "planned": [["create", "late"], ["create", "capacity"]]}),
            deploy(fallback_pool_ids=["spare"]),
            Settle(),
            Pass(10.0),
            Settle(),
        ),
    ),
    Scenario(
        name="hiccups",
        rates=HICCUPS,
        steps=(deploy(replicas=2, env={"V": "1"}), Settle(), update(env={"V": "2"}), scale(1), Settle(), terminate()),
    ),
    Scenario(
        name="late",
        placing=OFFERS,
        rates=LATE,
        steps=(deploy(replicas=2, env={"V": "1"}), Pass(3.0), update(env={"V": "2"}), Settle(), terminate(), Settle()),
    ),
)
