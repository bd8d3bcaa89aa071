"""What the fake cloud runs: instances that become ready, print, exit, are ended, each at its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LINES_PER_S = 20.0
"""How fast an instance prints its lines."""
DEFAULT_STOP_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an instance behaves, told by the environment that it is given (variables that begin with CLOUD_)."""

    ready_s: float = 0.1
    """Seconds from its start until it answers its health path."""
    exit_s: float | None = None
    """Seconds from its start until it exits by itself."""
    exit_code: int = 1
    lines: int = 0
    stop_s: float = DEFAULT_STOP_S
    """Seconds that it takes to end when told to."""

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Behaviour:
        """Read it from the environment; other variables are not looked at."""
        exit_s = env.get("CLOUD_EXIT_S")
        return cls(
            ready_s=float(env.get("CLOUD_READY_S", "0.1")),
            exit_s=float(exit_s) if exit_s else None,
            exit_code=int(env.get("CLOUD_EXIT_CODE", "1")),
            lines=int(env.get("CLOUD_LINES", "0")),
            stop_s=float(env.get("CLOUD_STOP_S", str(DEFAULT_STOP_S))),
        )


@dataclass(slots=True, kw_only=True)
class CloudInstance:
    """One instance. Times are those of the account's clock."""

    name: str
    instance_id: str
    owner: str
    spec: Mapping[str, Any]
    behaviour: Behaviour
    price_per_hour: float
    created_at: float
    healthy: bool = True
    """False: running, and does not answer its health path."""
    ended_at: float | None = None
    """When it exited, was killed or lost its node; it is still listed then."""
    end: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How it ended: state, exit_code, signal, reason, message."""
    stopping_at: float | None = None
    gone_at: float | None = None

    def state(self) -> str:
        """As the provider protocol names it."""
        if self.stopping_at is not None:
            return "STOPPING"
        return str(self.end.get("state", "EXITED")) if self.ended_at is not None else "RUNNING"

    def answers(self, now: float) -> bool:
        """Whether its health path is answered with 200."""
        running = self.ended_at is None and self.stopping_at is None and self.gone_at is None
        return running and self.healthy and now >= self.created_at + self.behaviour.ready_s

    def lines_until(self, now: float) -> int:
        """How many lines it has printed."""
        ends = [time for time in (self.ended_at, self.stopping_at) if time is not None]
        until = min([now, *ends])
        if self.ended_at is not None and self.end.get("reason") == "EXITED":
            return self.behaviour.lines  # it exits after its last words
        return min(self.behaviour.lines, max(0, int((until - self.created_at) * LINES_PER_S)))

    def view(self) -> dict[str, Any]:
        """As the provider answers it."""
        return {
            "name": self.name,
            "instance_id": self.instance_id,
            "state": self.state(),
            "healthy": self.healthy,
            "started_at": self.created_at,
            "price_per_hour": self.price_per_hour,
            "deployment_id": self.spec.get("deployment_id", ""),
            "replica_id": self.spec.get("replica_id", ""),
            **{key: self.end[key] for key in ("exit_code", "signal", "reason", "message") if key in self.end},
        }
