"""The nodes of the fake cluster, and what is taken of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeNode:
    """A node with nothing but numbers."""

    node_id: str
    cpus: float = 8.0
    gpus: float = 0.0
    labels: dict[str, str] = field(default_factory=dict[str, str])
    resources: dict[str, float] = field(default_factory=dict[str, float])
    """Custom ones, such as ``accelerator_type:A100``."""
    memory: float = 64 * 1024.0**3
    state: str = "ALIVE"
    foreign: dict[str, float] = field(default_factory=dict[str, float])
    """What somebody else's work takes of it."""
    taken: dict[str, float] = field(default_factory=lambda: {"CPU": 0.0, "GPU": 0.0})
    reported: dict[str, float] = field(default_factory=dict[str, float])
    """What the summary says is taken: it is told late."""

    def total(self) -> dict[str, float]:
        """What it has, without what it has none of, as Ray tells it."""
        found = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory, **self.resources}
        return {kind: amount for kind, amount in found.items() if amount}

    def fits(self, wanted: dict[str, float]) -> bool:
        """Whether there is room for it now."""
        total = self.total()
        return self.state == "ALIVE" and all(
            amount <= total.get(kind, 0.0) - self.taken.get(kind, 0.0) - self.foreign.get(kind, 0.0)
            for kind, amount in wanted.items()
        )

    def matches(self, selector: dict[str, str]) -> bool:
        """Whether its labels are those that are asked for."""
        labels = {**self.labels, "ray.io/node-id": self.node_id}
        return all(labels.get(key) == value for key, value in selector.items())

    def take(self, wanted: dict[str, float], sign: int = 1) -> None:
        """Take what is wanted, or give it back."""
        for kind, amount in wanted.items():
            self.taken[kind] = self.taken.get(kind, 0.0) + sign * amount

    def view(self) -> dict[str, Any]:
        """As ``/api/v0/nodes`` tells it."""
        return {
            "node_id": self.node_id,
            "node_ip": "127.0.0.1",
            "is_head_node": False,
            "state": self.state,
            "state_message": None if self.state == "ALIVE" else "health check failed: too many missing heartbeats",
            "node_name": f"node-{self.node_id[:4]}",
            "resources_total": self.total(),
            "labels": {**self.labels, "ray.io/node-id": self.node_id},
            "start_time_ms": 0,
            "end_time_ms": 0,
        }

    def usage(self) -> str:
        """As the summary tells it."""
        lines = [f"{self.reported.get('CPU', 0.0)}/{self.cpus} CPU"]
        if self.gpus:
            lines.append(f"{self.reported.get('GPU', 0.0)}/{self.gpus} GPU")
        return "\n".join([*lines, "0B/16.11GiB memory", "0B/6.90GiB object_store_memory"])
