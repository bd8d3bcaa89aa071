"""What Ray's API answers, as far as it is used here; fields that are not named are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

OWNER = "orchestration.owner"
DEPLOYMENT = "orchestration.deployment"
REPLICA = "orchestration.replica"
TOKEN = "orchestration.token"  # noqa: S105  a key: the token tells whose lines of a log are whose, and opens nothing
NODE = "orchestration.node"
PRICE = "orchestration.price"
RESERVED = {"CPU": "orchestration.cpus", "GPU": "orchestration.gpus", "memory": "orchestration.memory"}
"""Keys of a job's metadata. `NODE`: the id of the node that it is pinned to; `PRICE`: of an hour of it; `RESERVED`: by
Ray's name of a resource, how much of it the job holds, memory in bytes."""


class JobStatus(StrEnum):
    """Ray's own words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Job(_Answer):
    """A submitted job."""

    type: str
    submission_id: str | None = None
    status: JobStatus
    message: str | None = None
    error_type: str | None = None
    start_time: int | None = None
    """Milliseconds since 1970 at which it was submitted."""
    metadata: Mapping[str, str] | None = None
    driver_agent_http_address: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None
    """Below 0: the signal that ended it."""

    @property
    def name(self) -> str:
        """The submission id."""
        return self.submission_id or ""

    @property
    def live(self) -> bool:
        """Whether it runs, or may yet."""
        return self.status in {JobStatus.PENDING, JobStatus.RUNNING}

    def told(self, key: str) -> str:
        """What its metadata holds under the key; empty without."""
        return (self.metadata or {}).get(key, "")

    def number(self, key: str) -> float:
        """The same as a number; 0.0 where it is none."""
        try:
            return float(self.told(key) or 0.0)
        except ValueError:
            return 0.0

    @property
    def node_id(self) -> str:
        """The node that it runs on, or is pinned to."""
        return self.driver_node_id or self.told(NODE)

    @property
    def hostname(self) -> str:
        """The address of the node that it runs on."""
        return urlsplit(self.driver_agent_http_address or "").hostname or ""


class Node(_Answer):
    """A node, alive or dead."""

    node_id: str
    node_ip: str = ""
    node_name: str = ""
    is_head_node: bool = False
    state: str
    state_message: str | None = None
    resources_total: Mapping[str, float] = {}
    labels: Mapping[str, str] = {}

    @property
    def alive(self) -> bool:
        """Whether work can be given to it."""
        return self.state == "ALIVE"


class _NodePage(_Answer):
    result: list[Node]
    partial_failure_warning: str | None = None


class _NodeData(_Answer):
    result: _NodePage


class NodesAnswer(_Answer):
    """``GET /api/v0/nodes``."""

    result: bool
    msg: str = ""
    data: _NodeData


class _UsageData(_Answer):
    usage: Mapping[str, str] = Field(default={}, alias="nodeLogicalResources")


class UsageAnswer(_Answer):
    """``GET /nodes?view=summary``: by node id, lines such as ``1.0/2.0 CPU``."""

    data: _UsageData

    def used(self) -> dict[str, dict[str, float]]:
        """By node id, how much of each resource is taken; it lags some seconds behind."""
        return {node: _taken(text) for node, text in self.data.usage.items()}


def _taken(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in text.splitlines():
        numbers, _, kind = line.strip().partition(" ")
        try:
            found[kind] = float(numbers.partition("/")[0])
        except ValueError:  # sizes, such as 0B/16.11GiB: not counted by
            continue
    return found


JOBS: TypeAdapter[list[Job]] = TypeAdapter(list[Job])
